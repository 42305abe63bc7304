"""Each arm at its best: a value of a swept key is chosen for it on the validation split, never on the test split."""

import sys
from collections import defaultdict
from dataclasses import replace

import pandas as pd

from analysis.experiments import Experiment
from analysis.metrics import VALIDATION, Outcome
from weightnet.errors import UserError


def check_choice(experiment: Experiment) -> None:
    """Refuse a key that nobody could choose by; UserError: it was not swept, or there is no validation split."""
    key, swept = experiment.choose, [key for key in experiment.swept if key != "seed"]
    if key is None:
        return
    if key not in swept:
        there = f"one of {', '.join(swept)}" if swept else "and none is"
        raise UserError(f"analysis.choose={key}: must be a key that is swept, {there}")
    if not all(arm.values.get("train.validation") for arm in experiment.arms.values()):  # younger than the archive
        raise UserError(f"analysis.choose={key}: the runs must have a validation split, as by train.validation=1000")


def validated(runs: pd.DataFrame, epochs: pd.DataFrame, outcome: Outcome) -> pd.DataFrame:
    """Return each arm's validation accuracy in %: `mean` and `count` of its finished runs, over an outcome's epochs.

    UserError: they have too few epochs.
    """
    done, column = runs[runs["status"] == "done"], VALIDATION.column
    if column not in done or done[column].isna().all():  # none has finished
        return pd.DataFrame(columns=["mean", "count"], dtype=float)
    return validation(outcome).put(done, epochs, [column]).groupby("arm", sort=False)[column].agg(["mean", "count"])


def validation(outcome: Outcome) -> Outcome:
    """Return the validation accuracy over the epochs of an outcome."""
    return replace(outcome, metric=VALIDATION, exploratory=False)


def choose(runs: pd.DataFrame, epochs: pd.DataFrame, experiment: Experiment, outcome: Outcome) -> pd.DataFrame:
    """Return the runs of each arm that is the best of all that differ from it in the key `experiment.choose` alone.

    The best one has the highest validation accuracy, over the epochs of the outcome, in the mean of its seeds. Says on
    stderr which they are, and where one lies at the edge of what was tried.

    UserError: the key was not swept, or there is no validation split.
    """
    check_choice(experiment)
    key = str(experiment.choose)
    reached = validated(runs, epochs, outcome)["mean"].dropna()
    groups: dict[frozenset[tuple[str, object]], list[str]] = defaultdict(list)
    for arm in reached.index:
        groups[frozenset((name, value) for name, value in experiment.arms[arm].form.items() if name != key)].append(arm)
    best = {str(reached[arms].idxmax()): arms for arms in groups.values()}
    for arm, arms in best.items():
        value, name = experiment.arms[arm].values.get(key), experiment.labels()[arm]
        tried = [other for each in arms if (other := experiment.arms[each].values.get(key)) is not None]
        edges = {min(tried): ", the least", max(tried): ", the greatest"} if len(tried) > 1 else {}
        print(f"{experiment.name}: by {VALIDATION.label}, {reached[arm]:.2f}%, '{name}' is the best of {len(arms)}"
              f"{edges.get(value, '')}", file=sys.stderr)  # fmt: skip
    return runs[runs["arm"].isin(list(best))]
