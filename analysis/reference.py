"""What arms are compared with: those of a model, as `baseline`; or those with a value, as `train.lr=0.01`."""

from collections.abc import Mapping, Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from analysis.arms import MODEL_LABELS, OF_FEEDBACK, Arm, columns
from weightnet.errors import UserError
from weightnet.sweep.mistakes import close_match
from weightnet.sweep.plan import is_meant

_MODEL = "model.name"
_NOTHING = object()


def called(reference: str) -> str:
    """Return what a reference is called in a sentence."""
    return reference if "=" in reference else f"'{MODEL_LABELS.get(reference, reference)}'"


def referred(arms: Mapping[str, Arm], reference: str) -> dict[str, Arm]:
    """Return the arms of a reference; UserError: it is neither MODEL nor KEY=VALUE."""
    key, value = _read(arms, reference)
    return {name: arm for name, arm in arms.items() if _has(arm, key, value)}


def partners(arms: Mapping[str, Arm], swept: Sequence[str], reference: str) -> dict[str, list[str]]:
    """Return for each arm that is compared with a reference those of its arms that it may be compared with.

    They are of the same data set, and have the same value of every swept key that both have. Of a model: but for the
    rule of the dimensions and the models' own parameters, where this model has one value only. Of KEY=VALUE: they are
    of the same model, and KEY is what differs. UserError: as of `referred`.
    """
    key, _ = _read(arms, reference)
    theirs = referred(arms, reference)
    within = ({*swept, _MODEL} - {key, "seed"}) | {"dataset.name"}
    if key == _MODEL:
        optional = [other for other in within if other == "dims.rule" or other.startswith("model.params.")]
        within -= {other for other in optional if len({arm.values.get(other) for arm in theirs.values()}) < 2}
    return {
        name: [
            other for other, its in theirs.items()
            if all(arm.values[k] == its.values[k] for k in within if k in arm.values and k in its.values)
        ]
        for name, arm in arms.items() if name not in theirs and _value(arm, key) is not _NOTHING
    }  # fmt: skip


def no_such_arm(arms: Mapping[str, Arm], swept: Sequence[str], reference: str) -> str:
    """Say that no arm is of a reference, and what there is."""
    key, _ = _read(arms, reference)
    there = list(dict.fromkeys(str(value) for arm in arms.values() if (value := _value(arm, key)) is not _NOTHING))
    others = [other for other in swept if other != "seed"]
    if reference in others:
        return f"give one of its values, {reference}=VALUE"
    if key == _MODEL:
        return f"no arm is of that model{close_match(reference, there)} There are {', '.join(there)}"
    if key in swept:
        return f"no arm has that value. Of {key} there is {', '.join(there)}"
    known = any(key in arm.values for arm in arms.values())
    same = next((other for other in others if other.endswith(f".{key}")), None)
    close = f"; did you mean {same}?" if same else close_match(key, [] if known else others)
    return f"{key} was not swept{close} What was: {', '.join(others) or 'nothing'}"


def _read(arms: Mapping[str, Arm], reference: str) -> tuple[str, Any]:
    """Return the key of a config, and the value of it, that the arms of a reference have."""
    key, is_value, _ = reference.partition("=")
    if not is_value:
        return _MODEL, reference.rpartition(":")[2]  # my_file.py:Name is called Name
    if key == "seed":
        raise UserError(f"--reference={reference}: seeds are what is paired; name another key that was swept")
    try:
        override = OverridesParser.create().parse_override(reference)
    except HydraException:
        override = None
    if override is None or override.is_sweep_override():
        raise UserError(f"--reference={reference}: must be a model, or one value, as train.lr=0.01")
    found = columns(key, list(arms.values()))
    return found[0] if len(found) == 1 else key, override.value()


def _value(arm: Arm, key: str) -> Any:
    return arm.values.get(key, _NOTHING if key.startswith(OF_FEEDBACK) else None)


def _has(arm: Arm, key: str, value: Any) -> bool:
    own = _value(arm, key)
    return own is not _NOTHING and is_meant(own, value)
