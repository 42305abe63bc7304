"""What figures share: arms with labels and colours, a panel a data set, one legend, a title that says what is shown."""

import io
import textwrap
from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import plots
from analysis.metrics import Outcome
from analysis.stats import FEWEST
from analysis.study import Study

DATASETS = {"mnist": "MNIST", "cifar": "CIFAR-10", "fashion_mnist": "Fashion-MNIST", "kmnist": "KMNIST",
            "digits": "Digits"}  # fmt: skip
"""Data set -> its name in titles."""

Drawn = tuple[Figure, pd.DataFrame]
"""A figure, and what it shows."""

MOST_IN_LEGEND = 6  # more lines have their legend beside them


class Picture(Figure):
    """A figure that a notebook shows where it is the value of a cell, without pyplot."""

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=100)
        return buffer.getvalue()


def labelled(
    study: Study, rows: pd.DataFrame, *, axes: Sequence[str] = (), counted: bool = True, distinct: bool = True
) -> tuple[pd.DataFrame, dict[str, plots.Colour]]:
    """Return the rows with the `label` of their arm, and a colour for each label.

    The label has neither the data set nor the keys that are `axes`; `counted`: it has n. Those keys are columns, NaN
    where an arm does not have them. `distinct`: no two labels have the same colour, though they be of one model.
    """
    arms = {key: arm for key, arm in study.experiment.arms.items() if key in set(rows["arm"])}
    of_arm = study.experiment.labels(axes)
    if counted:
        seeds = rows.assign(label=rows["arm"].map(of_arm)).groupby(["label", "arm"])["seed"].nunique().groupby("label")
        of_arm = {key: f"{of_arm[key]} (n={span(seeds.get_group(of_arm[key]))})" for key in arms}
    colours: dict[str, str] = {}
    for key, arm in arms.items():
        colours.setdefault(of_arm[key], arm.colour)
    values = {axis: pd.to_numeric(rows["arm"].map({key: arm.values.get(axis) for key, arm in arms.items()}))
              for axis in axes}  # fmt: skip
    coloured = plots.palette(colours) if distinct else plots.model_colours(colours)
    return rows.assign(label=rows["arm"].map(of_arm), **values), coloured


def span(counts: pd.Series) -> str:
    """Return the least and the greatest of some numbers, or the only one."""
    return f"{counts.min()}" if counts.min() == counts.max() else f"{counts.min()} to {counts.max()}"


def side_by_side(rows: pd.DataFrame, height: float, down: int = 1) -> tuple[Figure, dict[str, list[Axes]]]:
    """Return a figure, and its axes by data set: `down` of them, one below the other."""
    datasets = list(rows["dataset.name"].unique())
    width = 6.4 if len(datasets) == 1 else 4.6 * len(datasets)
    figure = Picture(figsize=(width, height), layout="constrained")
    grid = figure.subplots(down, len(datasets), squeeze=False, sharex="col")
    for dataset, ax in zip(datasets, grid[0], strict=True):
        ax.set_title(name(dataset) if len(datasets) > 1 else "", fontsize="medium")
    return figure, {dataset: list(grid[:, place]) for place, dataset in enumerate(datasets)}


def one_below_another(counts: Mapping[str, int]) -> tuple[Figure, dict[str, Axes]]:
    """Return a figure with a panel a data set, as high as its number of rows asks for."""
    height = 0.8 + 0.4 * sum(counts.values()) + 0.5 * len(counts)
    figure = Picture(figsize=(6.4, height), layout="constrained")
    grid = figure.subplots(len(counts), 1, squeeze=False, height_ratios=[count + 0.5 for count in counts.values()])
    axes = dict(zip(counts, grid[:, 0], strict=True))
    for dataset, ax in axes.items():
        ax.set_title(name(dataset) if len(counts) > 1 else "", fontsize="medium")
    return figure, axes


def grid(count: int, across: int, size: tuple[float, float]) -> tuple[Figure, list[Axes]]:
    """Return a figure of this size in inches with `count` panels, so many side by side."""
    figure = Picture(figsize=size, layout="constrained")
    axes = list(figure.subplots(-(-count // across), across, squeeze=False).flat)
    for ax in axes[count:]:
        ax.remove()
    return figure, axes[:count]


def name(dataset: str) -> str:
    """Return a data set's name in titles."""
    return DATASETS.get(dataset, dataset)


def axis_label(key: str) -> str:
    """Return what a key is called as an axis."""
    return "dose: 1 + |me|^2 at the start" if key == "dose" else key


def share_legend(figure: Figure, axes: Sequence[Axes], *, inside: bool = True) -> None:
    """Leave one legend: `inside` the panel where there is one and it has room, else beside or below the panels."""
    handles = {label: handle for ax in axes for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)}
    if inside and len(axes) == 1 and len(handles) <= MOST_IN_LEGEND:
        return
    for ax in axes:
        if legend := ax.get_legend():
            legend.remove()
    if len(handles) <= MOST_IN_LEGEND:
        for columns in range(min(3, len(handles)), 0, -1):  # as many as there is room for
            words = figure.legend(list(handles.values()), list(handles), loc="outside lower center", ncols=columns)
            if columns == 1 or words.get_window_extent().width <= figure.bbox.width:
                return
            words.remove()
    columns = -(-len(handles) // 24)
    figure.set_figwidth(figure.get_figwidth() + 2.2 * columns)
    figure.legend(list(handles.values()), list(handles), loc="outside right center", fontsize="x-small", ncols=columns)


def title(
    figure: Figure, rows: pd.DataFrame, what: str, *, by: Sequence[str] = ("label",), every: bool = False,
    intervals: bool = True,
) -> None:  # fmt: skip
    """Say above a figure which data sets and what it shows; n counts the seeds of each point, grouped `by` these."""
    counts = rows.groupby(["dataset.name", *by], dropna=False)["seed"].nunique()
    most = int(counts.max())
    how = ["mean"] * (most > 1)
    if intervals and most >= FEWEST:
        how = ["every seed, mean and 95% t-interval" if every else "mean and 95% t-interval"]
    elif most > 1 and (intervals or every):
        how = ["every seed and mean"]
    seeds = f"n = {span(counts)} seed{'' if most == 1 else 's'}".replace(" ", "\u00a0")  # on one line
    entitle(figure, rows["dataset.name"], ", ".join([what, *how, seeds]))


def entitle(figure: Figure, datasets: pd.Series, what: str) -> None:
    """Put data sets, and what is shown of them, above a figure."""
    text = f"{', '.join(map(name, datasets.unique()))}: {what}"
    figure.suptitle(textwrap.fill(text, int(12 * figure.get_figwidth())), fontsize="medium")


def described(outcome: Outcome, rows: pd.DataFrame) -> str:
    """Return what an outcome of finished runs is called: "test accuracy after 6 epochs"."""
    epochs = rows["train.epochs"].unique()
    if outcome.first != -1 or len(epochs) > 1:
        return outcome.label
    return f"{outcome.metric.label} after {epochs[0]} epoch{'' if epochs[0] == 1 else 's'}"
