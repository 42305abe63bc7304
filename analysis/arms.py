"""How an arm is called, and in which colour it is drawn: the same in every figure, table and report."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from weightnet.config import Config
from weightnet.identity import canonical

MODEL_LABELS = {
    "baseline": "without feedback", "rmp": "random projection", "wide": "without feedback, wide",
    "fixed_noise": "fixed noise", "bias_lr": "bias learning rate",
}  # fmt: skip

_FOLLOWS_DATASET = ("dataset.shape", "dataset.mean", "dataset.std", "dataset.channels")


@dataclass(frozen=True, slots=True)
class Arm:
    """An arm of an experiment, as it is shown."""

    label: str
    """The model, and the keys in which it differs from the experiment's other arms of that model."""
    model: str
    colour: str
    """A key of `analysis.plots.COLOURS`: the model, and the kind of a projection."""


def name_arms(configs: Sequence[Config]) -> list[Arm]:
    """Return how the arms of an experiment, each given by a resolved config, are shown beside one another."""
    forms = [flat(canonical(config)) for config in configs]
    return [Arm(_label(form, forms), form["model.name"], _colour(form)) for form in forms]


def _label(form: dict[str, Any], forms: list[dict[str, Any]]) -> str:
    same_model = [other for other in forms if other["model.name"] == form["model.name"]]
    differing = [key for key in form if any(other.get(key) != form[key] for other in same_model)]
    names = {key: "dataset" if key == "dataset.name" else key.rpartition(".")[2] for key in differing}
    parts = [f"{names[key]}={form[key]}" for key in differing if key not in ("seed", *_FOLLOWS_DATASET)]
    return ", ".join([MODEL_LABELS.get(form["model.name"], form["model.name"]), *parts])


def _colour(form: dict[str, Any]) -> str:
    """Return the model's name; a projection of the kind `dense` is `rmp`, whichever way it was asked for."""
    name, kind = str(form["model.name"]), form.get("model.kind")
    colours = {"dense": "rmp", "sparse": "projection"}
    return colours.get(str(kind), f"projection {kind}") if name == "projection" else name


def flat(nested: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested keys joined by dots; lists as text, so that columns can be grouped and compared."""
    joined: dict[str, Any] = {}
    for key, value in nested.items():
        if isinstance(value, dict):
            joined |= flat(value, f"{prefix}{key}.")
        else:
            joined[prefix + key] = str(value) if isinstance(value, list) else value
    return joined
