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


def belonging(experiment: Experiment, runs: pd.DataFrame) -> pd.DataFrame:
    """Return the runs that are looked at, in whatever state.

    More seeds than were planned would be another comparison: only one seed stands for any.
    """
    if experiment.exact:
        return runs[runs["run"].isin(experiment.runs)]
    chosen = runs[runs["arm"].isin(list(experiment.arms))]
    return chosen if experiment.any_seed else chosen[chosen["seed"].isin(experiment.seeds)]


def select(experiment: Experiment, runs: pd.DataFrame) -> pd.DataFrame:
    """Return the finished and running ones of them, one an arm and seed, in the order of arms and seeds.

    UserError: there are several of an arm and seed.
    """
    chosen = _reached(belonging(experiment, runs))
    twins = chosen[chosen.duplicated(["arm", "seed"], keep=False)]
    if not twins.empty:
        differing = [key for key in ("device", "threads") if twins[key].nunique() > 1]
        values = ", ".join(f"{key} ({', '.join(map(str, twins[key].unique()))})" for key in differing)
        raise UserError(f"{experiment.name}: {len(twins)} runs share arm and seed but differ in {values}; "
                        "move all but one kind of them out of the runs folder")  # fmt: skip
    return by_arm(chosen.sort_values("seed"), experiment)


def by_arm(rows: pd.DataFrame, experiment: Experiment) -> pd.DataFrame:
    """Sort rows as the experiment's arms are."""
    return rows.sort_values("arm", key=lambda arm: arm.map(list(experiment.arms).index), kind="stable")


def _of_any_seed(experiment: Experiment, runs: pd.DataFrame) -> pd.DataFrame:
    return _reached(runs[runs["arm"].isin(list(experiment.arms))])


def _reached(runs: pd.DataFrame) -> pd.DataFrame:
    return runs[runs["status"].isin(["done", "running"])]


def seed_override(seeds: Iterable[int]) -> str:
    """Return the override that names these seeds."""
    first, *others = sorted(set(seeds))
    whole = len(others) > 1 and others == list(range(first + 1, first + 1 + len(others)))
    return f"seed=range({first},{others[-1] + 1})" if whole else f"seed={','.join(map(str, [first, *others]))}"


def rerun(experiment: Experiment, outputs: Path) -> list[str]:
    """Return the words of the command line that runs an experiment into this root of all output."""
    known = any(word.startswith("outputs=") for word in experiment.command) or outputs == Path("outputs")
    return [*experiment.command, *([] if known else [f"outputs={outputs}"])]


def where_sought(experiment: Experiment, loaded: Runs) -> str:
    """Say where runs of an experiment were sought in vain, what is there instead, and how it is run."""
    own, there = {arm.dataset for arm in experiment.arms.values()}, set(loaded.runs["dataset.name"])
    instead = _other_seeds(experiment, loaded.runs)
    if experiment.names_seeds and len(of_its_arms := _of_any_seed(experiment, loaded.runs)):
        instead = f"of its arms there is {seed_override(of_its_arms['seed'])}"
    if there and not own & there:
        instead = f"those are of {', '.join(sorted(there))}, not {', '.join(sorted(own))}"
    again = shlex.join(rerun(experiment, loaded.outputs))
    return f"{loaded.outputs}/runs{f' ({instead})' * bool(instead)}; run it with: {again}"


def missing(experiment: Experiment, looked_at: pd.DataFrame) -> Counter[str]:
    """Return how many of the runs that it asks for are lacking, by arm; of any device, where it is not exact."""
    if experiment.exact:
        there = set(looked_at["run"])
        return Counter(arm for run, arm in experiment.runs.items() if run not in there)
    return Counter(experiment.runs.values()) - Counter(looked_at["arm"])


def report_missing(experiment: Experiment, loaded: Runs, looked_at: pd.DataFrame) -> None:
    """Say on stderr which runs are unfinished, how many have no result, and how many are of other seeds."""
    for run in looked_at.loc[looked_at["status"] == "running", "run"]:
        print(f"{experiment.name}: {run} is still running", file=sys.stderr)
    if lacking := missing(experiment, looked_at):
        what = _named(experiment, loaded) if experiment.exact else _counted(experiment, lacking)
        again = shlex.join(rerun(experiment, loaded.outputs))
        print(f"{experiment.name}: {lacking.total()} of {count_runs(len(experiment.runs))} without a result{what}; "
              f"run them with: {again}", file=sys.stderr)  # fmt: skip
    report_other_seeds(experiment, loaded.runs)


def _named(experiment: Experiment, loaded: Runs) -> str:
    states = dict(zip(loaded.runs["run"], loaded.runs["status"], strict=True))
    lacking = [run for run in experiment.runs if states.get(run) not in ("done", "running")]
    counts = Counter(states.get(run, "missing") for run in lacking)
    return f" ({', '.join(f'{count} {state}' for state, count in counts.items())}): {_first(lacking)}"


def _counted(experiment: Experiment, lacking: Counter[str]) -> str:
    arms = [f"'{experiment.arms[arm].label}' {count}" for arm, count in lacking.items()]
    return f": {_first(arms)}"


def _first(words: list[str]) -> str:
    return ", ".join(words[:5]) + ", ..." * (len(words) > 5)


def report_other_seeds(experiment: Experiment, runs: pd.DataFrame) -> None:
    """Say on stderr how many runs of an experiment's arms are left out for their seeds, and how to look at them too."""
    if words := _other_seeds(experiment, runs):
        print(f"{experiment.name}: {words}", file=sys.stderr)


def _other_seeds(experiment: Experiment, runs: pd.DataFrame) -> str:
    if experiment.exact or experiment.names_seeds:
        return ""
    others = _of_any_seed(experiment, runs)
    others = others.drop(belonging(experiment, others).index)
    if others.empty:
        return ""
    together = shlex.quote(seed_override({*experiment.seeds, *others["seed"]}))
    return f"{count_runs(len(others))} of other seeds than it plans left out; with them: {together}"
