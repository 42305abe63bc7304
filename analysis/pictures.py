"""What is drawn follows from what was swept: which keys are axes."""

from collections.abc import Iterable, Mapping, Sequence

from analysis.arms import Arm, columns
from weightnet.errors import UserError


def choose_axes(
    arms: Mapping[str, Arm], axes: Iterable[Sequence[str]], *, x: str | None = None, y: str | None = None
) -> list[str]:
    """Return which keys a picture has as axes: none (learning curves), x (the metric against it), x and y (heat maps).

    They are what is asked for: x, y, or both; else the first two numeric keys of `axes`, of what was swept, in which at
    least half of the models vary: a line for one model among many others is no picture of these.

    UserError: what is asked for does not vary, or is no number.
    """
    shown = list(arms.values())
    swept = [key for keys in axes if (key := _leader(keys, shown))]
    possible = dict.fromkeys([*swept, *(key for arm in shown for key in arm.values if not key.startswith("dataset."))])
    if x and x == y:
        raise UserError(f"--y={y}: is the x axis already")
    for flag, key in (("x", x), ("y", y)):
        if key and (key not in possible or not is_numeric(key, shown)):
            there = [known for known in possible if is_numeric(known, shown)]
            names = f"there are {', '.join(there)}" if there else "there are none"
            raise UserError(f"--{flag}={key}: must be a number that varies in these runs; {names}")
    if x and not y:
        return [x]
    others = [key for key in swept if key not in (x, y) and _most_vary(key, shown)]
    return [*([x] if x else others[:1]), y] if y else others[:2]


def _leader(keys: Sequence[str], arms: Sequence[Arm]) -> str | None:
    """Return of the keys that move together the one with most values; None where it is no number."""
    own = [column for key in keys for column in columns(key, arms)]
    leader = max(own, key=lambda key: len(_values(key, arms)), default=None)
    return leader if leader and is_numeric(leader, arms) else None


def _values(key: str, arms: Sequence[Arm]) -> set[object]:
    return {arm.values.get(key) for arm in arms} - {None}


def _most_vary(key: str, arms: Sequence[Arm]) -> bool:
    models = {arm.model for arm in arms}
    varying = [len(_values(key, [arm for arm in arms if arm.model == model])) > 1 for model in models]
    return 2 * sum(varying) >= len(models)


def is_numeric(key: str, arms: Sequence[Arm]) -> bool:
    """Tell whether a key has several values, and numbers only; of a model, all arms have it or none."""
    values = _values(key, arms)
    having = {model: {key in arm.values for arm in arms if arm.model == model} for model in {arm.model for arm in arms}}
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    return key != "seed" and numbers and len(values) > 1 and all(len(each) == 1 for each in having.values())
