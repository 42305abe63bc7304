"""Whether what a comparison takes as chosen before the runs was: as the first sweep that had them records it."""

from collections import Counter
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from analysis.experiments import Experiment
from analysis.load import count_runs
from analysis.metrics import read_outcome
from analysis.records import Sweep, first_with
from weightnet.errors import UserError


def chosen_later(experiment: Experiment, outputs: Path, runs: Collection[str]) -> list[str]:
    """Return in words what these runs were first planned with, where the experiment has another outcome, margin, choice
    by validation, or looks.

    Nothing is said of runs that no sweep has: one alone, or restored from an archive.
    """
    ours = _choices(str(experiment.primary), experiment.margin, experiment.choose, experiment.looks)
    other = Counter[tuple[str, str]]()
    for sweep, own in first_with(outputs, runs):
        other.update(dict.fromkeys(_of_sweep(sweep).items() - ours.items(), len(own)))
    return [
        f"{key}={ours[key]} was chosen later: of {count_runs(count)} the plan had {value}"
        for (key, value), count in sorted(other.items())
    ]


def _of_sweep(sweep: Sweep) -> dict[str, str]:
    primary = sweep.analysis.primary
    with suppress(UserError):  # else it stays as it was written
        primary = str(read_outcome(primary, "analysis.primary"))
    return _choices(primary, sweep.analysis.margin, sweep.analysis.choose, sweep.looks)


def _choices(primary: str, margin: float | None, choose: str | None, looks: list[list[int]]) -> dict[str, str]:
    """Return the choices as a command line has them."""
    sizes = ",".join(str(len(seeds)) for seeds in looks)
    return {
        "analysis.primary": primary,
        "analysis.margin": "null" if margin is None else f"{margin:g}",
        "analysis.choose": choose or "null",
        "hydra.sweeper.looks": f"[{sizes}]",
    }
