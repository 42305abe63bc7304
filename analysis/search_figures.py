"""The figures of a search: validation accuracy against each key that was searched."""

import pandas as pd

from analysis import plots
from analysis.panels import Drawn, described, entitle, labelled, share_legend, side_by_side
from analysis.study import Study


def search_figures(study: Study, done: pd.DataFrame) -> dict[str, Drawn]:
    """Return a figure a searched key, by suffix, and what it shows; `done` are the finished trials of a search."""
    trials = study.experiment.trials
    assert trials is not None
    return {f"-search-{key}": _search(study, done, key) for key in trials.intervals}


def _search(study: Study, done: pd.DataFrame, key: str) -> Drawn:
    """Return every trial against a key, the mean of its seeds and their range; a trial lacks none of its seeds.

    Trials of an arm are joined where they differ in this key alone. An arm that takes no searched key is a level line.
    """
    trials, metric = study.experiment.trials, study.outcome.metric.column
    assert trials is not None
    others = [other for other in trials.intervals if other != key]
    data, colours = labelled(study, done, axes=[key, *others], counted=False)
    data = data[data[key].notna() | data[others].isna().all(axis="columns")]
    by = ["dataset.name", "label", "arm", key, *others]
    table = data.groupby(by, sort=False, dropna=False)[metric].agg(["mean", "min", "max", "count"]).reset_index()
    table = table[table["count"] == len(trials.seeds)].assign(chosen=lambda rows: rows["arm"].isin(trials.chosen))
    figure, panels = side_by_side(data, 4.4)
    for dataset, (ax,) in panels.items():
        own = table[table["dataset.name"] == dataset]
        plots.trials(own, x=key, interval=trials.intervals[key], joined=not others, hue="label", colours=colours, ax=ax)
        best, median = own["mean"].max(), own["mean"].median()
        near = own[own["mean"] >= best - 4 * (best - median)]  # what is far worse would squash what is to be compared
        shown = plots.limits(list(near["mean"]), [*near["min"], *near["max"]], study.outcome.metric.bounds)
        ax.set_ylim(shown)
        plots.say_cut(ax, [], shown, list(own["mean"]))
        ax.set(xlabel=key, ylabel=study.outcome.metric.axis)
    share_legend(figure, [ax for (ax,) in panels.values()])
    seeds = "one seed" if len(trials.seeds) == 1 else f"mean and range of {len(trials.seeds)} seeds"
    ring = "; ring: the best, confirmed on fresh seeds" * bool(trials.chosen)
    entitle(figure, data["dataset.name"], f"{described(study.outcome, done)} against {key}, {seeds} a trial{ring}")
    return figure, table.drop(columns="arm")
