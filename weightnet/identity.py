"""What a run is: its canonical form, signature, arm and run id. No torch in here."""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from weightnet.config import PARAMS, Config, EvalConfig, TrainConfig
from weightnet.geometry import fed_back


def canonical(config: Config) -> dict[str, Any]:
    """Return all that changes a resolved config's numbers, and nothing else.

    Paths, logging, the rule that chose the dimensions, and the fields that the model does not use are left
    out: equal runs have equal canonical forms.
    """
    used = {"hidden", *(config.model.uses or ())}
    return {
        "dataset": {key: getattr(config.dataset, key) for key in ("name", "shape", "mean", "std", "channels")}
        | ({"classes": config.dataset.classes} if config.dataset.classes != 10 else {})  # all archived runs have 10
        | ({"reader": config.dataset.reader} if config.dataset.reader is not None else {}),
        "model": {key: value for key in ("name", "feedback", "kind", "scale")
                  if (value := getattr(config.model, key)) is not None}
        | ({"params": params} if (params := _told_params(config)) else {}),
        "dims": {key: getattr(config.dims, key) for key in ("hidden", "dx", "m", "n") if key in used},
        "train": _told(config.train, without=["log_interval", "save_model", *([] if fed_back(config) else ["init"])]),
        "eval": _told(config.eval, without=["save_predictions", *([] if fed_back(config) else ["feedback"])]),
        "seed": config.seed,
        "device": config.device,
        "threads": config.threads,
    }  # fmt: skip


_BEFORE = {kind: {item.name: item.default if item.default_factory is MISSING else item.default_factory()
                  for item in fields(kind)} for kind in (TrainConfig, EvalConfig)}  # fmt: skip


def _told(group: Any, *, without: Sequence[str]) -> dict[str, Any]:
    """Return a group's fields, but for the younger ones that are as the code was before there were such fields."""
    before = _BEFORE[type(group)]
    return {name: value for name in before if name not in without and (value := getattr(group, name)) != before[name]}


def _told_params(config: Config) -> dict[str, Any]:
    """Return the model's parameters; of a model of ours, those that are not as the code was before there were any."""
    before = PARAMS.get(config.model.feedback, {})
    return {name: value for name, value in config.model.params.items() if name not in before or value != before[name]}


def signature(config: Config) -> str:
    """Return the identity of a resolved config: 64 hex digits, equal for equal runs."""
    return _digest(canonical(config))


def _digest(form: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(form, sort_keys=True).encode()).hexdigest()


def arm(config: Config) -> str:
    """Return the identity of the run's arm, 64 hex digits: what its seeds are replicates of."""
    # device and threads, the machine's part, change rounding only
    return _digest({k: v for k, v in canonical(config).items() if k not in ("seed", "device", "threads")})


def shape(config: Config) -> str:
    """Return 64 hex digits that are equal for runs whose epochs take the same time on the same machine."""
    form = canonical(config)
    sizes = ("batch_size", "test_batch_size", "subset", "validation")
    training = {key: form["train"][key] for key in sizes if key in form["train"]}
    if config.train.precision != "float32":  # so that what older runs recorded still holds
        training["precision"] = config.train.precision
    return _digest({k: form[k] for k in ("dataset", "model", "dims", "device", "threads")} | {"train": training})


def run_id(config: Config) -> str:
    """Return the name of a resolved config's run folder: readable prefix, seed, signature."""
    form = canonical(config)
    sizes = [f"{key}{value}" for key, value in form["dims"].items() if key != "hidden"]
    kind = []
    if config.model.name == "projection":
        kind = [str(config.model.kind)] + ([] if config.model.scale == "xavier" else [str(config.model.scale)])
    if form["eval"].get("feedback", "live") != "live":
        kind.append(f"test_{config.eval.feedback}")
    told = form["model"].get("params", {})
    params = [f"{key}{value}" for key, value in told.items() if isinstance(value, int | float | str)]
    short = [part for part in (re.sub(r"[^\w.+]", "_", part) for part in params) if len(part) <= 20]
    prefix = "-".join([config.dataset.name, config.model.name, *kind, *short[:4], *sizes])
    return f"{prefix}-s{config.seed}-{_digest(form)[:8]}"


def run_folder(config: Config, run: str | None = None) -> Path:
    """Return the folder of a resolved config's run; `run`: its id, where that is known."""
    return Path(config.outputs) / "runs" / (run or run_id(config))
