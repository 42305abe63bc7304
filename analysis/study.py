"""An experiment with its runs: what figures, tables and reports are made of."""

import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from analysis.beforehand import chosen_later
from analysis.choice import choose
from analysis.experiments import Experiment
from analysis.load import Runs, refuse_mixture, report_doubts, report_stale
from analysis.metrics import Outcome
from analysis.pictures import choose_axes
from analysis.reference import partners
from analysis.selection import by_arm, report_missing, select, where_sought
from analysis.tables import difference_table
from weightnet.errors import RunFailed, UserError


@dataclass(frozen=True, slots=True)
class Options:
    """How a study is looked at."""

    outcome: str | None = None
    """None: the experiment's primary one."""
    x: str | None = None
    y: str | None = None
    reference: str | None = None
    """A model, or KEY=VALUE (`analysis.reference`); None for the baseline where there is one to compare with."""
    margin: float | None = None
    """None: the experiment's, or the data set's."""
    mixed: bool = False
    """Also where runs are of different code or versions."""


@dataclass(frozen=True, slots=True)
class Study:
    """An experiment with its runs, and the comparison of its arms with `reference`."""

    experiment: Experiment
    outputs: Path
    runs: pd.DataFrame
    """Finished and running, one an arm and seed, in the order of arms and seeds; of the finished ones the metric's
    column holds the outcome."""
    epochs: pd.DataFrame
    """In the order of arms."""
    outcome: Outcome
    axes: list[str]
    """The keys that are axes of the picture, as `analysis.pictures.choose_axes` returns them."""
    differences: pd.DataFrame | None
    """From the reference, as `analysis.tables.difference_table` returns them, where there are pairs of seeds."""
    reference: str
    options: Options
    files: list[Path]
    """Where figures go: each a path to which what a figure shows is added."""
    later: list[str]
    """What was chosen after the runs had been planned, as `analysis.beforehand.chosen_later` says it."""
    search: "Study | None"
    """That of the search by which its arms were chosen."""

    @property
    def searched(self) -> list[str]:
        """The keys whose values a search chose."""
        trials = self.search.experiment.trials if self.search else self.experiment.trials
        return list(trials.intervals) if trials else []


def gather(experiment: Experiment, loaded: Runs, options: Options | None = None) -> Study:
    """Return an experiment and those of all runs that belong to it.

    Of an experiment of one seed also those of all other seeds, unless it was asked for with `seed=`.

    Raises:
        UserError: its runs cannot be told apart or compared, or an option is impossible.
        RunFailed: it has no run.
    """
    options = options or Options()
    if experiment.trials and options.reference:
        raise UserError(f"{experiment.name}: trials of a search are not compared; what it chooses is, once it has run")
    selected = runs = select(experiment, loaded.runs)
    if runs.empty:
        raise RunFailed(f"{experiment.name}: no finished or running run of it in {where_sought(experiment, loaded)}")
    if not options.mixed:
        refuse_mixture(runs)
    report_stale(runs, experiment.name)
    report_doubts(runs, experiment.name)
    outcome = _outcome(experiment, runs, options.outcome)
    epochs = by_arm(loaded.epochs[loaded.epochs["run"].isin(runs["run"])], experiment)
    runs = outcome.put(runs, epochs, loaded.own)
    done = runs[(runs["status"] == "done") & runs[outcome.metric.column].notna()]
    shown = {key: arm for key, arm in experiment.arms.items() if key in set(done["arm"])}
    tag = [outcome.short] * outcome.exploratory + [key for key in (options.x, options.y) if key]
    compared = choose(runs, epochs, experiment, outcome) if experiment.choose else runs
    differences = compare_arms(compared, experiment, outcome, options) if experiment.trials is None else None
    later = [] if experiment.trials else chosen_later(experiment, loaded.outputs, set(runs["run"]))
    if experiment.looks:
        decided, there = decided_arms(experiment, selected, loaded), set(runs["run"])
        needed = {run: arm for run, arm in experiment.runs.items() if arm not in decided or run in there}
        experiment = replace(experiment, runs=needed)
    report_missing(experiment, loaded, runs)
    for words in later:
        print(f"{experiment.name}: {words}", file=sys.stderr)
    return Study(
        experiment,
        loaded.outputs,
        runs,
        epochs,
        outcome,
        choose_axes(shown, experiment.axes, x=options.x, y=options.y),
        differences,
        options.reference or "baseline",
        options,
        [(loaded.outputs / path).with_name("-".join([path.name, *tag])) for path in experiment.files],
        later,
        gather(experiment.search, loaded, Options(mixed=options.mixed)) if experiment.search else None,
    )


def _outcome(experiment: Experiment, runs: pd.DataFrame, asked: str | None) -> Outcome:
    """Return the outcome that is looked at: of runs too short for the primary one, the last epoch's."""
    outcome = experiment.outcome(asked)
    if asked is None and (epochs := runs["train.epochs"].min()) < outcome.epochs:
        instead = replace(outcome, first=-1, last=None, exploratory=True)
        print(f"{experiment.name}: the primary outcome, {outcome.label}, takes more than the {epochs} epochs of these "
              f"runs; what is shown is exploratory: {instead.label}", file=sys.stderr)  # fmt: skip
        return instead
    return outcome


def gather_drawn(experiments: Sequence[Experiment], loaded: Runs, options: Options | None = None) -> list[Study]:
    """Gather what is drawn together: of several, one without runs is named and left out; the errors of `gather`."""
    studies = []
    for experiment in experiments:
        try:
            studies.append(gather(experiment, loaded, options))
        except RunFailed as error:
            if len(experiments) == 1:
                raise
            print(error, file=sys.stderr)
    if not studies:
        raise RunFailed("no figure was drawn")
    return studies


def compare_arms(runs: pd.DataFrame, experiment: Experiment, outcome: Outcome, options: Options) -> pd.DataFrame | None:
    """Return the comparison with the reference; with the baseline, where each arm has one, and several seeds."""
    margins = experiment.margins_of(outcome, options.margin)
    if options.reference:
        return difference_table(runs, experiment, options.reference, outcome, margins)
    if has_seeds(runs[runs["status"] == "done"]):
        with suppress(UserError):
            table = difference_table(runs, experiment, "baseline", outcome, margins)
            return table if len(table) else None
    return None


def decided_arms(experiment: Experiment, runs: pd.DataFrame, loaded: Runs) -> dict[str, str]:
    """Return the arms that a look at these runs has decided, in words, and the references that are needed no more.

    It is the primary outcome and the baseline that decide, whatever is shown.
    """
    epochs, primary = loaded.epochs[loaded.epochs["run"].isin(runs["run"])], experiment.primary
    differences = None
    with suppress(UserError):  # none has the metric, or enough epochs
        differences = compare_arms(primary.put(runs, epochs, loaded.own), experiment, primary, Options())
    if differences is None:
        return {}
    rows = differences[differences["decided"]]
    words = {row["arm"]: f"{row['dataset']}, {row['label']}: {row['verdict']}" for _, row in rows.iterrows()}
    pairs, names = partners(experiment.arms, experiment.swept, "baseline"), experiment.labels()
    for reference in {other for others in pairs.values() for other in others}:
        if all(key in words for key, others in pairs.items() if reference in others):
            words[reference] = f"{names[reference]}: all that is compared with it"
    return words


def has_seeds(done: pd.DataFrame) -> bool:
    """Tell whether an arm has several seeds."""
    return bool(done.groupby("arm")["seed"].nunique().max() > 1)
