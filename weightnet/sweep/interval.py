"""Intervals of values, as `train.lr=tag(log,interval(1e-3,1))` asks for."""

import math
from dataclasses import dataclass

from hydra.core.override_parser.types import IntervalSweep

from weightnet.errors import UserError

_EDGE = 0.05  # of an interval, on its scale: what is nearer to an end lies at it
_NOT_SEARCHED = ("seed", "threads", "dims", "train.validation")


@dataclass(frozen=True, slots=True)
class Interval:
    """The values among which a key is searched, both ends included."""

    low: float
    high: float
    log: bool
    whole: bool
    """Integers only."""

    def at(self, share: float) -> float:
        """Return the value so far (0 to 1) from the lower to the upper end on the interval's scale, rounded."""
        low, high = self._scaled(self.low), self._scaled(self.high)
        value = low + share * (high - low)
        return self.rounded(math.exp(value) if self.log else value)

    def share(self, value: float) -> float:
        """Return where a value lies, from 0 to 1."""
        low, high = self._scaled(self.low), self._scaled(self.high)
        return (self._scaled(value) - low) / (high - low)

    def rounded(self, value: float) -> float:
        """Return a value with four significant digits (more where the interval is narrow), or a whole one."""
        if self.whole:
            return min(max(round(value), int(self.low)), int(self.high))
        narrow = math.log10(max(abs(self.low), abs(self.high)) / (self.high - self.low))
        return min(max(float(f"{value:.{max(4, 3 + math.ceil(narrow))}g}"), self.low), self.high)

    def end_near(self, value: float) -> str:
        """Return which end of the interval a value lies at, "" if at none."""
        share = self.share(value)
        return "lower" if share < _EDGE else "upper" if share > 1 - _EDGE else ""

    def _scaled(self, value: float) -> float:
        return math.log(value) if self.log else value


def read_interval(key: str, asked: IntervalSweep, line: str, *, whole: bool = False) -> Interval:
    """Return the interval that Hydra read for a key, which may take `whole` numbers alone.

    UserError: there is nothing to search in it, or by that key.
    """
    bare, low, high = key.lstrip("+"), float(asked.start or 0), float(asked.end or 0)
    if any(bare == own or bare.startswith(f"{own}.") for own in _NOT_SEARCHED):
        raise UserError(f"{line}: {bare} is not searched by an interval; write its values out")
    if unknown := sorted(asked.tags - {"log", "int"}):
        raise UserError(f"{line}: an interval has the tags log and int, not {', '.join(unknown)}")
    if not (low < high and max(abs(low), abs(high)) <= 2**53):
        raise UserError(f"{line}: must be two numbers, the first one less than the second one")
    if "log" in asked.tags and low <= 0:
        raise UserError(f"{line}: a log interval must begin above 0")
    whole = whole or "int" in asked.tags or isinstance(asked.start, int)
    if whole and not (low.is_integer() and high.is_integer()):
        raise UserError(f"{line}: an interval of integers must have whole ends")
    return Interval(int(low) if whole else low, int(high) if whole else high, "log" in asked.tags, whole)
