"""An experiment with its runs: what figures, tables and reports are made of."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from analysis.experiments import Experiment, load_experiment
from analysis.load import Runs, refuse_mixture, report_stale
from analysis.stats import MARGIN
from analysis.tables import difference_table
from weightnet.errors import RunFailed, UserError


@dataclass(frozen=True, slots=True)
class Study:
    """An experiment with its runs, and the comparison of its arms with a model, `reference`."""

    experiment: Experiment
    overrides: list[str]
    """All that the experiment was composed with."""
    outputs: Path
    runs: pd.DataFrame
    """Finished and running, one an arm and seed, in the order of arms and seeds."""
    epochs: pd.DataFrame
    """In the order of arms."""
    differences: pd.DataFrame | None
    """From the reference, as `analysis.tables.difference_table` returns them, where there are pairs of seeds."""
    reference: str
    margin: float
    """In percentage points."""


def gather(
    name: str, overrides: Sequence[str] = (), *, loaded: Runs, every_seed: bool = True, mixed: bool = False,
    reference: str | None = None, margin: float = MARGIN,
) -> Study:  # fmt: skip
    """Return an experiment, composed with these overrides (as for run.py), and those of all runs that belong to it.

    `every_seed`: also seeds that the experiment does not run, unless an override says which; `mixed`: also where runs
    are of different code or versions; `reference`: None for the baseline where there is one; margin: percentage points.

    Raises:
        UserError: the experiment's config is impossible, or its runs cannot be told apart or compared.
        RunFailed: it has no run.
    """
    experiment = load_experiment(name, overrides)
    own_seeds = not every_seed or any(override.startswith("seed=") for override in overrides)
    runs = _select(experiment, loaded.runs, own_seeds=own_seeds)
    if runs.empty:
        root = [] if loaded.outputs == Path("outputs") else [f"outputs={loaded.outputs}"]
        command = shlex.join(["python", "run.py", f"experiment={name}", *overrides, *root])
        raise RunFailed(f"{name}: no finished or running run of it in {loaded.outputs}/runs; run it with: {command}")
    if not mixed:
        refuse_mixture(runs)
    report_stale(runs, name)
    compared = bool(reference) or _has_baseline(runs[runs["status"] == "done"])
    reference = reference or "baseline"
    differences = difference_table(runs, experiment, reference, margin=margin) if compared else None
    epochs = _by_arm(loaded.epochs[loaded.epochs["run"].isin(runs["run"])], experiment)
    return Study(experiment, list(overrides), loaded.outputs, runs, epochs, differences, reference, margin)


def _select(experiment: Experiment, runs: pd.DataFrame, *, own_seeds: bool) -> pd.DataFrame:
    """Return the finished and running runs of the experiment's arms, in the order of arms and seeds."""
    chosen = runs[runs["arm"].isin(list(experiment.arms)) & runs["status"].isin(["done", "running"])]
    if own_seeds:
        chosen = chosen[chosen["seed"].isin(experiment.seeds)]
    twins = chosen[chosen.duplicated(["arm", "seed"], keep=False)]
    if not twins.empty:
        differing = [key for key in ("device", "threads") if twins[key].nunique() > 1]
        values = ", ".join(f"{key} ({', '.join(map(str, twins[key].unique()))})" for key in differing)
        raise UserError(f"{experiment.name}: {len(twins)} runs share arm and seed but differ in {values}; "
                        "move all but one kind of them out of the runs folder")  # fmt: skip
    return _by_arm(chosen.sort_values("seed"), experiment)


def _by_arm(rows: pd.DataFrame, experiment: Experiment) -> pd.DataFrame:
    return rows.sort_values("arm", key=lambda arm: arm.map(list(experiment.arms).index), kind="stable")


def _has_baseline(done: pd.DataFrame) -> bool:
    """Tell whether there are arms to compare with a baseline, one on each data set, by several seeds."""
    baselines = done[done["model.name"] == "baseline"].groupby("dataset.name")["arm"].nunique()
    one_each = len(baselines) == done["dataset.name"].nunique() and (baselines == 1).all()
    return bool(one_each) and has_seeds(done) and done["arm"].nunique() > len(baselines)


def has_seeds(done: pd.DataFrame) -> bool:
    """Tell whether an arm has several seeds."""
    return bool(done.groupby("arm")["seed"].nunique().max() > 1)
