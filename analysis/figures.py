"""The figures of a study, as PNG and SVG."""

import io
import math
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis import plots
from analysis.difference_figures import difference_figures
from analysis.heat_maps import heat_maps
from analysis.load import count_runs
from analysis.metrics import ACCURACY, Metric
from analysis.panels import Drawn, axis_label, described, labelled, one_below_another, share_legend, side_by_side, title
from analysis.search_figures import search_figures
from analysis.selection import missing
from analysis.stats import FEWEST
from analysis.study import Study, has_seeds
from analysis.tables import LEGEND, final_table, to_text
from weightnet.errors import RunFailed
from weightnet.runs.folder import write_whole
from weightnet.waiting import waiting

MOST_INCHES = 300  # 60,000 pixels; from 65,536 on nothing can be drawn


def draw(study: Study, *, data: bool = False) -> None:
    """Draw a study's figures and print its tables.

    The first figure follows from what was swept (`analysis.pictures`). With two seeds or more, `-final` shows every
    seed's outcome, and `-differences...` (`analysis.difference_figures`) the paired differences from the baseline,
    where there is one. `-feedback` is the length of the feedback vector against the epoch, `-search-<key>`
    (`analysis.search_figures`) how the arms' values were found. An SVG lies beside each PNG; both hold the ids of
    their runs. With `data`, what is drawn is written as CSV.
    """
    print(f"\n{to_text(final_table(study.runs, study.outcome, searched=study.searched), study.outcome)}\n")
    if study.differences is not None:
        print(f"{to_text(study.differences, study.outcome)}\n({LEGEND})\n")
    for one in filter(None, [study, study.search]):
        _write(one, data)


def _write(study: Study, data: bool) -> None:
    lines = []
    for suffix, (figure, frame) in waiting(figures_of(study).items(), "drawing"):
        written = {kind: image(figure, kind, list(study.runs["run"])) for kind in ("svg", "png")}
        if data:
            written["csv"] = frame.to_csv(index=False).encode()
        for stem in study.files:
            stem.parent.mkdir(parents=True, exist_ok=True)
            for kind, content in written.items():
                write_whole(Path(f"{stem}{suffix}.{kind}"), content)
        lines.append(f"figure: {study.files[0]}{suffix}.png (and .svg{' and .csv' if data else ''})")
    print("\n".join(lines))


def figures_of(study: Study) -> dict[str, Drawn]:
    """Return a study's figures by the suffix of their names; RunFailed: no epoch has ended."""
    metric = study.outcome.metric
    runs, epochs = (frame.dropna(subset=metric.column) for frame in (study.runs, study.epochs))
    done = runs[runs["status"] == "done"]
    if epochs.empty:
        raise RunFailed(f"{study.experiment.name}: no epoch has ended with a number for {metric.label}")
    if study.experiment.trials:
        return _with_caveats(study, search_figures(study, done))
    shape = [_curves, _against, heat_maps][len(study.axes)]
    drawn = {"": shape(study, done if study.axes else epochs)}
    if len(done) and has_seeds(done):
        drawn["-final"] = _final(study, done)
    if not study.axes and metric == ACCURACY and len(measured := epochs.dropna(subset="me_norm")):
        drawn["-feedback"] = _feedback(study, measured)
    if study.differences is not None and len(study.differences):
        drawn |= difference_figures(study, study.differences, epochs)
    return _with_caveats(study, drawn)


def _with_caveats(study: Study, drawn: dict[str, Drawn]) -> dict[str, Drawn]:
    if caveats := _caveats(study):
        for figure, _ in drawn.values():
            figure.suptitle(f"{figure.get_suptitle()}\n({caveats})", fontsize="medium")
    return drawn


def _caveats(study: Study) -> str:
    """Return what a reader who sees the picture alone must know of its runs; nothing ("") where they are as asked."""
    runs, primary = study.runs, study.experiment.primary
    lacking = missing(study.experiment, runs).total()
    counts = {
        "not finished": lacking,
        "stale": int(((runs["status"] == "done") & (runs["why"] != "")).sum()),
        "diverged": int(runs["diverged"].sum()),
    }
    said = [f"{count} {what}" for what, count in counts.items() if count]
    parts = [f"exploratory: the primary outcome is {primary.label}"] * study.outcome.exploratory
    parts += study.later
    parts += [f"of {count_runs(len(runs) + lacking)}, {', '.join(said)}"] * bool(said)
    return "; ".join(parts)


def _curves(study: Study, epochs: pd.DataFrame) -> Drawn:
    """Return the metric against the epoch, a line an arm, a panel a data set; n is in the legend."""
    figure, summary = _against_epoch(study, epochs, [study.outcome.metric], 4.4)
    title(figure, epochs.assign(label=epochs["arm"]), study.outcome.metric.label)
    return figure, summary.drop(columns="of")


def _feedback(study: Study, epochs: pd.DataFrame) -> Drawn:
    """Return the length of the feedback vector, and of its change in an epoch, against the epoch."""
    possible = (0.0, math.inf)
    lengths = [Metric("me_norm", "|me|", bounds=possible), Metric("me_change", "|me - me before|", bounds=possible)]
    figure, summary = _against_epoch(study, epochs, lengths, 6.4)
    title(figure, epochs.assign(label=epochs["arm"]), "the feedback vector")
    return figure, summary


def _against_epoch(study: Study, epochs: pd.DataFrame, metrics: list[Metric], height: float) -> Drawn:
    """Return metrics against the epoch, one below the other, a line an arm, a column a data set."""
    data, colours = labelled(study, epochs)
    figure, panels = side_by_side(data, height, len(metrics))
    parts = []
    for dataset, column in panels.items():
        own = data[data["dataset.name"] == dataset]
        for metric, ax in zip(metrics, column, strict=True):
            summary = metric.summary(own, ["label", "epoch"])
            plots.learning_curves(summary, x="epoch", y="mean", hue="label", colours=colours, ax=ax)
            _show_few(own, summary, metric, "epoch", colours, ax)
            ax.set(xlabel="epoch" if ax is column[-1] else "", xlim=(0.5, summary["epoch"].max() + 0.5))
            ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
            parts.append(summary.assign(of=metric.column, dataset=dataset))
        for ax in column[1:]:
            ax.get_legend().remove()  # type: ignore[union-attr]
    share_legend(figure, [column[0] for column in panels.values()], inside=len(metrics) == 1)
    return figure, pd.concat(parts, ignore_index=True)


def _show_few(
    rows: pd.DataFrame, summary: pd.DataFrame, metric: Metric, x: str, colours: dict[str, plots.Colour], ax: Axes
) -> None:
    """Show every seed of the points that have no interval; let the axis follow the points, and name it.

    Not the strays among them, where a point is a whole run: the first epochs of a curve are none.
    """
    few = summary.loc[summary["n"].between(2, FEWEST - 1), ["label", x]].merge(rows, on=["label", x])
    for label, seeds in few.dropna(subset=x).groupby("label"):
        ax.plot(seeds[x], seeds[metric.column], "_", color=colours[str(label)], markersize=7, alpha=0.8)
    points, ends = [*summary["mean"], *few[metric.column]], [*summary["low"], *summary["high"]]
    shown = plots.limits(points, ends, metric.bounds, strays=x != "epoch")
    ax.set_ylim(shown)
    plots.say_cut(ax, ends, shown, points)
    ax.set_ylabel(metric.axis)


def _against(study: Study, done: pd.DataFrame) -> Drawn:
    """Return the outcome against the swept number, a line an arm, a panel a data set."""
    (x,), metric = study.axes, study.outcome.metric
    data, colours = labelled(study, done, axes=[x], counted=False)
    figure, panels = side_by_side(data, 4.4)
    parts = []
    for dataset, (ax,) in panels.items():
        own = data[data["dataset.name"] == dataset]
        summary = metric.summary(own, ["label", x])
        plots.against(summary, x=x, hue="label", colours=colours, ax=ax)
        _show_few(own, summary, metric, x, colours, ax)
        ax.set_xlabel(axis_label(x))
        parts.append(summary.assign(dataset=dataset))
    share_legend(figure, [ax for (ax,) in panels.values()])
    title(figure, data, f"{described(study.outcome, done)} against {x}", by=["label", x])
    return figure, pd.concat(parts, ignore_index=True)


def _final(study: Study, done: pd.DataFrame) -> Drawn:
    """Return the outcome: every seed, mean and interval, a row an arm, a panel a data set."""
    data, colours = labelled(study, done, distinct=False)
    metric, sets = study.outcome.metric, {str(key): own for key, own in data.groupby("dataset.name", sort=False)}
    figure, panels = one_below_another({dataset: own["label"].nunique() for dataset, own in sets.items()})
    for dataset, ax in panels.items():
        own = sets[dataset]
        summary = metric.summary(own, ["label"])
        plots.seed_points(own, summary, x=metric.column, y="label", colours=colours, ax=ax)
        ends = [*summary["low"], *summary["high"]]
        shown = plots.limits(list(own[metric.column]), ends, metric.bounds)
        ax.set_xlim(shown)
        plots.say_cut(ax, ends, shown)
        ax.set_xlabel(metric.axis)
    title(figure, data, described(study.outcome, done), every=True)
    return figure, data[["dataset.name", "label", "seed", metric.column, "run"]]


def image(figure: Figure, kind: str, runs: list[str]) -> bytes:
    """Return a figure as PNG (200 dpi) or SVG that holds the ids of its runs."""
    buffer = io.BytesIO()
    width, height = figure.get_size_inches()
    figure.set_size_inches(min(width, MOST_INCHES), min(height, MOST_INCHES))
    figure.savefig(buffer, format=kind, dpi=200, metadata={"Description": f"runs: {', '.join(runs)}"})
    return buffer.getvalue()
