"""Drawing. Functions take estimates and intervals, never raw runs, and draw on the axes they are given, or new ones.

Arms that are equal are seen all the same: the later ones are thinner, dashed otherwise, and lie on top.
"""

import math
import textwrap
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from weightnet.sweep.interval import Interval

Colour = tuple[float, float, float]

KEYS = ("baseline", "pool", "rmp", "projection", "constant", "foreign", "ones", "noise", "fixed_noise", "shuffled")
COLOURS: dict[str, Colour] = {
    **dict(zip(KEYS, sns.color_palette("colorblind"), strict=True)),
    "bias_lr": (0.25, 0.25, 0.25), "wide": (0.0, 0.45, 0.35), "projection kron": (0.4, 0.25, 0.1),
    "projection srht": (0.45, 0.2, 0.55), "projection countsketch": (0.5, 0.5, 0.0),
    "padding": (0.1, 0.1, 0.6), "equal": (0.75, 0.35, 0.45), "twin": (0.5, 0.75, 0.3),
}  # fmt: skip
"""The same model has the same colour in every figure; seaborn's colour-blind palette, then others."""

_DASHES = ("-", (0, (4, 1.5)), (0, (1, 1)), (0, (5, 1, 1, 1)), (0, (3, 1, 1, 1, 1, 1)))
_MARKERS = "osD^vP*X<>"
DIVERGING = "RdBu"
MOST_TICKS = 10  # swept values, each with a tick of its own


def model_colours(labels: Mapping[str, str]) -> dict[str, Colour]:
    """Return the colour of each label's model: for rows, which need not be told apart by colours."""
    return {label: colour for label, model in labels.items() for colour in palette({label: model}).values()}


def palette(labels: Mapping[str, str]) -> dict[str, Colour]:
    """Return a colour for each label; `labels` maps it to a key of `COLOURS`, whose colour goes to its first label."""
    unused: dict[str, Colour | None] = {**COLOURS}
    spare = iter(sns.color_palette("husl", len(labels)))
    return {label: unused.pop(model, None) or next(spare) for label, model in labels.items()}


def line_styles(colours: Mapping[str, Colour]) -> dict[str, dict[str, object]]:
    """Return how the line of each label is drawn, so that of several equal ones each is seen."""
    share = np.linspace(1, 0, len(colours)) if len(colours) > 1 else [0.3]
    return {
        label: {"color": colour, "linestyle": _DASHES[place % len(_DASHES)], "marker": _MARKERS[place % len(_MARKERS)],
                "linewidth": 1.3 + 1.7 * share[place], "markersize": 3.5 + 3 * share[place], "markeredgewidth": 0}
        for place, (label, colour) in enumerate(colours.items())
    }  # fmt: skip


def learning_curves(
    summary: pd.DataFrame, *, x: str, y: str, hue: str, colours: Mapping[str, Colour], ax: Axes | None = None
) -> Axes:
    """Draw one line a label (column `hue`), with the band from `low` to `high` where there is one.

    `summary` has one row a point, with columns `x`, `y` (the estimate), `hue`, `low`, `high`.
    """
    ax = ax or Figure().subplots()
    styles = line_styles(colours)
    for label, line in summary.groupby(hue, sort=False):
        ax.plot(line[x], line[y], label=str(label), **styles[str(label)])  # type: ignore[arg-type]
    for label, line in summary.dropna(subset=["low", "high"]).groupby(hue, sort=False):
        ax.fill_between(line[x], line["low"], line["high"], color=colours[str(label)], alpha=0.2, linewidth=0)
    ax.grid(True, alpha=0.4)
    ax.legend(title=None, loc="best")
    return ax


def against(summary: pd.DataFrame, *, x: str, hue: str, colours: Mapping[str, Colour], ax: Axes | None = None) -> Axes:
    """Draw the mean against a number, a line a label (column `hue`), with error bars from `low` to `high`.

    `summary` has one row a point, with columns `x`, `mean`, `low`, `high`, `hue`. A label without x (NaN) is a
    horizontal line with a band. Values that span a decade have a logarithmic axis. Of several points with error bars at
    one x each is moved aside a little, so that none hides another.
    """
    ax = ax or Figure().subplots()
    values = np.sort(summary[x].dropna().astype(float).unique())
    logarithmic = bool(values[0] > 0 and values[-1] >= 10 * values[0])
    styles, lines = line_styles(colours), list(summary.groupby(hue, sort=False))
    for place, (label, line) in enumerate(lines):
        style, label = styles[str(label)], str(label)
        if line[x].isna().all():
            (row,) = line.to_dict("records")
            ax.axhline(row["mean"], label=label, **{**style, "marker": ""})  # type: ignore[arg-type]
            ax.axhspan(row["low"], row["high"], color=colours[label], alpha=0.15, linewidth=0)
            continue
        line = line.sort_values(x)
        there = line[["low", "high"]].notna().all(axis="columns")
        moved = line[x].map(summary.groupby(x)[hue].nunique()) > 1 if there.any() else 0.0
        aside = min(0.012, 0.08 / len(lines)) * (place - (len(lines) - 1) / 2) * moved
        at = line[x] * (values[-1] / values[0]) ** aside if logarithmic else line[x] + aside * (values[-1] - values[0])
        ax.plot(at, line["mean"], label=label, **style)  # type: ignore[arg-type]
        at, line = at[there], line[there]
        bars = [line["mean"] - line["low"], line["high"] - line["mean"]]
        ax.errorbar(at, line["mean"], bars, fmt="none", color=colours[label], capsize=2.5, elinewidth=1)
    if logarithmic:
        ax.set_xscale("log")
    places = np.log(values) if logarithmic else values
    if len(values) <= MOST_TICKS and np.diff(places).min(initial=math.inf) > 0.07 * np.ptp(places):  # labels have room
        ax.xaxis.set_major_locator(FixedLocator(list(values)))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:g}" if value == round(value) else f"{value:.4g}")
    ax.margins(x=0.08)
    ax.grid(True, alpha=0.4)
    ax.legend(title=None, loc="best")
    return ax


def trials(
    table: pd.DataFrame, *, x: str, interval: Interval, joined: bool, hue: str, colours: Mapping[str, Colour],
    ax: Axes | None = None,
) -> Axes:  # fmt: skip
    """Draw the trials of a search, a colour a label (column `hue`), and the ends of the interval.

    `table` has one row a trial, with columns `x`, `mean`, `min` and `max` of its seeds, `hue`, and `chosen`: has a
    ring. Those of a label are `joined` by a thin line. A label without x (NaN) is a level line.
    """
    ax = ax or Figure().subplots()
    for place, (label, colour) in enumerate(colours.items()):
        rows, marker = table[table[hue] == label].sort_values(x), _MARKERS[place % len(_MARKERS)]
        if rows[x].isna().all():
            for mean in rows["mean"]:
                ax.axhline(mean, color=colour, label=label)
            continue
        ax.vlines(rows[x], rows["min"], rows["max"], color=colour, linewidth=1, alpha=0.5)
        ax.plot(rows[x], rows["mean"], marker, color=colour, label=label, linestyle="-" if joined else "",
                linewidth=0.6, markersize=5, markeredgewidth=0)  # fmt: skip
        best = rows[rows["chosen"]]
        ax.plot(best[x], best["mean"], "o", color=colour, markersize=13, markerfacecolor="none", markeredgewidth=1.5,
                clip_on=False)  # fmt: skip
    if interval.log:
        ax.set_xscale("log")
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    ax.set_xlim(interval.low, interval.high)
    ax.margins(x=0.03)
    ax.autoscale(axis="x")
    for end in (interval.low, interval.high):
        ax.axvline(end, color="0.6", linewidth=0.8, linestyle=":")
    ax.grid(True, alpha=0.4)
    ax.legend(title=None, loc="best")
    return ax


def limits(
    points: Sequence[float], ends: Sequence[float], bounds: tuple[float, float] = (-math.inf, math.inf), *,
    strays: bool = False,
) -> tuple[float, float] | None:  # fmt: skip
    """Return the limits of an axis that shows all points and, unless they would squash these, all `ends` of intervals.

    Intervals that are more than three times as wide as the range of the points are cut. With `strays`, so are points
    that would squash nine tenths of all to a tenth of the axis: runs that diverged. None: there is no point.
    """
    finite, beyond = ([value for value in values if math.isfinite(value)] for values in (points, ends))
    if not finite:
        return None
    least, most = min(finite), max(finite)
    if strays and (inner := np.quantile(finite, [0.05, 0.95])).size and most - least > 10 * np.ptp(inner) > 0:
        near, beyond = (
            [value for value in values if np.abs(value - inner).min() <= 2 * np.ptp(inner)]
            for values in (finite, beyond)
        )
        least, most = min(near), max(near)
    low, high = min([least, *beyond]), max([most, *beyond])
    if most > least and high - low > 3 * (most - least):
        low, high = max(low, 2 * least - most), min(high, 2 * most - least)
    margin = 0.05 * (high - low) or max(0.01 * abs(high), 1e-9)
    return max(low - margin, bounds[0]), min(high + margin, bounds[1])


def say_cut(ax: Axes, ends: Sequence[float], shown: tuple[float, float] | None, points: Sequence[float] = ()) -> None:
    """Say in a panel that there is more of an interval than it shows, or that there are other points."""
    there = [end for end in ends if not math.isnan(end)]  # of one seed there is no interval
    outside = [[value for value in values if shown and not shown[0] <= value <= shown[1]] for values in (points, there)]
    values = ", ".join(f"{value:.4g}" for value in outside[0][:3]) + ", ..." * (len(outside[0]) > 3)
    strays = f"{len(outside[0])} outside: {values}"
    said = [strays] * bool(outside[0]) + ["intervals go on outside"] * bool(outside[1])
    if said:
        ax.annotate("; ".join(said), (0.99, 0.99), xycoords="axes fraction", ha="right", va="top",
                    fontsize="x-small", color="0.3",
                    bbox={"facecolor": "white", "alpha": 0.8, "linewidth": 0, "pad": 1})  # fmt: skip


def seed_points(
    points: pd.DataFrame,
    summary: pd.DataFrame,
    *,
    x: str,
    y: str,
    colours: Mapping[str, Colour],
    ax: Axes | None = None,
) -> Axes:
    """Draw every observation, and the mean with its interval, a row a label; the first label is on top.

    `points` has one row an observation, with columns `x` and `y` (the label); `summary` one row a label, with columns
    `y`, `mean`, `low`, `high`.
    """
    ax = ax or Figure().subplots()
    for place, label in enumerate(summary[y]):
        observations = points.loc[points[y] == label, x]
        ax.plot(observations, [place + 0.2] * len(observations), "|", color=colours[label], alpha=0.8)
    _intervals(summary, y=y, estimate="mean", colours=colours, ax=ax)
    return ax


def differences(
    table: pd.DataFrame, *, y: str, margin: float | None, colours: Mapping[str, Colour], ax: Axes | None = None
) -> Axes:
    """Draw each arm's difference from the reference with its interval and verdict, and the band of the margin.

    `table` is as `analysis.stats.compare` returns it, with the label in column `y`; the margin is half the band.
    """
    ax = ax or Figure().subplots()
    zero(ax.axvline, ax.axvspan, margin)
    _intervals(table, y=y, estimate="difference", colours=colours, ax=ax)
    for place, verdict in enumerate(table["verdict"]):
        ax.annotate(
            textwrap.fill(verdict, 18),
            (1.01, place),
            xycoords=("axes fraction", "data"),
            va="center",
            annotation_clip=False,
        )
    return ax


def zero(line: Callable[..., object], span: Callable[..., object], margin: float | None) -> None:
    """Mark no difference with this `line` of the axes, and what is within the margin with this `span`."""
    if margin:
        span(-margin, margin, color="0.9", zorder=0)
    line(0, color="0.4", linewidth=1, zorder=1)


def _intervals(table: pd.DataFrame, *, y: str, estimate: str, colours: Mapping[str, Colour], ax: Axes) -> None:
    """Draw a row a label, from the top: the estimate, and the interval from `low` to `high` where there is one."""
    for place, row in enumerate(table.to_dict("records")):
        colour = colours[row[y]]
        ax.plot([row["low"], row["high"]], [place, place], color=colour, linewidth=2, solid_capstyle="butt")
        ax.plot(row[estimate], place, "o", color=colour, markeredgecolor="white")
    ax.set_yticks(range(len(table)), list(table[y]))
    ax.set_ylim(len(table) - 0.5, -0.5)
    ax.grid(True, axis="x", alpha=0.4)


def heat_map(
    table: pd.DataFrame, *, rows: Mapping[str, Sequence[float]], columns: Mapping[str, Sequence[float]], value: str,
    shade: str, most: float, ax: Axes | None = None,
) -> Axes:  # fmt: skip
    """Draw column `shade` as colours, with the text of column `value` in each cell.

    `rows` (upright) and `columns` are a column of the table and all values that have a place. The colours diverge from
    0 and end at -`most` and `most`. Cells without a row stay empty.
    """
    ax = ax or Figure().subplots()
    (row, index), (column, across) = *rows.items(), *columns.items()
    grids = [table.pivot(index=row, columns=column, values=cell).reindex(list(index)) for cell in (shade, value)]
    colours, text = (grid.reindex(columns=list(across)) for grid in grids)
    ticks = {"xticklabels": [f"{at:g}" for at in across], "yticklabels": [f"{at:g}" for at in index]}
    sns.heatmap(
        colours, annot=text.astype(object).where(text.notna(), ""), fmt="", cmap=DIVERGING, vmin=-most, vmax=most,
        cbar=False, linewidths=0.5, annot_kws={"size": 8}, ax=ax, **ticks,
    )  # fmt: skip
    ax.tick_params(axis="y", rotation=0)
    return ax
