"""Tries out the user's own code of a config before anything runs: on numbers of the right shapes, at no cost."""

import json
from dataclasses import asdict
from functools import cache

import torch
from torch import Tensor, nn

from weightnet import registry
from weightnet.config import Config, build
from weightnet.errors import UserError
from weightnet.geometry import flat_features
from weightnet.net.epoch import METRICS, VALIDATION
from weightnet.net.model import build_feedback
from weightnet.net.streams import initial_linear
from weightnet.net.training import measure
from weightnet.own import explained, is_own


def try_out(config: Config) -> None:
    """Raise a UserError if a feedback, metric or reader of the user's own cannot be had, or gives what it must not."""
    if is_own(config.model.feedback):
        plain = asdict(config) | {"seed": 1, "outputs": "", "data_root": ""}
        plain["train"]["lr"] = 1.0  # tried once, whatever else is swept
        _try_feedback(json.dumps(plain, sort_keys=True))
    for name, target in config.eval.metrics.items():
        _try_metric(name, target, config.dataset.classes, min(1000, config.dataset.examples[1]))
    if config.dataset.reader is not None and is_own(config.dataset.reader):
        reader = registry.locate({}, config.dataset.reader, "dataset.reader")
        if not callable(reader):
            raise UserError(f"dataset.reader={config.dataset.reader}: is no function of the root folder")


@cache
def _try_feedback(plain: str) -> None:
    config = build(json.loads(plain))
    what, dx, hidden = f"model.feedback={config.model.feedback}", config.dims.dx or 0, config.dims.hidden or 0
    sizes = {"features": flat_features(config.dataset), "classes": config.dataset.classes, "dx": dx, "hidden": hidden}
    weights = initial_linear(config.seed, **sizes)
    try:
        with torch.no_grad():
            feedback = build_feedback(config, *weights)
            me = feedback(*weights) if isinstance(feedback, nn.Module) else None
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{what}: failed when it was tried out: {explained(error)}") from error
    if not isinstance(feedback, nn.Module):
        raise UserError(f"{what}: must be a torch.nn.Module (or a weightnet.net.feedback.Feedback)")
    if parameters := [name for name, _ in feedback.named_parameters()]:
        raise UserError(f"{what}: has the parameter {parameters[0]}, which nothing would train: me is computed without "
                        "gradients; keep fixed tensors by self.register_buffer")  # fmt: skip
    if not isinstance(me, Tensor) or me.shape != (dx,) or me.dtype != weights[0].dtype:
        shapes = ", ".join(str(tuple(weight.shape)) for weight in weights)
        given = f"{me.dtype} {tuple(me.shape)}" if isinstance(me, Tensor) else type(me).__name__
        raise UserError(f"{what}: gave {given} for weights {shapes}, must be {weights[0].dtype} ({dx},)")
    if not me.isfinite().all():
        raise UserError(f"{what}: gave numbers that are not finite for the initial weights")


@cache
def _try_metric(name: str, target: str, classes: int, count: int) -> None:
    what = f"eval.metrics.{name}={target}"
    metric = registry.locate({}, target, f"eval.metrics.{name}")
    logits = torch.randn(count, classes, generator=torch.Generator().manual_seed(0))
    try:
        columns = measure({name: metric}, logits, torch.arange(count) % classes)
    except Exception as error:
        raise UserError(f"{what}: failed when it was tried out: {explained(error)}") from error
    if wrong := [
        column
        for column in columns
        if column in (*METRICS, *VALIDATION, "accuracy") or any(sign in column for sign in ',"\n\r')
    ]:
        raise UserError(f"{what}: gives the column {wrong[0]!r}, which must be new and without commas and quotes")
