"""A metric over two swept numbers, as heat maps on which noise does not look like a finding."""

import textwrap

import pandas as pd
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from analysis import plots
from analysis.metrics import Metric
from analysis.panels import Drawn, described, grid, labelled, name, title
from analysis.reference import called
from analysis.study import Study

LEAST, MOST = 3.0, 10.0
"""Units of the spread, between which the colours end: what is within one or two is pale, and what is far out leaves
colours for the others."""


def heat_maps(study: Study, done: pd.DataFrame) -> Drawn:
    """Return the outcome over two swept numbers, a panel an arm and data set, and what is drawn.

    All panels share one scale of colours: how far a cell is from the reference, in units of the spread.
    """
    metric, (x, y) = study.outcome.metric, study.axes
    data, _ = labelled(study, done, axes=[x, y], counted=False)
    by = ["dataset.name", "model.name", "label", x, y]
    deviations = data.groupby(by, dropna=False, sort=False)[metric.column].std()
    summary = metric.summary(data, by).assign(
        sd=deviations.to_numpy(), text=lambda cells: cells["mean"].map(metric.text)
    )
    sets = {
        str(dataset): _spread(own, study.reference, (x, y))
        for dataset, own in summary.groupby("dataset.name", sort=False)
    }
    summary = pd.concat(sets.values())
    figure, most = _panels(summary.dropna(subset=[x, y], how="all"), x, y)
    further = "both" if summary["spread"].abs().max() > most else "neither"
    scale = ScalarMappable(Normalize(-most, most), plots.DIVERGING)
    bar = figure.colorbar(scale, ax=figure.axes, aspect=30, extend=further)
    bar.set_label("units from the reference")
    there = (summary["model.name"] == study.reference).any()
    whose = f"{called(study.reference)} at the same values" if there else "the mean of all cells"
    words = [f"{name(key) + ': ' if len(sets) > 1 else ''}reference: {whose}; unit: {_unit(own, metric)}"
             for key, own in sets.items()]  # fmt: skip
    figure.supxlabel("\n".join(words), fontsize="small")
    title(figure, data, f"{described(study.outcome, done)} over {x} and {y}", by=["label", x, y], intervals=False)
    return figure, summary.drop(columns=["text", "sd", "unit"])


def _panels(shown: pd.DataFrame, x: str, y: str) -> tuple[Figure, float]:
    """Draw the maps, at most four side by side; return where their colours end."""
    groups = [(str(dataset), str(label), cells.copy())
              for (dataset, label), cells in shown.groupby(["dataset.name", "label"], sort=False)]  # fmt: skip
    several = shown["dataset.name"].nunique() > 1
    across = min(shown["label"].nunique(), 4)
    down = -(-len(groups) // across)
    panel = max(2.2, 0.8 + 0.6 * shown[x].nunique())
    width, height = 2 + across * panel, 1.2 + down * (0.9 + 0.4 * shown[y].nunique())
    figure, axes = grid(len(groups), across, (max(6.4, width), max(3.2, height)))
    most = min(MOST, max(LEAST, float(shown["spread"].abs().max())))
    for ax, (dataset, label, cells) in zip(axes, groups, strict=True):
        rows, columns = ({key: sorted(shown[key].dropna().unique())} for key in (y, x))
        for of in (rows, columns):
            (key,) = of
            if cells[key].isna().all():  # the arm does not have this key: one row, or one column
                cells[key], of[key] = 0.0, [0.0]
                (ax.yaxis if key == y else ax.xaxis).set_tick_params(labelleft=False, labelbottom=False)
        plots.heat_map(cells, rows=rows, columns=columns, value="text", shade="spread", most=most, ax=ax)
        said = f"{name(dataset)}, {label}" if several else label
        ax.set_title(textwrap.fill(said, int(10 * panel)), fontsize="medium")
    return figure, most


def _spread(cells: pd.DataFrame, reference: str, axes: tuple[str, str]) -> pd.DataFrame:
    """Return the cells of a data set with their `spread`: how far each is from the reference, in units of its own.

    The unit is the standard deviation over seeds, `sd`: of the cell, of the reference, or the median one of all cells,
    whichever is largest: a few cells that diverge hide no other, and are not vivid by their noise. Without seeds it is
    that of the cells' means.
    """
    theirs = cells[cells["model.name"] == reference]
    if theirs.empty:
        compared = pd.DataFrame({"mean": cells["mean"].mean(), "sd": 0.0}, index=cells.index)
    else:
        compared = pd.DataFrame([_compared(cell, theirs, axes) for _, cell in cells.iterrows()], index=cells.index)
    least = cells["sd"].median()
    unit = pd.concat([cells["sd"], compared["sd"]], axis="columns").max(axis="columns").fillna(least).clip(lower=least)
    if not least > 0:
        unit = unit.where(unit > 0, cells["mean"].std())
    unit = unit.where(unit > 0, 1.0)
    return cells.assign(spread=(cells["mean"] - compared["mean"]) / unit, unit=unit)


def _compared(cell: pd.Series, theirs: pd.DataFrame, axes: tuple[str, str]) -> pd.Series:
    """Return mean and `sd` of what a cell is compared with: of the reference's cells the one at the same values.

    Of an axis that one of the two does not have, all of the reference's cells count.
    """
    alike = theirs
    for key in axes:
        if pd.notna(cell[key]) and theirs[key].notna().any():
            alike = alike[alike[key] == cell[key]]
    alike = alike if len(alike) else theirs
    return pd.Series({"mean": alike["mean"].mean(), "sd": alike["sd"].max()})


def _unit(cells: pd.DataFrame, metric: Metric) -> str:
    """Say what the unit of colours is."""
    least = cells["sd"].median()
    if not least > 0:
        return f"standard deviation of the cells, {metric.text(float(cells['mean'].std()))}"
    return f"standard deviation over seeds, the cell's or the reference's, at least the median, {metric.text(least)}"
