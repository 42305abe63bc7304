"""What is looked at: a column of metrics.csv, what it is called, and which way is better."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import pandas as pd

from analysis.stats import MARGIN, summarise
from weightnet.errors import UserError


@dataclass(frozen=True, slots=True)
class Metric:
    """A column of the frames of `analysis.load.Runs`."""

    column: str
    label: str
    percent: bool = False
    """It is a percentage: differences are in points."""
    bounds: tuple[float, float] = (-math.inf, math.inf)
    """What is possible."""
    direction: int = 0
    """1: more is better; -1: less is; 0: nobody says."""
    margin: float | None = None
    """The smallest difference worth having; None: without one, no equivalence is tested."""

    @property
    def axis(self) -> str:
        """What an axis is called."""
        return f"{self.label} (%)" if self.percent else self.label

    @property
    def unit(self) -> str:
        """What comes after a difference."""
        return " points" if self.percent else ""

    def with_margin(self, margin: float | None) -> "Metric":
        """Return the metric with another margin; None: its own."""
        return self if margin is None else replace(self, margin=margin)

    def summary(self, data: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
        """Return `analysis.stats.summarise` of the metric; an interval ends where the possible does."""
        table = summarise(data.dropna(subset=[self.column]), by=by, value=self.column)
        return table.assign(low=table["low"].clip(*self.bounds), high=table["high"].clip(*self.bounds))

    @property
    def heading(self) -> str:
        """What a column of it is called."""
        return "accuracy %" if self.column == "accuracy" else self.label

    def difference(self, value: float) -> str:
        """Return a difference as tables show it."""
        return f"{value:+.3f}" if self.percent else f"{value:+.3g}"

    def text(self, value: float) -> str:
        """Return the value as tables and figures show it."""
        return f"{value:.2f}" if self.percent else f"{value:#.4g}"


ACCURACY = Metric("accuracy", "test accuracy", percent=True, bounds=(0, 100), direction=1, margin=MARGIN)
_BUILT_IN = {
    "accuracy": ACCURACY,
    "test_accuracy": ACCURACY,
    "test_loss": Metric("test_loss", "test loss", bounds=(0, math.inf), direction=-1),
    "train_loss": Metric("train_loss", "training loss", bounds=(0, math.inf), direction=-1),
}

_VALIDATION = {
    "validation_accuracy": Metric("validation_accuracy", "validation accuracy", bounds=(0, 1), direction=1),
    "validation_loss": Metric("validation_loss", "validation loss", bounds=(0, math.inf), direction=-1),
}  # of runs with train.validation


def find_metric(name: str, runs: pd.DataFrame, own: Sequence[str]) -> Metric:
    """Return the metric of this name; `own` are the own metrics of all runs that were read.

    UserError: none of these runs has it.
    """
    there = [column for column in own if runs[column].notna().any()]
    if name not in _BUILT_IN and name not in there:
        known = ", ".join([*(name for name in _BUILT_IN if name != "test_accuracy"), *there])
        raise UserError(f"--metric={name}: no run has it; there are {known}")
    return _BUILT_IN.get(name) or _VALIDATION.get(name) or Metric(name, name)
