"""From what was asked for to what is run: checks, dimension matching, device."""

import ctypes
import os
from dataclasses import replace
from functools import cache

from weightnet import matching, registry
from weightnet.config import Config, DimsConfig, ModelConfig
from weightnet.errors import UserError
from weightnet.geometry import flat_features, parameter_count

_SMALL = {
    "none": DimsConfig(rule="published", dx=0, m=None, n=None, hidden=50),
    # With hidden=60, n=25 drops the last 10 rows of fc1: the only published dimensions that are not exact.
    "pool": DimsConfig(rule="published", dx=26, m=31, n=25, hidden=60),
    "projection": DimsConfig(rule="published", dx=26, m=None, n=None, hidden=50),
    "ones": DimsConfig(rule="published", dx=26, m=None, n=None, hidden=60),
}
_LARGE = {
    "none": DimsConfig(rule="published", dx=0, m=None, n=None, hidden=700),
    "pool": DimsConfig(rule="published", dx=460, m=45, n=50, hidden=500),
    "projection": DimsConfig(rule="published", dx=460, m=None, n=None, hidden=500),
    "ones": DimsConfig(rule="published", dx=460, m=None, n=None, hidden=500),
}
PUBLISHED = {
    "mnist": _SMALL,
    "cifar": _LARGE,
    # Not in the notebook; images of MNIST's size take MNIST's dimensions.
    "fashion_mnist": _SMALL,
    "kmnist": _SMALL,
    "digits": _SMALL,
}
"""The notebook's dimensions by data set and feedback, its unequal hidden widths included.

A feedback that is not named here takes those of `pool` if it uses kernels, else those of `projection`.
"""

USES = ("dx", "m", "n")
RULES = ("published", "controlled", "auto")
DEVICES = ("auto", "cpu", "cuda")
PRECISIONS = ("float32", "bf16")
EVAL_FEEDBACKS = ("live", "zero", "frozen")


def resolve(config: Config) -> Config:
    """Return the config with nothing left open: dimensions matched, device decided.

    Raises:
        UserError: a value is impossible, or the dimensions do not fit; names the key, the value and what
            would be right.
    """
    wrong = mistakes(config)
    if wrong:
        raise UserError("; ".join(wrong))
    model = replace(config.model, uses=_uses(config.model))
    if model.feedback != "projection":
        model = replace(model, kind=None, scale=None)
    config = replace(config, model=model)
    return replace(config, dims=_resolve_dims(config), device=_resolve_device(config.device))


def _uses(model: ModelConfig) -> list[str]:
    return model.uses if model.uses is not None else [] if model.feedback == "none" else ["dx"]


def mistakes(config: Config) -> list[str]:
    """Return what is impossible in a config, one sentence a mistake."""
    dataset, model, dims, train = config.dataset, config.model, config.dims, config.train
    wrong = [
        f"{key}={value}: must be at least {least}"
        for key, value, least in [
            ("dataset.classes", dataset.classes, 2),
            ("dataset.hidden", dataset.hidden, 1),
            ("dims.m", dims.m, 1),
            ("dims.n", dims.n, 1),
            ("dims.hidden", dims.hidden, 1),
            ("train.epochs", train.epochs, 1),
            ("train.batch_size", train.batch_size, 1),
            ("train.test_batch_size", train.test_batch_size, 1),
            ("train.subset", train.subset, 1),
            ("train.log_interval", train.log_interval, 1),
            ("seed", config.seed, 0),
            ("threads", config.threads, 1),
        ]
        if value is not None and value < least
    ]
    if model.feedback != "none" and dims.dx is not None and dims.dx < 1:
        wrong.append(f"dims.dx={dims.dx}: must be at least 1")
    if not train.lr > 0:
        wrong.append(f"train.lr={train.lr}: must be greater than 0")
    if not 0 <= train.momentum < 1:
        wrong.append(f"train.momentum={train.momentum}: must be at least 0 and less than 1")
    if config.device not in DEVICES:
        wrong.append(f"device={config.device}: must be one of {', '.join(DEVICES)}")
    if config.eval.feedback not in EVAL_FEEDBACKS:
        wrong.append(f"eval.feedback={config.eval.feedback}: must be one of {', '.join(EVAL_FEEDBACKS)}")
    if train.precision not in PRECISIONS:
        wrong.append(f"train.precision={train.precision}: must be one of {', '.join(PRECISIONS)}")
    if dims.rule not in RULES:
        wrong.append(f"dims.rule={dims.rule}: must be one of {', '.join(RULES)}")
    if not config.outputs:
        wrong.append("outputs is empty: must name a folder")
    return wrong + _dataset_mistakes(config) + _model_mistakes(model)


def _dataset_mistakes(config: Config) -> list[str]:
    dataset = config.dataset
    wrong = []
    if len(dataset.shape) != 3 or min(dataset.shape) < 1 or min(dataset.shape[1:]) < 16:
        wrong.append(f"dataset.shape={dataset.shape}: must be [channels, height, width], 16x16 or larger")
    elif not len(dataset.mean) == len(dataset.std) == dataset.shape[0]:
        wrong.append(f"dataset.mean and dataset.std: must have one number for each of {dataset.shape[0]} channels")
    if len(dataset.examples) != 2 or min(dataset.examples) < 1:
        wrong.append(f"dataset.examples={dataset.examples}: must be [training, test], each at least 1")
    elif config.train.subset is not None and config.train.subset > dataset.examples[0]:
        wrong.append(f"train.subset={config.train.subset}: {dataset.name} has {dataset.examples[0]} training examples")
    if any(not std > 0 for std in dataset.std):
        wrong.append(f"dataset.std={dataset.std}: must be greater than 0")
    if len(dataset.channels) != 2 or min(dataset.channels) < 1:
        wrong.append(f"dataset.channels={dataset.channels}: must be two positive numbers")
    return wrong


def _model_mistakes(model: ModelConfig) -> list[str]:
    feedbacks = ("none", *registry.BIAS_RATES, *registry.FEEDBACKS)
    if model.feedback not in feedbacks:
        return [f"model.feedback={model.feedback}: must be one of {', '.join(feedbacks)}"]
    uses = _uses(model)
    if not set(uses) <= set(USES) or len(uses) != len(set(uses)) or (uses and "dx" not in uses):
        return [f"model.uses={uses}: must be dx, and of {', '.join(USES)} those that the feedback takes"]
    if bool(uses) != (model.feedback != "none"):
        return [f"model.uses={uses}: a feedback takes dx at least, and model.feedback=none takes none"]
    if model.parameters_of is not None and (model.feedback != "none" or model.parameters_of not in registry.FEEDBACKS):
        others = ", ".join(registry.FEEDBACKS)
        return [f"model.parameters_of={model.parameters_of}: takes model.feedback=none and one of {others}"]
    if model.feedback == "projection" and model.kind not in registry.KINDS:
        return [f"model.kind={model.kind}: must be one of {', '.join(registry.KINDS)}"]
    if model.feedback == "projection" and model.scale not in registry.SCALES:
        return [f"model.scale={model.scale}: must be one of {', '.join(registry.SCALES)}"]
    if model.name == "rmp" and (model.kind, model.scale) != ("dense", "xavier"):
        asked = f"model.kind={model.kind} model.scale={model.scale}"
        return [f"model=rmp is the notebook's dense Xavier projection; use model=projection for {asked}"]
    return []


def _resolve_device(device: str) -> str:
    if device == "cpu":
        return device
    available = _may_have_gpu()
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
    asked, uses = config.dims, _uses(config.model)
    by_rule = _by_rule(config)
    hidden = asked.hidden or by_rule.hidden
    assert hidden is not None
    if not uses:
        if config.model.parameters_of and asked.hidden is None:
            hidden = _widened(config, config.model.parameters_of)
        return replace(asked, dx=0, m=None, n=None, hidden=hidden)
    if uses == ["dx"]:
        dx = asked.dx or by_rule.dx or _choose(config, replace(asked, m=None, n=None), hidden).dx
        return replace(asked, dx=dx, m=None, n=None, hidden=hidden)
    dims = replace(asked, dx=asked.dx or by_rule.dx, m=asked.m or by_rule.m, n=asked.n or by_rule.n, hidden=hidden)
    if dims.dx is None or dims.m is None or dims.n is None:
        match = _choose(config, dims, hidden)
        dims = replace(dims, dx=match.dx, m=match.m, n=match.n)
    else:
        _check_fit(config, dims.dx, dims.m, dims.n, hidden)
    return replace(dims, m=dims.m if "m" in uses else None, n=dims.n if "n" in uses else None)


def _widened(config: Config, feedback: str) -> int:
    """Return the least hidden width that has as many parameters without feedback as the config's network with it."""
    model = ModelConfig(name=feedback, feedback=feedback, uses=["dx"])
    with_it = replace(config, model=model, dims=_resolve_dims(replace(config, model=model)))
    dims = replace(config.dims, dx=0, hidden=with_it.dims.hidden)
    while parameter_count(replace(config, dims=dims)) < parameter_count(with_it):
        dims.hidden = (dims.hidden or 0) + 1
    return dims.hidden or 0


def _by_rule(config: Config) -> DimsConfig:
    """Return the dimensions that the rule names; those that the solver is to pick are None."""
    dataset, rule, model = config.dataset, config.dims.rule, config.model
    rows = PUBLISHED.get(dataset.name)
    kernels = set(_uses(model)) > {"dx"}
    row = model.feedback if model.feedback in ("none", *(rows or ())) else "pool" if kernels else "projection"
    published = rows[row] if rows else None
    if rule == "published":
        if published is None:
            raise UserError(
                f"dims=published: the notebook has no dimensions for dataset={dataset.name}; "
                "use dims=controlled or dims=auto"
            )
        return published
    if rule == "controlled" and published is not None:
        return replace(published, hidden=dataset.hidden)
    return DimsConfig(rule=rule, dx=None, m=None, n=None, hidden=dataset.hidden)


def _choose(config: Config, dims: DimsConfig, hidden: int) -> matching.Match:
    features, classes = flat_features(config.dataset), config.dataset.classes
    match = matching.choose(features, hidden, classes, dx=dims.dx, m=dims.m, n=dims.n)
    if match is None:
        given = [f"dims.{key}={getattr(dims, key)}" for key in ("dx", "m", "n") if getattr(dims, key) is not None]
        raise UserError(
            f"dims={dims.rule}: no kernels fit {features} features, hidden={hidden}"
            f"{' with ' if given else ''}{', '.join(given)}; free one of them, or choose a hidden width with more "
            f"divisors (those of {hidden}: {', '.join(map(str, matching.divisors(hidden)))})"
        )
    return match


def _check_fit(config: Config, dx: int, m: int, n: int, hidden: int) -> None:
    """Refuse a triple that is not exact, but for the rows that the notebook's own n drops of its own hidden width."""
    features, classes = flat_features(config.dataset), config.dataset.classes
    published = PUBLISHED.get(config.dataset.name, {}).get("pool")
    is_published = published is not None and (n, hidden) == (published.n, published.hidden)
    pooled_rows = hidden - hidden % n if is_published else hidden
    why = matching.misfit(dx, m, n, features=features, hidden=pooled_rows, classes=classes)
    if why is None:
        return
    fits = matching.nearest(dx, m, n, features=features, hidden=hidden, classes=classes)
    nearest = "; ".join(f"dims.dx={x.dx} dims.m={x.m} dims.n={x.n}" for x in fits)
    raise UserError(
        f"dims.dx={dx} dims.m={m} dims.n={n} do not fit {features} features and hidden={hidden}: {why}. "
        + (f"Nearest that fit: {nearest}" if fits else f"No kernels fit hidden={hidden}: choose another dims.hidden")
    )
