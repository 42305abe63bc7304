"""A metric over two swept numbers, as heat maps on which noise does not look like a finding."""

import math
import textwrap

import pandas as pd
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from analysis import plots
from analysis.arms import MODEL_LABELS
from analysis.metrics import Metric
from analysis.panels import Drawn, described, grid, labelled, name, title
from analysis.study import Study

LEAST = 3.0
"""Units of the spread at which the colours end, or further out: what is within a unit or two is pale."""


def heat_maps(study: Study, done: pd.DataFrame) -> Drawn:
    """Return the outcome over two swept numbers, a panel an arm and data set, and what is drawn.

    All panels share one scale of colours: how far a cell is from the reference, in units of the spread.
    """
    metric, (x, y) = study.outcome.metric, study.axes
    data, _ = labelled(study, done, axes=[x, y], counted=False)
    by = ["dataset.name", "model.name", "label", x, y]
    summary = metric.summary(data, by)
    sets = {str(dataset): own for dataset, own in summary.groupby("dataset.name", sort=False)}
    units = {dataset: _unit(own, data[data["dataset.name"] == dataset], by, metric) for dataset, own in sets.items()}
    centre = pd.concat([_centres(own, study.reference, (x, y)) for own in sets.values()])
    unit = summary["dataset.name"].map({dataset: unit for dataset, (unit, _) in units.items()})
    summary = summary.assign(spread=(summary["mean"] - centre) / unit, text=summary["mean"].map(metric.text))
    figure, most = _panels(summary.dropna(subset=[x, y], how="all"), x, y)
    bar = figure.colorbar(ScalarMappable(Normalize(-most, most), plots.DIVERGING), ax=figure.axes, aspect=30)
    bar.set_label("units from the reference")
    there = (summary["model.name"] == study.reference).any()
    model = MODEL_LABELS.get(study.reference, study.reference)
    whose = f"'{model}' at the same values" if there else "the mean of all cells"
    words = [f"{name(key) + ': ' if len(sets) > 1 else ''}reference: {whose}; unit: {what}"
             for key, (_, what) in units.items()]  # fmt: skip
    figure.supxlabel("\n".join(words), fontsize="small")
    title(figure, data, f"{described(study.outcome, done)} over {x} and {y}", by=["label", x, y], intervals=False)
    return figure, summary.drop(columns="text")


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
    most = max(LEAST, float(shown["spread"].abs().max()))
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


def _centres(summary: pd.DataFrame, reference: str, axes: tuple[str, str]) -> pd.Series:
    """Return what each cell of a data set is compared with: the reference model's cell at the same values.

    Of an axis that one of the two does not have, all of the reference's cells count; without a reference, all cells do.
    """
    theirs = summary[summary["model.name"] == reference]
    if theirs.empty:
        return pd.Series(summary["mean"].mean(), index=summary.index)

    def centre(cell: pd.Series) -> float:
        alike = theirs
        for key in axes:
            if pd.notna(cell[key]) and theirs[key].notna().any():
                alike = alike[alike[key] == cell[key]]
        return float((alike if len(alike) else theirs)["mean"].mean())

    return summary.apply(centre, axis="columns")


def _unit(summary: pd.DataFrame, data: pd.DataFrame, by: list[str], metric: Metric) -> tuple[float, str]:
    """Return a data set's unit of colours, and what it is in words.

    It is the standard deviation over seeds, pooled over the cells, or, where there are no seeds, that of the cells.
    """
    cells = data.groupby(by, dropna=False)[metric.column].agg(["var", "count"]).query("count > 1")
    unit, what = (
        math.sqrt((cells["var"] * (cells["count"] - 1)).sum() / max(1, (cells["count"] - 1).sum())),
        "over seeds",
    )
    if not unit:
        unit, what = float(summary["mean"].std()) or 1.0, "of the cells"
    return unit, f"standard deviation {what}, {metric.text(unit)}"
