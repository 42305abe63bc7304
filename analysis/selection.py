"""Which runs are an experiment's, and what is said of those that are missing or left out."""

import shlex
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from analysis.experiments import Experiment
from analysis.load import Runs, count_runs
from weightnet.errors import UserError


def select(experiment: Experiment, runs: pd.DataFrame) -> pd.DataFrame:
    """Return the finished and running runs of the experiment's arms, in the order of arms and seeds."""
    chosen = belonging(experiment, runs)
    chosen = chosen[chosen["status"].isin(["done", "running"])]
    twins = chosen[chosen.duplicated(["arm", "seed"], keep=False)]
    if not twins.empty:
        differing = [key for key in ("device", "threads") if twins[key].nunique() > 1]
        values = ", ".join(f"{key} ({', '.join(map(str, twins[key].unique()))})" for key in differing)
        raise UserError(f"{experiment.name}: {len(twins)} runs share arm and seed but differ in {values}; "
                        "move all but one kind of them out of the runs folder")  # fmt: skip
    return by_arm(chosen.sort_values("seed"), experiment)


def belonging(experiment: Experiment, runs: pd.DataFrame) -> pd.DataFrame:
    """Return the runs of the experiment's arms, in whatever state: those that it names, else those of its seeds.

    More seeds than were planned are another comparison, so that several seeds are all; one stands for any.
    """
    chosen = runs[runs["arm"].isin(list(experiment.arms))]
    if not experiment.any_seed:
        return chosen[chosen["run"].isin(experiment.runs)]
    if len(experiment.seeds) > 1 or _names_seeds(experiment):
        return chosen[chosen["seed"].isin(experiment.seeds)]
    return chosen


def _names_seeds(experiment: Experiment) -> bool:
    return any(word.startswith("seed=") for word in experiment.selection)


def seed_override(seeds: Iterable[int]) -> str:
    """Return the override that names these seeds."""
    first, *others = sorted(set(seeds))
    whole = len(others) > 1 and others == list(range(first + 1, first + 1 + len(others)))
    return f"seed=range({first},{others[-1] + 1})" if whole else f"seed={','.join(map(str, [first, *others]))}"


def by_arm(rows: pd.DataFrame, experiment: Experiment) -> pd.DataFrame:
    """Sort rows as the experiment's arms are."""
    return rows.sort_values("arm", key=lambda arm: arm.map(list(experiment.arms).index), kind="stable")


def where_sought(experiment: Experiment, loaded: Runs) -> str:
    """Say where runs of an experiment were sought in vain, what is there instead, and how it is run."""
    own, there = {arm.dataset for arm in experiment.arms.values()}, set(loaded.runs["dataset.name"])
    instead = _other_seeds(experiment, loaded.runs)
    if there and not own & there:
        instead = f"those are of {', '.join(sorted(there))}, not {', '.join(sorted(own))}"
    return f"{loaded.outputs}/runs{f' ({instead})' * bool(instead)}; run it with: {_again(experiment, loaded)}"


def _again(experiment: Experiment, loaded: Runs) -> str:
    known = any(word.startswith("outputs=") for word in experiment.command) or loaded.outputs == Path("outputs")
    return shlex.join([*experiment.command, *([] if known else [f"outputs={loaded.outputs}"])])


def report_missing(experiment: Experiment, loaded: Runs, running: Iterable[str]) -> None:
    """Say on stderr which runs are unfinished, and which have no result (or which arms, where it names no runs)."""
    states = dict(zip(loaded.runs["run"], loaded.runs["status"], strict=True))
    for run in running:
        print(f"{experiment.name}: {run} is still running", file=sys.stderr)
    if experiment.any_seed:
        there = set(select(experiment, loaded.runs)["arm"])
        for key, arm in experiment.arms.items():
            if key not in there:
                print(f"{experiment.name}: no finished or running run of '{arm.label}'", file=sys.stderr)
    else:
        lacking = [run for run in experiment.runs if states.get(run, "missing") not in ("done", "running")]
        if lacking:
            counts = Counter(states.get(run, "missing") for run in lacking)
            what = ", ".join(f"{count} {state}" for state, count in counts.items())
            names = ", ".join(lacking[:5]) + ", ..." * (len(lacking) > 5)
            print(f"{experiment.name}: {len(lacking)} of {count_runs(len(experiment.runs))} without a result ({what}): "
                  f"{names}; run them with: {_again(experiment, loaded)}", file=sys.stderr)  # fmt: skip
    if others := _other_seeds(experiment, loaded.runs):
        print(f"{experiment.name}: {others}", file=sys.stderr)


def _other_seeds(experiment: Experiment, runs: pd.DataFrame) -> str:
    """Say how many runs of an experiment's arms are of seeds that it does not plan, and how to look at them."""
    if not experiment.any_seed or _names_seeds(experiment):
        return ""
    others = runs[runs["arm"].isin(list(experiment.arms)) & (runs["status"] == "done")]
    others = others.drop(belonging(experiment, others).index)
    if others.empty:
        return ""
    instead = shlex.quote(seed_override(others["seed"]))
    return f"{count_runs(len(others))} of other seeds than it plans left out; to look at those instead: {instead}"
