"""The figures of experiments: from finished and running runs to PNG and SVG."""

import re
import sys
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis.experiments import Experiment, load_experiment
from analysis.load import Runs, load_runs, refuse_mixture
from analysis.plots import learning_curves, palette
from analysis.stats import summarise
from analysis.tables import accuracy_table, to_text
from weightnet.errors import RunFailed, UserError

DATASET_TITLES = {"mnist": "MNIST", "cifar": "CIFAR-10", "fashion_mnist": "Fashion-MNIST", "kmnist": "KMNIST"}


def draw(
    name: str,
    overrides: Sequence[str] = (),
    *,
    outputs: str | Path = "outputs",
    only_seeds_asked_for: bool = False,
    mixed: bool = False,
) -> Path:
    """Draw an experiment's figure, print its table, and return the PNG's path; an SVG lies beside it.

    Overrides that change the arms are part of the title and of the file's name: they leave the published figure alone.

    Args:
        name: of the experiment.
        overrides: of its keys, as on the command line of run.py.
        outputs: root of all output.
        only_seeds_asked_for: leave out seeds that the experiment with these overrides does not run.
        mixed: also where the runs were made by different code or versions.

    Raises:
        UserError: the experiment's config is impossible, or its runs cannot be told apart or compared.
        RunFailed: there is no run to draw.
    """
    experiment = load_experiment(name, overrides)
    loaded = load_runs(outputs)
    report_skipped(loaded)
    runs = select(experiment, loaded.runs, only_seeds_asked_for=only_seeds_asked_for)
    if runs.empty:
        command = " ".join(["python run.py", f"experiment={name}", *overrides])
        raise RunFailed(f"{name}: no finished or running run of it in {outputs}/runs; run it with: {command}")
    if not mixed:
        refuse_mixture(runs)
    _report_gaps(experiment, runs)
    epochs = loaded.epochs[loaded.epochs["run"].isin(runs["run"])]
    stem = re.sub(r"[^\w.,=-]+", "_", "-".join([name, *experiment.variant]))
    path = _save(_figure(experiment, epochs), Path(outputs) / "figures" / stem)
    print(f"\n{to_text(accuracy_table(runs))}\n\nfigure: {path} (and .svg)")
    return path


def select(experiment: Experiment, runs: pd.DataFrame, *, only_seeds_asked_for: bool) -> pd.DataFrame:
    """Return the finished and running runs of the experiment's arms, one an arm and seed.

    Raises:
        UserError: several runs have the same arm and seed; the message names what differs.
    """
    chosen = runs[runs["arm"].isin(list(experiment.labels)) & runs["status"].isin(["done", "running"])]
    if only_seeds_asked_for:
        chosen = chosen[chosen["seed"].isin(experiment.seeds)]
    twins = chosen[chosen.duplicated(["arm", "seed"], keep=False)]
    if not twins.empty:
        differing = [key for key in ("device", "threads") if twins[key].nunique() > 1]
        values = ", ".join(f"{key} ({', '.join(map(str, twins[key].unique()))})" for key in differing)
        raise UserError(f"{experiment.name}: {len(twins)} runs share arm and seed but differ in {values}; "
                        "move all but one kind of them out of the runs folder")  # fmt: skip
    return chosen


def report_skipped(loaded: Runs) -> None:
    """Name on stderr the folders that could not be read."""
    for line in loaded.skipped:
        print(f"skipped {line}", file=sys.stderr)


def _report_gaps(experiment: Experiment, runs: pd.DataFrame) -> None:
    """Say which arms have no run and which runs are not finished."""
    for arm, label in experiment.labels.items():
        if arm not in set(runs["arm"]):
            print(f"{experiment.name}: no finished or running run of '{label}'", file=sys.stderr)
    for run in runs.loc[runs["status"] == "running", "run"]:
        print(f"{experiment.name}: {run} is still running", file=sys.stderr)


def _figure(experiment: Experiment, epochs: pd.DataFrame) -> Figure:
    """Return test accuracy in % against epoch, a line an arm; n is in the legend."""
    counts = epochs.groupby("arm")["seed"].nunique()
    labels = {arm: f"{label} (n={counts[arm]})" for arm, label in experiment.labels.items() if arm in counts}
    models = {labels[arm]: experiment.models[label] for arm, label in experiment.labels.items() if arm in labels}
    data = epochs.assign(label=epochs["arm"].map(labels), accuracy=100 * epochs["test_accuracy"])
    data = data.sort_values("label", key=lambda column: column.map(list(models).index), kind="stable")
    summary = summarise(data, by=["label", "epoch"], value="accuracy")
    figure = Figure(figsize=(6.4, 4.4), layout="constrained")
    ax = learning_curves(summary, x="epoch", y="mean", hue="label", colours=palette(models), ax=figure.subplots())
    titles = [DATASET_TITLES.get(dataset, dataset) for dataset in experiment.datasets]
    interval = ": mean and 95% t-interval over seeds" if counts.max() > 1 else ""
    title = textwrap.fill(f"{', '.join(titles + experiment.variant)}{interval}", 60)
    ax.set(xlabel="epoch", ylabel="test accuracy (%)", title=title)
    ax.set_ylim(max(ax.get_ylim()[0], 0), min(ax.get_ylim()[1], 100))  # an interval may leave the possible
    ax.set_xlim(0.5, summary["epoch"].max() + 0.5)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    return figure


def _save(figure: Figure, stem: Path) -> Path:
    """Write PNG (200 dpi) and SVG beside and rename them; return the PNG's path."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    write: Callable[..., Any] = figure.savefig
    paths = [stem.with_name(f"{stem.name}.{suffix}") for suffix in ("svg", "png")]
    for path in paths:
        beside = path.with_name(f".{path.name}")
        write(beside, format=path.suffix[1:], dpi=200)
        beside.replace(path)
    return paths[-1]
