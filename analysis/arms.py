"""How an arm is called, and in which colour it is drawn: the same in every figure, table and report."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, is_dataclass
from typing import Any

from weightnet.config import Config
from weightnet.dose import dose
from weightnet.identity import canonical

MODEL_LABELS = {
    "baseline": "without feedback", "rmp": "random projection", "wide": "without feedback, wide",
    "twin": "without feedback, twin", "fixed_noise": "fixed noise", "bias_lr": "bias learning rate",
    "padding": "filler alone", "equal": "equal numbers",
}  # fmt: skip

_NAMES = {"dataset.name": "dataset", "dims.n": "kernel n"}  # in labels, where n alone is a number of seeds
_GROUPS = {"dataset": "dataset.name", "model": "model.name", "dims": "dims.rule"}
OF_FEEDBACK = ("dims.", "eval.", "model.params.")
"""How keys begin that not every model uses."""


@dataclass(frozen=True, slots=True)
class Arm:
    """An arm of an experiment, as it is shown."""

    label: str
    """The model, and the keys in which it differs from the experiment's other arms of that model."""
    model: str
    dataset: str
    colour: str
    """A key of `analysis.plots.COLOURS`: the model, and the kind of a projection."""
    form: dict[str, Any]
    """Its canonical form, and all parameters of its model, flat."""
    values: dict[str, Any]
    """The keys of its config that it has: not those of the feedback where it has none, nor kernels that it lacks. And
    its `dose` (`weightnet.dose`)."""


def name_arms(configs: Sequence[Config], axes: Iterable[Sequence[str]] = ()) -> list[Arm]:
    """Return how the arms of an experiment, each given by a resolved config, are shown; `axes`: what was swept."""
    arms = []
    for config in configs:
        params = {f"model.params.{key}": value for key, value in config.model.params.items() if value is not None}
        form = flat(canonical(config)) | flat(params)
        has = {"dims.rule", *form}
        values = {key: value for key, value in flat(config).items()
                  if value is not None and (key in has or not key.startswith(OF_FEEDBACK))}  # fmt: skip
        values |= {"dose": amount} if (amount := dose(config)) is not None else {}
        arms.append(Arm("", config.model.name, config.dataset.name, _colour(form), form, values))
    swept = [column for keys in axes for key in keys for column in columns(key, arms)]
    named = zip(arms, labels(arms, swept), strict=True)
    return [Arm(label, arm.model, arm.dataset, arm.colour, arm.form, arm.values) for arm, label in named]


def labels(arms: Sequence[Arm], swept: Sequence[str] = (), *, off: Sequence[str] = ()) -> list[str]:
    """Return for each arm its model, and the keys in which it differs from the other arms of that model.

    What follows from the keys before it needs no mention: the swept ones come first; those in `off` are known from
    elsewhere (an axis, a panel's title).
    """
    told: dict[str, list[str]] = {}
    for model in {arm.model for arm in arms}:
        forms = [arm.form for arm in arms if arm.model == model]
        known = [tuple(arm.values.get(key) for key in off) for arm in arms if arm.model == model]
        told[model] = []
        for key in dict.fromkeys([*swept, *(key for form in forms for key in form)]):
            more = [(*before, form.get(key)) for before, form in zip(known, forms, strict=True)]
            if key != "seed" and len(set(more)) > len(set(known)):
                told[model].append(key)
                known = more
    return [_label(arm, told[arm.model]) for arm in arms]


def _label(arm: Arm, keys: Sequence[str]) -> str:
    parts = [_told(_NAMES.get(key, key.rpartition(".")[2]), arm.form[key]) for key in keys if key in arm.form]
    return ", ".join([MODEL_LABELS.get(arm.model, arm.model), *parts])


def _told(name: str, value: Any) -> str:
    if value is None:
        return f"no {name}"
    return f"{name}={int(value) if isinstance(value, float) and value.is_integer() else value}"


def columns(key: str, arms: Sequence[Arm]) -> list[str]:
    """Return the keys of a config that an axis stands for: of a group its name, or those in which the arms differ."""
    key = re.sub(r"^[+~]*([^@]*).*", r"\1", key).replace("/", ".")
    if key in _GROUPS or any(key in arm.values for arm in arms):
        return [_GROUPS.get(key, key)]
    below = dict.fromkeys(inner for arm in arms for inner in arm.values if inner.startswith(f"{key}."))
    return [inner for inner in below if len({arm.values.get(inner) for arm in arms}) > 1]


def _colour(form: dict[str, Any]) -> str:
    """Return the model's name; a projection of the kind `dense` is `rmp`, whichever way it was asked for."""
    name, kind = str(form["model.name"]), form.get("model.kind")
    colours = {"dense": "rmp", "sparse": "projection"}
    return colours.get(str(kind), f"projection {kind}") if name == "projection" else name


def flat(nested: Any, prefix: str = "") -> dict[str, Any]:
    """Return the nested keys of dicts and configs joined by dots; lists as text, so that columns can be compared."""
    joined: dict[str, Any] = {}
    keys = nested if isinstance(nested, dict) else nested.__dataclass_fields__
    for key in keys:
        value = nested[key] if isinstance(nested, dict) else getattr(nested, key)
        if isinstance(value, dict) or is_dataclass(value):
            joined |= flat(value, f"{prefix}{key}.")
        else:
            joined[prefix + key] = str(value) if isinstance(value, list) else value
    return joined
