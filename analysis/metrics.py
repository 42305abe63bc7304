"""What is looked at: a column of metrics.csv, what it is called, which way is better; and an outcome, taken of it."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from weightnet.errors import UserError
from weightnet.sweep.mistakes import close_match

if TYPE_CHECKING:
    import pandas as pd


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

    @property
    def axis(self) -> str:
        """What an axis is called."""
        return f"{self.label} (%)" if self.percent else self.label

    @property
    def unit(self) -> str:
        """What comes after a difference."""
        return " points" if self.percent else ""

    def summary(self, data: "pd.DataFrame", by: Sequence[str]) -> "pd.DataFrame":
        """Return `analysis.stats.summarise` of the metric; an interval ends where the possible does."""
        from analysis.stats import summarise  # not above: scipy and pandas take a second, and a sweep's mistakes none

        table = summarise(data.dropna(subset=[self.column]), by=by, value=self.column)
        return table.assign(low=table["low"].clip(*self.bounds), high=table["high"].clip(*self.bounds))

    def difference(self, value: float) -> str:
        """Return a difference as tables show it."""
        return f"{value:+.3f}" if self.percent else f"{value:+.3g}"

    def text(self, value: float) -> str:
        """Return the value as tables and figures show it."""
        return f"{value:.2f}" if self.percent else f"{value:#.4g}"


ACCURACY = Metric("accuracy", "test accuracy", percent=True, bounds=(0, 100), direction=1)
_BUILT_IN = {
    "accuracy": ACCURACY,
    "test_accuracy": ACCURACY,
    "test_loss": Metric("test_loss", "test loss", bounds=(0, math.inf), direction=-1),
    "train_loss": Metric("train_loss", "training loss", bounds=(0, math.inf), direction=-1),
}

VALIDATION = Metric("validation_accuracy", "validation accuracy", percent=True, bounds=(0, 100), direction=1)
_VALIDATION = {
    "validation_accuracy": VALIDATION,
    "validation_loss": Metric("validation_loss", "validation loss", bounds=(0, math.inf), direction=-1),
}  # of runs with train.validation


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run reached: the mean of a metric over these epochs."""

    metric: Metric = ACCURACY
    first: int = -1
    """Of the epochs, 1 or later; or counted from the end: -1, the last one."""
    last: int | None = None
    """None: the last one that there is."""
    exploratory: bool = field(default=False, compare=False)
    """It is not the one that the experiment names as its primary one."""

    def __str__(self) -> str:
        """Return what `read_outcome` takes."""
        over = f"{-self.first}" if self.last is None else f"{self.first}-{self.last}"
        return f"{self.metric.column}:{'last' if over == '1' else f'mean:{over}'}"

    @property
    def epochs(self) -> int:
        """How many epochs a run must have for it."""
        return self.last or -self.first

    @property
    def label(self) -> str:
        """What it is called: "test accuracy, mean of epochs 1 to 5"."""
        return f"{self.metric.label}, {self._over}"

    @property
    def heading(self) -> str:
        """What a column of it is called."""
        return f"{self.metric.label}{' %' * self.metric.percent}, {self._over}{self.mark}"

    @property
    def mark(self) -> str:
        """What comes after its name in tables."""
        return " (exploratory)" if self.exploratory else ""

    @property
    def _over(self) -> str:
        if self.last is not None:
            return f"mean of epochs {self.first} to {self.last}"
        return "last epoch" if self.first == -1 else f"mean of the last {-self.first} epochs"

    @property
    def short(self) -> str:
        """What files of it are called: "test_loss", "accuracy-mean-1-5"."""
        return str(self).removesuffix(":last").replace(":", "-")

    def put(self, runs: "pd.DataFrame", epochs: "pd.DataFrame", own: Sequence[str]) -> "pd.DataFrame":
        """Return these runs, the metric's column holding the outcome of those that are done.

        It is NaN where one of the epochs lacks the metric, or has an infinite one. `own` are the own metrics of all
        runs that were read.

        UserError: no run has the metric, or some have too few epochs.
        """
        self._check(runs, own)
        if runs.empty:
            return runs
        length = epochs["train.epochs"]
        last = length if self.last is None else self.last
        within = epochs[epochs["epoch"].between(self.first if self.first > 0 else length + 1 + self.first, last)]
        means = within.groupby("run")[self.metric.column].agg(lambda values: values.mean(skipna=False))
        means = means.where(means.abs() < math.inf)
        done, column = runs["status"] == "done", self.metric.column
        return runs.assign(**{column: runs["run"].map(means).where(done, runs[column])})

    def _check(self, runs: "pd.DataFrame", own: Sequence[str]) -> None:
        there = [*(name for name in _BUILT_IN if name != "test_accuracy"), *(c for c in own if runs[c].notna().any())]
        if self.metric.column not in there:
            close = close_match(self.metric.column, there)
            raise UserError(f"outcome {self}: no run has this metric{close} There are {', '.join(there)}")
        if len(runs) and self.epochs > (fewest := runs["train.epochs"].min()):
            raise UserError(f"outcome {self}: takes {self.epochs} epochs, and some of these runs have {fewest}")


DEFAULT = Outcome()


def known_metrics() -> list[str]:
    """Return the names of the metrics that every run has."""
    return list(_BUILT_IN)


def read_outcome(text: str, key: str) -> Outcome:
    """Return the outcome for METRIC:last, METRIC:mean:10 (of the last 10 epochs) or METRIC:mean:1-5.

    Without a metric it is accuracy, without epochs the last one. UserError: it is none of these; the message names the
    `key` that it is the value of.
    """
    named = f"{ACCURACY.column}:{text}" if re.match(r"last$|mean:", text) else text
    found = re.fullmatch(r"([^:]+)(?::last|:mean:(?:(\d{1,9})-)?(\d{1,9}))?", named)
    name, *bounds = found.groups() if found else ("", None, None)
    first, last = (int(bound) if bound else None for bound in bounds)
    if not found or first == 0 or last == 0 or (first or 1) > (last or 1):
        raise UserError(f"{key}={text}: must be METRIC:last, METRIC:mean:10 (of the last ten epochs) or "
                        "METRIC:mean:1-5 (of these epochs)")  # fmt: skip
    metric = (_BUILT_IN | _VALIDATION).get(name, Metric(name, name))
    return Outcome(metric, first or -(last or 1), last if first else None)
