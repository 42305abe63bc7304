"""From what was asked for to what is run: checks, dimension matching, device."""

import ctypes
import itertools
import math
import os
import re
from dataclasses import replace
from functools import cache
from operator import attrgetter
from typing import Any

from weightnet import matching, registry
from weightnet.config import PARAMS, Config, DimsConfig, ModelConfig
from weightnet.errors import Misfit, UserError
from weightnet.geometry import flat_features, parameter_count
from weightnet.own import bind, is_own

_Row = tuple[int | None, int | None, int | None, int]  # dx, m, n, hidden
_SMALL: dict[str, _Row] = {
    "none": (0, None, None, 50),
    "pool": (26, 31, 25, 60),  # n=25 drops the last 10 rows of fc1: the only published dimensions that are not exact
    "projection": (26, None, None, 50),
    "ones": (26, None, None, 60),
}
_LARGE: dict[str, _Row] = {
    "none": (0, None, None, 700),
    "pool": (460, 45, 50, 500),
    "projection": (460, None, None, 500),
    "ones": (460, None, None, 500),
}
PUBLISHED = {"cifar": _LARGE} | dict.fromkeys(("mnist", "fashion_mnist", "kmnist", "digits"), _SMALL)
"""The notebook's dimensions by data set and feedback, its unequal hidden widths included. Of MNIST's size: MNIST's.

A feedback that is not named here takes those of `pool` if it uses kernels, else those of `projection`.
"""

MOST_PARAMETERS = 10**9
MOST_THREADS = 1024
USES = ("dx", "m", "n")
_CHOICES = {
    "device": ("auto", "cpu", "cuda"),
    "eval.feedback": ("live", "zero", "frozen"),
    "train.precision": ("float32", "bf16"),
    "train.init": ("shared", "notebook"),
    "dims.rule": ("published", "controlled", "auto"),
}
_LEAST = {
    "dataset.classes": 2, "dataset.hidden": 1, "dims.m": 1, "dims.n": 1, "dims.hidden": 1,
    "train.epochs": 1, "train.batch_size": 1, "train.test_batch_size": 1, "train.subset": 1,
    "train.validation": 1, "train.log_interval": 1,
    "seed": 0, "threads": 1,
}  # fmt: skip
_MOST = 2**53  # what JSON, CSV and data frames hold as it is


def resolve(config: Config) -> Config:
    """Return the config with nothing left open: dimensions matched, device decided.

    Raises:
        UserError: a value is impossible, or the dimensions do not fit; names key, value and what would be right.
    """
    if wrong := mistakes(config):
        raise UserError("; ".join(wrong))
    config = replace(config, model=_resolve_model(config.model), dataset=replace(config.dataset))
    config.eval = replace(config.eval, metrics={key: _tidy(target) for key, target in config.eval.metrics.items()})
    if config.dataset.reader is not None:
        config.dataset.reader = _tidy(config.dataset.reader)
    config = replace(config, dims=_resolve_dims(config), device=_resolve_device(config.device))
    if (count := parameter_count(config)) > MOST_PARAMETERS:
        sizes = f"dims.dx={config.dims.dx} dims.hidden={config.dims.hidden}"
        raise UserError(f"{sizes}: {count:,} parameters; must be at most {MOST_PARAMETERS:,}")
    return config


def _resolve_model(model: ModelConfig) -> ModelConfig:
    """Fill in what the model takes: of one's own feedback, by the signature of its class."""
    if not is_own(model.feedback):
        projects = model.feedback == "projection"
        kind, scale = (model.kind, model.scale) if projects else (None, None)
        return replace(model, uses=_uses(model), params=_params(model), kind=kind, scale=scale)
    uses, params = bind(model.feedback, model.params, USES)
    name = model.feedback.rpartition(":")[2] if model.name in registry.MODELS else model.name
    return ModelConfig(name=name, feedback=_tidy(model.feedback), uses=uses, params=params)


def _params(model: ModelConfig) -> dict[str, Any]:
    """Return all parameters of a model of ours, numbers as floats: as asked, else their defaults."""
    asked = {key: model.params.get(key, default) for key, default in PARAMS.get(model.feedback, {}).items()}
    return {key: float(value) if type(value) is int else value for key, value in asked.items()}


def _tidy(target: str) -> str:
    """Return one way of writing `./my_file.py:Name`: the same code gives the same run."""
    where, colon, name = target.rpartition(":")
    return f"{os.path.normpath(where)}:{name}" if colon and where.endswith(".py") else target


def _uses(model: ModelConfig) -> list[str]:
    return model.uses if model.uses is not None else [] if model.feedback == "none" else ["dx"]


def mistakes(config: Config) -> list[str]:
    """Return what is impossible in a config, one sentence a mistake."""
    dims, train = config.dims, config.train
    values = {key: attrgetter(key)(config) for key in (*_LEAST, *_CHOICES)}
    wrong = [
        f"{key}={values[key]}: must be at least {least}"
        for key, least in _LEAST.items()
        if values[key] is not None and values[key] < least
    ]
    wrong += [f"{key}={values[key]}: must be at most {_MOST}" for key in _LEAST if (values[key] or 0) > _MOST]
    if config.model.feedback != "none" and dims.dx is not None and dims.dx < 1:
        wrong.append(f"dims.dx={dims.dx}: must be at least 1")
    if not 0 < train.lr < math.inf:
        wrong.append(f"train.lr={train.lr}: must be greater than 0, and finite")
    if not 0 <= train.momentum < 1:
        wrong.append(f"train.momentum={train.momentum}: must be at least 0 and less than 1")
    for key, known in _CHOICES.items():
        if values[key] not in known:
            wrong.append(f"{key}={values[key]}: must be one of {', '.join(known)}")
    for key in ("dataset.name", "model.name"):
        if not re.fullmatch(r"\w[\w.+-]*", name := attrgetter(key)(config)) or len(name) > 80:
            wrong.append(f"{key}={name!r}: must be letters, digits and . _ + -, since folders are named by it")
    for name in config.eval.metrics:
        if not re.fullmatch(r"[A-Za-z_]\w*", name):
            wrong.append(f"eval.metrics.{name}: the name of a metric must be letters, digits and _")
    if config.eval.save_predictions and config.dataset.classes > 256:
        wrong.append(f"eval.save_predictions=true: takes at most 256 classes, not {config.dataset.classes}")
    if config.threads > MOST_THREADS:
        wrong.append(
            f"threads={config.threads}: must be at most {MOST_THREADS}; this machine has {os.cpu_count()} cores"
        )
    if not config.outputs:
        wrong.append("outputs is empty: must name a folder")
    return wrong + _dataset_mistakes(config) + _model_mistakes(config.model)


def _dataset_mistakes(config: Config) -> list[str]:
    dataset = config.dataset
    wrong = []
    if len(dataset.shape) != 3 or min(dataset.shape) < 1 or min(dataset.shape[1:]) < 16:
        wrong.append(f"dataset.shape={dataset.shape}: must be [channels, height, width], 16x16 or larger")
    elif not len(dataset.mean) == len(dataset.std) == dataset.shape[0]:
        wrong.append(f"dataset.mean and dataset.std: must have one number for each of {dataset.shape[0]} channels")
    if len(dataset.examples) != 2 or min(dataset.examples) < 1:
        wrong.append(f"dataset.examples={dataset.examples}: must be [training, test], each at least 1")
    elif (config.train.subset or 1) + (config.train.validation or 0) > dataset.examples[0]:
        asked = [f"train.{key}={value}" for key in ("subset", "validation") if (value := getattr(config.train, key))]
        wrong.append(f"{' '.join(asked)}: {dataset.name} has {dataset.examples[0]} training examples")
    if dataset.margin is not None and not 0 < dataset.margin < math.inf:
        wrong.append(f"dataset.margin={dataset.margin:g}: must be greater than 0, and finite; null: none")
    if any(pattern.startswith("/") or ".." in pattern.split("/") for pattern in dataset.files or ()):
        wrong.append(f"dataset.files={dataset.files}: must be patterns below data_root, not absolute paths or ..")
    if dataset.reader is not None and dataset.reader not in registry.READERS and not is_own(dataset.reader):
        known = ", ".join(registry.READERS)
        wrong.append(f"dataset.reader={dataset.reader}: must be one of {known}, or your own, my_file.py:read")
    if not all(0 < std < math.inf for std in dataset.std) or not all(map(math.isfinite, dataset.mean)):
        wrong.append(f"dataset.mean={dataset.mean} dataset.std={dataset.std}: must be finite, std greater than 0")
    if len(dataset.channels) != 2 or min(dataset.channels) < 1:
        wrong.append(f"dataset.channels={dataset.channels}: must be two positive numbers")
    return wrong


def _model_mistakes(model: ModelConfig) -> list[str]:
    if is_own(model.feedback):
        return []
    feedbacks = ("none", *registry.BIAS_RATES, *registry.FEEDBACKS)
    if model.feedback not in feedbacks:
        own = "or your own, my_file.py:MyFeedback"
        return [f"model.feedback={model.feedback}: must be one of {', '.join(feedbacks)}, {own}"]
    if (its_own := registry.MODELS.get(model.name, model.feedback)) != model.feedback:
        fitting = [name for name, its in registry.MODELS.items() if its == model.feedback]
        instead = f"use model={' or model='.join(fitting)}, or another model.name"
        return [f"model.feedback={model.feedback}: model={model.name} is that of feedback={its_own}; {instead}"]
    uses = _uses(model)
    if not set(uses) <= set(USES) or len(uses) != len(set(uses)) or (uses and "dx" not in uses):
        return [f"model.uses={uses}: must be dx, and of {', '.join(USES)} those that the feedback takes"]
    if bool(uses) != (model.feedback != "none"):
        return [f"model.uses={uses}: a feedback takes dx at least, and model.feedback=none takes none"]
    if model.parameters_of is not None and (model.feedback != "none" or model.parameters_of not in registry.FEEDBACKS):
        others = ", ".join(registry.FEEDBACKS)
        return [f"model.parameters_of={model.parameters_of}: takes model.feedback=none and one of {others}"]
    for key, value, known in (("kind", model.kind, registry.KINDS), ("scale", model.scale, registry.SCALES)):
        if model.feedback == "projection" and value not in known:
            return [f"model.{key}={value}: must be one of {', '.join(known)}"]
    if model.name == "rmp" and (model.kind, model.scale) != ("dense", "xavier"):
        asked = f"model.kind={model.kind} model.scale={model.scale}"
        return [f"model=rmp is the notebook's dense Xavier projection; use model=projection for {asked}"]
    return _param_mistakes(model)


def _param_mistakes(model: ModelConfig) -> list[str]:
    wrong = []
    for key, default in PARAMS.get(model.feedback, {}).items():
        value = model.params.get(key, default)
        if isinstance(default, bool) and not isinstance(value, bool):
            wrong.append(f"model.params.{key}={value}: must be true or false")
        elif not (isinstance(default, bool) or value is default or _is_amount(value)):
            wrong.append(f"model.params.{key}={value}: must be a number from 0 to {_MOST}")
    gain, multiplier = model.params.get("gain", 1), model.params.get("multiplier")
    if model.feedback == "bias_lr" and multiplier is not None and gain != 1:
        wrong.append(f"model.params.gain={gain} model.params.multiplier={multiplier}: give one of them")
    return wrong


def _is_amount(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= _MOST


def _resolve_device(device: str) -> str:
    available = device != "cpu" and _may_have_gpu()
    if available:
        import torch  # here, because it takes seconds and a machine without a GPU does not need it

        available = torch.cuda.is_available()
    if device == "cuda" and not available:
        raise UserError("device=cuda: torch sees no CUDA device here; use device=cpu or device=auto")
    return "cuda" if available else "cpu"


@cache
def _may_have_gpu() -> bool:
    """Tell, without torch, whether there is a driver of NVIDIA's that sees a device, or one of AMD's."""
    try:
        return os.path.exists("/dev/kfd") or ctypes.CDLL("libcuda.so.1").cuInit(0) == 0
    except OSError:
        return False


def _resolve_dims(config: Config) -> DimsConfig:
    """Fill in what `dims` leaves open, by its rule; what is given on the command line stays, where it is used."""
    asked, uses = config.dims, config.model.uses
    dx, m, n, hidden = _by_rule(config)
    hidden = asked.hidden or hidden
    if not uses:
        if config.model.parameters_of and asked.hidden is None:
            hidden = _widened(config, config.model.parameters_of)
        return replace(asked, dx=0, m=None, n=None, hidden=hidden)
    dx, m, n = asked.dx or dx, asked.m or m, asked.n or n
    if uses == ["dx"]:
        dx = dx or _choose(config, asked.dx, None, None, hidden).dx
    elif dx is None or m is None or n is None:
        match = _choose(config, dx, m, n, hidden)
        dx, m, n = match.dx, match.m, match.n
    else:
        _check_fit(config, dx, m, n, hidden)
    return replace(asked, dx=dx, m=m if "m" in uses else None, n=n if "n" in uses else None, hidden=hidden)


def _widened(config: Config, feedback: str) -> int:
    """Return the least hidden width that has as many parameters without feedback as the config's network with it."""
    model = ModelConfig(name=feedback, feedback=feedback, uses=["dx"])
    with_it = replace(config, model=model, dims=_resolve_dims(replace(config, model=model)))
    widths, least = itertools.count(with_it.dims.hidden or 0), parameter_count(with_it)
    return next(b for b in widths if parameter_count(replace(config, dims=replace(config.dims, hidden=b))) >= least)


def _by_rule(config: Config) -> _Row:
    """Return the dimensions that the rule names; those that the solver is to pick are None."""
    dataset, rule, model = config.dataset, config.dims.rule, config.model
    rows = PUBLISHED.get(dataset.name, {})
    published = rows.get(model.feedback, rows.get("projection" if model.uses == ["dx"] else "pool"))
    if rule == "published" and published is None:
        instead = "use dims=controlled or dims=auto"
        raise UserError(f"dims=published: the notebook has no dimensions for dataset={dataset.name}; {instead}")
    if rule == "auto" or published is None:
        return None, None, None, dataset.hidden
    return published if rule == "published" else (*published[:3], dataset.hidden)


def _choose(config: Config, dx: int | None, m: int | None, n: int | None, hidden: int) -> matching.Match:
    features = flat_features(config.dataset)
    match = matching.choose(features, hidden, config.dataset.classes, dx=dx, m=m, n=n)
    if match is None:
        given = ", ".join(f"dims.{key}={value}" for key, value in (("dx", dx), ("m", m), ("n", n)) if value is not None)
        raise Misfit(
            f"dims={config.dims.rule}: no kernels fit {features} features, hidden={hidden}"
            f"{' with ' if given else ''}{given}; free one of them, or choose a hidden width with more "
            f"divisors (those of {hidden}: {', '.join(map(str, matching.divisors(hidden)))})"
        )
    return match


def _check_fit(config: Config, dx: int, m: int, n: int, hidden: int) -> None:
    """Refuse a triple that is not exact, but for the rows that the notebook's own n drops of its own hidden width."""
    features, classes = flat_features(config.dataset), config.dataset.classes
    published = PUBLISHED.get(config.dataset.name, {}).get("pool", ())
    pooled_rows = hidden - hidden % n if (n, hidden) == published[2:] else hidden
    if why := matching.misfit(dx, m, n, features=features, hidden=pooled_rows, classes=classes):
        fits = matching.nearest(dx, m, n, features=features, hidden=hidden, classes=classes)
        nearest = "Nearest that fit: " + "; ".join(f"dims.dx={x.dx} dims.m={x.m} dims.n={x.n}" for x in fits)
        raise Misfit(
            f"dims.dx={dx} dims.m={m} dims.n={n} do not fit {features} features and hidden={hidden}: {why}. "
            + (nearest if fits else f"No kernels fit hidden={hidden}: choose another dims.hidden")
        )
