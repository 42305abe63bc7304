"""The figures of a comparison: paired differences, a row an arm, or against a number or the epoch."""

import pandas as pd
from matplotlib.ticker import MaxNLocator

from analysis import plots
from analysis.experiments import file_name
from analysis.metrics import Metric
from analysis.panels import (
    Drawn,
    axis_label,
    described,
    entitle,
    grid,
    labelled,
    name,
    one_below_another,
    share_legend,
    side_by_side,
    span,
)
from analysis.reference import called
from analysis.stats import FEWEST, summarise
from analysis.study import Study


def difference_figures(study: Study, table: pd.DataFrame, epochs: pd.DataFrame) -> dict[str, Drawn]:
    """Return the figures of a study's comparison (`Study.differences`) by suffix; `epochs` are those of its runs.

    `-differences` has a row an arm, `-differences-by-<key>` a line an arm against the number that was swept. Where none
    was, or the reference is a value of it, and there are three pairs, `-differences-by-epoch` has a panel an arm. From
    another reference than the baseline they end in `-from-<reference>`.
    """
    suffix = "" if study.reference == "baseline" else f"-from-{file_name([study.reference])}"
    drawn = {f"-differences{suffix}": _rows(study, table)}
    axes = [axis for axis in study.axes if not study.reference.startswith(f"{axis}=")]
    if len(axes) == 1 == len(study.axes):
        drawn[f"-differences-by-{axes[0].rpartition('.')[2]}{suffix}"] = _against(study, table)
    elif not axes and table["n"].max() >= FEWEST:
        drawn[f"-differences-by-epoch{suffix}"] = _by_epoch(study, table, epochs)
    return drawn


def _rows(study: Study, table: pd.DataFrame) -> Drawn:
    """Return the paired differences from the reference, a row an arm, a panel a data set."""
    metric = study.outcome.metric
    labels = [f"{row['label']} (n={row['n']})\n{row['confounds']}".rstrip() for _, row in table.iterrows()]
    names = study.experiment.labels()
    of_label = {names[key]: arm.colour for key, arm in study.experiment.arms.items()}
    shown = table.assign(label=labels, colour=table["label"].map(of_label))
    figure, panels = one_below_another(dict(shown["dataset"].value_counts(sort=False)))
    for dataset, ax in panels.items():
        own = shown[shown["dataset"] == dataset]
        colours = plots.model_colours(dict(zip(own["label"], own["colour"], strict=True)))
        margin = own["margin"].iloc[0]
        plots.differences(own, y="label", margin=margin, colours=colours, ax=ax)
        points, ends = [0, *own["difference"]], [*own["low"], *own["high"]]
        reach = plots.limits([*points, *ends], [], strays=True)
        ax.set_xlim(reach)
        plots.say_cut(ax, ends, reach, points)
        ax.set_xlabel(_axis(metric, f"the margin of {margin:g}" if margin else ""))
    entitle(figure, table["dataset"], _minus(study, table))
    return figure, shown.drop(columns=["colour", "arm", "partner", "decided"])


def _against(study: Study, table: pd.DataFrame) -> Drawn:
    """Return the paired differences from the reference against the swept number, a line an arm, a panel a data set."""
    (x,), metric = study.axes, study.outcome.metric
    rows = table.rename(columns={"dataset": "dataset.name", "difference": "mean"})
    data, colours = labelled(study, rows, axes=[x], counted=False)
    figure, panels = side_by_side(data, 4.4)
    for dataset, (ax,) in panels.items():
        own = data[data["dataset.name"] == dataset]
        margin = own["margin"].iloc[0]
        plots.against(own, x=x, hue="label", colours=colours, ax=ax)
        plots.zero(ax.axhline, ax.axhspan, margin)
        points, ends = [0, *own["mean"]], [*own["low"], *own["high"]]
        shown = plots.limits(points, ends, strays=True)
        ax.set_ylim(shown)
        plots.say_cut(ax, ends, shown, points)
        ax.set(xlabel=axis_label(x), ylabel=_axis(metric, f"the margin of {margin:g}" if margin else ""))
    share_legend(figure, [ax for (ax,) in panels.values()])
    others = "; ".join(filter(None, table["confounds"].unique()))
    also = f"; also differs in {others}" * bool(others)
    entitle(figure, table["dataset"], f"{_minus(study, table)}, n\u00a0=\u00a0{span(table['n'])}\u00a0pairs{also}")
    return figure, data.drop(columns=["arm", "partner", "decided"])


def _axis(metric: Metric, grey: str) -> str:
    return f"difference{f' ({metric.unit.strip()})' if metric.unit else ''}{f'; grey: {grey}' if grey else ''}"


def _minus(study: Study, table: pd.DataFrame) -> str:
    """Return what a comparison's picture shows: of which outcome, from whom, with which intervals."""
    sizes, intervals = [str(len(seeds)) for seeds in study.experiment.looks], bool(table["low"].notna().any())
    together = f" that holds for the looks at {' and '.join(sizes)} seeds together"
    return _paired(study, described(study.outcome, study.runs), intervals) + together * (intervals and bool(sizes))


def _paired(study: Study, what: str, intervals: bool) -> str:
    return f"{what} minus that of {called(study.reference)}, paired by seed{', 95% t-interval' * intervals}"


def _by_epoch(study: Study, table: pd.DataFrame, epochs: pd.DataFrame) -> Drawn:
    """Return the paired differences from the reference against the epoch, a panel an arm and data set."""
    metric, partners = study.outcome.metric, table.set_index("arm")["partner"]
    theirs = epochs[["arm", "seed", "epoch", metric.column]].rename(columns={"arm": "partner", metric.column: "theirs"})
    paired = epochs.assign(partner=epochs["arm"].map(partners)).merge(theirs, on=["partner", "seed", "epoch"])
    paired[metric.column] -= paired["theirs"]
    data, colours = labelled(study, paired, distinct=False)
    summary = summarise(data, by=["dataset.name", "label", "epoch"], value=metric.column)
    several, grey = table["dataset"].nunique() > 1, "within the margin" if table["margin"].any() else ""
    lines = [line for _, line in summary.groupby(["dataset.name", "label"], sort=False)]
    across = min(len(lines), 4)
    figure, axes = grid(len(lines), across, (max(6.4, 2.2 * across), max(3.6, 1.2 + 1.7 * -(-len(lines) // across))))
    for ax, line in zip(axes, lines, strict=True):
        dataset, label = line["dataset.name"].iloc[0], line["label"].iloc[0]
        plots.learning_curves(line, x="epoch", y="mean", hue="label", colours={label: colours[label]}, ax=ax)
        ax.get_legend().remove()  # type: ignore[union-attr]
        plots.zero(ax.axhline, ax.axhspan, table.loc[table["dataset"] == dataset, "margin"].iloc[0])
        alike = summary[summary["dataset.name"] == dataset]
        shown = plots.limits([0, *alike["mean"]], [*alike["low"], *alike["high"]])
        ax.set_ylim(shown)
        plots.say_cut(ax, [*line["low"], *line["high"]], shown)
        ax.set_title(f"{name(dataset)}, {label}" if several else label, fontsize="small")
        ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    figure.supxlabel("epoch", fontsize="medium")
    figure.supylabel(_axis(metric, grey), fontsize="medium")
    entitle(figure, table["dataset"], _paired(study, metric.label, bool(summary["low"].notna().any())))
    return figure, summary
