"""Whether what a comparison takes as chosen before the runs was: as the first sweep that had them records it."""

from collections import Counter
from collections.abc import Collection, Iterable
from contextlib import suppress
from pathlib import Path

from analysis.experiments import Experiment
from analysis.load import count_runs
from analysis.metrics import read_outcome
from analysis.records import Sweep, first_with, seed_of
from analysis.selection import seed_override
from weightnet.errors import UserError


def chosen_later(experiment: Experiment, outputs: Path, runs: Collection[str]) -> list[str]:
    """Return in words what these runs were first planned with, where the experiment has another outcome, margin, choice
    by validation, or looks, or leaves out seeds that had been planned for its arms.

    Nothing is said of runs that no sweep has: one alone, or restored from an archive.
    """
    ours = _choices(str(experiment.primary), experiment.margin, experiment.choose, experiment.looks)
    asked = set[int]() if experiment.any_seed else _seeds(experiment.runs)
    if asked:
        ours["seed"] = seed_override(asked).removeprefix("seed=")
    other = Counter[tuple[str, str]]()
    for sweep, own in first_with(outputs, runs):
        theirs, planned = _of_sweep(sweep), _planned_seeds(sweep, experiment)
        if asked and planned - asked:  # more seeds than were planned are no other choice
            theirs["seed"] = seed_override(planned).removeprefix("seed=")
        other.update(dict.fromkeys(theirs.items() - ours.items(), len(own)))
    return [
        f"{key}={ours[key]} was chosen later: of {count_runs(count)} the plan had {value}"
        for (key, value), count in sorted(other.items())
    ]


def _planned_seeds(sweep: Sweep, experiment: Experiment) -> set[int]:
    """Return the seeds that a sweep planned for the experiment's arms, but for those of its trials."""
    tried = sweep.trials.seeds if sweep.trials else set[int]()
    return _seeds(run for run, arm in sweep.runs.items() if arm in experiment.arms) - tried


def _seeds(runs: Iterable[str]) -> set[int]:
    return {seed for run in runs if (seed := seed_of(run)) is not None}


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
