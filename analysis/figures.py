"""The figures of a study, as PNG and SVG."""

import io
import re
import sys
import textwrap
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis import plots
from analysis.arms import MODEL_LABELS
from analysis.experiments import Experiment
from analysis.stats import interval_name, summarise
from analysis.study import Study, has_seeds
from analysis.tables import accuracy_table, to_text
from weightnet.runs.folder import write_whole

DATASET_TITLES = {"mnist": "MNIST", "cifar": "CIFAR-10", "fashion_mnist": "Fashion-MNIST", "kmnist": "KMNIST"}

MOST_IN_LEGEND = 6  # more lines have their legend beside them

GRIDS = (("-kernels", "pool", "dims.n", "dims.m"), ("-projections", "projection", "model.kind", "dims.dx"))
"""Suffix, model, rows and columns of the heat maps, drawn where an experiment varies both."""

Drawn = tuple[Figure, pd.DataFrame]
"""A figure, and what it shows."""


def draw(study: Study, *, data: bool = False) -> Path:
    """Draw a study's figures, print its tables, and return the path of the learning curves' PNG.

    With two seeds or more, `<name>-final` shows the last epoch's accuracy of every seed, and `<name>-differences` the
    paired differences from the baseline where there is one (`<name>-differences-from-<reference>`: from another model).
    `<name>-feedback` shows the length of the feedback vector. An SVG lies beside each PNG; both hold the ids of their
    runs. Overrides that change the arms are part of the title and of the file's name: they leave the published figure
    alone. With `data`, what is drawn is written as CSV beside each figure.
    """
    _report_gaps(study.experiment, study.runs)
    print(f"\n{to_text(accuracy_table(study.runs))}\n")
    if study.differences is not None:
        print(f"{to_text(study.differences)}\n")
    name = "-".join([study.experiment.name, *study.experiment.variant])
    stem = study.outputs / "figures" / re.sub(r"[^\w.,=-]+", "_", name)
    stem.parent.mkdir(parents=True, exist_ok=True)
    for suffix, (figure, frame) in figures_of(study).items():
        for kind in ("svg", "png"):
            write_whole(Path(f"{stem}{suffix}.{kind}"), image(figure, kind, list(study.runs["run"])))
        if data:
            write_whole(Path(f"{stem}{suffix}.csv"), frame.to_csv(index=False).encode())
        print(f"figure: {stem}{suffix}.png (and .svg{' and .csv' if data else ''})")
    return Path(f"{stem}.png")


def figures_of(study: Study) -> dict[str, Drawn]:
    """Return an experiment's figures by the suffix of their names."""
    done = study.runs[study.runs["status"] == "done"]
    drawn = {"": _curves(study.experiment, study.epochs)}
    if has_seeds(done):
        drawn["-final"] = _final(study.experiment, done)
    for suffix, model, rows, columns in GRIDS:
        arms = done[done["model.name"] == model]
        if arms[rows].nunique() > 1 and arms[columns].nunique() > 1:
            drawn[suffix] = _grid(study.experiment, arms, rows, columns)
    if len(measured := study.epochs.dropna(subset="me_norm")):
        drawn["-feedback"] = _feedback(study.experiment, measured)
    if study.differences is not None and len(study.differences):
        suffix = "" if study.reference == "baseline" else f"-from-{study.reference}"
        drawn[f"-differences{suffix}"] = _differences(study, study.differences)
    return drawn


def _report_gaps(experiment: Experiment, runs: pd.DataFrame) -> None:
    """Say which arms have no run and which runs are not finished."""
    for key, arm in experiment.arms.items():
        if key not in set(runs["arm"]):
            print(f"{experiment.name}: no finished or running run of '{arm.label}'", file=sys.stderr)
    for run in runs.loc[runs["status"] == "running", "run"]:
        print(f"{experiment.name}: {run} is still running", file=sys.stderr)


def _curves(experiment: Experiment, epochs: pd.DataFrame) -> Drawn:
    """Return test accuracy in % against epoch, a line an arm; n is in the legend."""
    figure = Figure(figsize=(6.4, 4.4), layout="constrained")
    ax = figure.subplots()
    summary = _lines(ax, *_labelled(experiment, epochs), "accuracy", "test accuracy (%)")
    ax.set_title(_title(experiment, _over_seeds(epochs)))
    ax.set_ylim(max(ax.get_ylim()[0], 0), min(ax.get_ylim()[1], 100))  # an interval may leave the possible
    ax.set_xlim(0.5, summary["epoch"].max() + 0.5)
    _tame_legend(figure, ax)
    return figure, summary


def _lines(ax: Axes, data: pd.DataFrame, colours: dict[str, plots.Colour], column: str, name: str) -> pd.DataFrame:
    """Draw the mean of a column against the epoch, a line a label, and return what is drawn."""
    summary = summarise(data, by=["label", "epoch"], value=column)
    plots.learning_curves(summary, x="epoch", y="mean", hue="label", colours=colours, ax=ax)
    ax.set(xlabel="epoch", ylabel=name)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    return summary


def _over_seeds(rows: pd.DataFrame) -> str:
    return ": mean and 95% t-interval over seeds" if rows["seed"].nunique() > 1 else ""


def _tame_legend(figure: Figure, ax: Axes) -> None:
    """Move a legend that would cover the lines beside them, and make room for it there."""
    handles, labels = ax.get_legend_handles_labels()
    legend = ax.get_legend()
    if legend is None or len(labels) <= MOST_IN_LEGEND:
        return
    legend.remove()
    columns = -(-len(labels) // 24)
    figure.set_figwidth(figure.get_figwidth() + 2.2 * columns)
    figure.legend(handles, labels, loc="outside right center", fontsize="x-small", ncols=columns)


def _final(experiment: Experiment, done: pd.DataFrame) -> Drawn:
    """Return the last epoch's test accuracy in %: every seed, mean and interval, a row an arm."""
    data, colours = _labelled(experiment, done)
    summary = summarise(data, by=["label"], value="accuracy")
    figure = Figure(figsize=(6.4, 1.2 + 0.4 * len(summary)), layout="constrained")
    ax = plots.seed_points(data, summary, x="accuracy", y="label", colours=colours, ax=figure.subplots())
    ax.set_xlabel("test accuracy (%)")
    figure.suptitle(_title(experiment, ": every seed, mean and 95% t-interval"), fontsize="medium")
    return figure, data[["label", "seed", "accuracy", "run"]]


def _grid(experiment: Experiment, arms: pd.DataFrame, rows: str, columns: str) -> Drawn:
    """Return the mean accuracy of a model's arms over two of its keys."""
    whole = {key: int for key in (rows, columns) if arms[key].dtype == float}  # float only for runs without kernels
    width, height = arms[columns].nunique(), arms[rows].nunique()
    if width > height:  # a tall map is easier to read than a wide one
        rows, columns, width, height = columns, rows, height, width
    means = arms.astype(whole).groupby([rows, columns])["accuracy"].agg(["mean", "count"]).reset_index()
    figure = Figure(figsize=(3.5 + 0.6 * width, 1.5 + 0.25 * height), layout="constrained")
    ax = plots.heat_map(means, rows=rows, columns=columns, value="mean", ax=figure.subplots())
    ax.set(xlabel=columns.rpartition(".")[2], ylabel=rows.rpartition(".")[2])
    least, most = means["count"].min(), means["count"].max()
    count = f"n = {least}" if least == most else f"n = {least} to {most}"
    figure.suptitle(_title(experiment, f": mean test accuracy (%), {count} runs a cell"), fontsize="medium")
    return figure, means


def _feedback(experiment: Experiment, epochs: pd.DataFrame) -> Drawn:
    """Return the length of the feedback vector, and of its change in an epoch, against the epoch."""
    data, colours = _labelled(experiment, epochs)
    figure = Figure(figsize=(6.4, 6.4), layout="constrained")
    upper, lower = figure.subplots(2, sharex=True)
    norm = _lines(upper, data, colours, "me_norm", "|me|")
    change = _lines(lower, data, colours, "me_change", "|me - me an epoch before|")
    upper.get_legend().set_loc("best")
    lower.get_legend().remove()
    _tame_legend(figure, upper)
    figure.suptitle(_title(experiment, f", the feedback vector{_over_seeds(data)}"), fontsize="medium")
    return figure, pd.concat([norm.assign(of="me_norm"), change.assign(of="me_change")], ignore_index=True)


def _differences(study: Study, table: pd.DataFrame) -> Drawn:
    """Return the paired differences from the reference in points, a row an arm."""
    labels = [f"{row['label']} (n={row['n']})\n{row['confounds']}".rstrip() for _, row in table.iterrows()]
    of_arm = {arm.label: arm.colour for arm in study.experiment.arms.values()}
    colours = plots.palette(dict(zip(labels, table["label"].map(of_arm), strict=True)))
    shown = table.assign(label=labels)
    figure = Figure(figsize=(6.4, 1.4 + 0.4 * len(shown)), layout="constrained")
    ax = plots.differences(shown, y="label", margin=study.margin, colours=colours, ax=figure.subplots())
    ax.set_xlabel(f"difference (points); grey: the margin of {study.margin:g}")
    reference = MODEL_LABELS.get(study.reference, study.reference)
    title = f": difference in accuracy from '{reference}', paired by seed, 95% {interval_name(list(shown['n']))}"
    figure.suptitle(_title(study.experiment, title), fontsize="medium")
    return figure, shown


def _labelled(experiment: Experiment, rows: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, plots.Colour]]:
    """Return the rows with the `label` of their arm (n in it), and a colour for each label."""
    counts = rows.groupby("arm")["seed"].nunique()
    labels = {key: f"{arm.label} (n={counts[key]})" for key, arm in experiment.arms.items() if key in counts}
    colours = plots.palette({label: experiment.arms[key].colour for key, label in labels.items()})
    return rows.assign(label=rows["arm"].map(labels)), colours


def _title(experiment: Experiment, what: str) -> str:
    variant = [override for override in experiment.variant if not override.startswith("dataset=")]
    titles = [DATASET_TITLES.get(dataset, dataset) for dataset in experiment.datasets]
    return textwrap.fill(f"{', '.join(titles + variant)}{what}", 60)


def image(figure: Figure, kind: str, runs: list[str]) -> bytes:
    """Return a figure as PNG (200 dpi) or SVG that holds the ids of its runs."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, dpi=200, metadata={"Description": f"runs: {', '.join(runs)}"})
    return buffer.getvalue()
