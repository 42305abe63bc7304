"""Drawing. Functions take estimates and intervals, never raw runs, and draw on the axes they are given."""

from collections.abc import Mapping

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

Colour = tuple[float, float, float]

KEYS = (
    "baseline", "pool", "rmp", "projection", "constant", "foreign", "ones", "noise", "fixed_noise", "shuffled",
    "bias_lr", "wide", "projection kron", "projection srht", "projection countsketch",
)  # fmt: skip
COLOURS: dict[str, Colour] = dict(
    zip(
        KEYS,
        [*sns.color_palette("colorblind"), (0.25, 0.25, 0.25), (0.0, 0.45, 0.35), (0.4, 0.25, 0.1), (0.45, 0.2, 0.55),
         (0.5, 0.5, 0.0)],
        strict=True,
    )
)  # fmt: skip
"""The same model has the same colour in every figure; seaborn's colour-blind palette, then others."""


def palette(labels: Mapping[str, str]) -> dict[str, Colour]:
    """Return a colour for each label; `labels` maps it to a key of `COLOURS`, whose colour goes to its first label."""
    spare = iter(sns.color_palette("husl", len(labels)))
    used: set[str] = set()
    colours = {}
    for label, model in labels.items():
        colours[label] = COLOURS[model] if model in COLOURS and model not in used else next(spare)
        used.add(model)
    return colours


def learning_curves(
    summary: pd.DataFrame,
    *,
    x: str,
    y: str,
    hue: str,
    colours: Mapping[str, Colour],
    ax: Axes | None = None,
) -> Axes:
    """Draw one line a `hue`, with the band from `low` to `high` where there is one.

    Args:
        summary: tidy, one row a point, with columns `x`, `y`, `hue`, `low`, `high`.
        x: column of the horizontal axis.
        y: column of the estimate.
        hue: column of the line's label.
        colours: of the labels.
        ax: drawn on; a new figure's if not given.
    """
    ax = ax or Figure().subplots()
    sns.lineplot(
        data=summary, x=x, y=y, hue=hue, style=hue, palette=dict(colours), markers=True, dashes=False,
        errorbar=None, markeredgewidth=0, markersize=5, ax=ax,
    )  # fmt: skip
    for label, line in summary.dropna(subset=["low", "high"]).groupby(hue, sort=False):
        ax.fill_between(line[x], line["low"], line["high"], color=colours[str(label)], alpha=0.2, linewidth=0)
    ax.grid(True, alpha=0.4)
    ax.legend(title=None, loc="lower right")
    return ax


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

    Args:
        points: tidy, one row an observation, with columns `x` and `y`.
        summary: one row a label, with columns `y`, `mean`, `low`, `high`.
        x: column of the observations.
        y: column of the label.
        colours: of the labels.
        ax: drawn on; a new figure's if not given.
    """
    ax = ax or Figure().subplots()
    places = {label: place for place, label in enumerate(summary[y])}
    for label, observations in points.groupby(y, sort=False):
        ax.plot(observations[x], [places[label] + 0.2] * len(observations), "|", color=colours[str(label)], alpha=0.8)
    _intervals(summary, y=y, estimate="mean", colours=colours, ax=ax)
    return ax


def differences(
    table: pd.DataFrame, *, y: str, margin: float, colours: Mapping[str, Colour], ax: Axes | None = None
) -> Axes:
    """Draw each arm's difference from the reference with its interval and verdict, and the band of the margin.

    Args:
        table: as `analysis.stats.compare` returns it.
        y: column of the label.
        margin: half the width of the band.
        colours: of the labels.
        ax: drawn on; a new figure's if not given.
    """
    ax = ax or Figure().subplots()
    ax.axvspan(-margin, margin, color="0.9", zorder=0)
    ax.axvline(0, color="0.4", linewidth=1, zorder=1)
    _intervals(table, y=y, estimate="difference", colours=colours, ax=ax)
    for place, verdict in enumerate(table["verdict"]):
        ax.annotate(f" {verdict}", (1, place), xycoords=("axes fraction", "data"), va="center", annotation_clip=False)
    return ax


def _intervals(table: pd.DataFrame, *, y: str, estimate: str, colours: Mapping[str, Colour], ax: Axes) -> None:
    """Draw a row a label, from the top: the estimate, and the interval from `low` to `high` where there is one."""
    for place, row in enumerate(table.to_dict("records")):
        colour = colours[row[y]]
        ax.plot([row["low"], row["high"]], [place, place], color=colour, linewidth=2, solid_capstyle="butt")
        ax.plot(row[estimate], place, "o", color=colour, markeredgecolor="white")
    ax.set_yticks(range(len(table)), list(table[y]))
    ax.set_ylim(len(table) - 0.5, -0.5)
    ax.grid(True, axis="x", alpha=0.4)


def heat_map(table: pd.DataFrame, *, rows: str, columns: str, value: str, ax: Axes | None = None) -> Axes:
    """Draw `value` over two columns as shades with the number in each cell; cells without a row stay empty.

    Args:
        table: tidy, with columns `rows`, `columns`, `value`; values of the same cell are averaged.
        rows: column of the vertical axis.
        columns: column of the horizontal axis.
        value: column of the shade.
        ax: drawn on; a new figure's if not given.
    """
    ax = ax or Figure().subplots()
    grid = table.pivot_table(index=rows, columns=columns, values=value, aggfunc="mean")
    sns.heatmap(grid, annot=True, fmt=".2f", cmap="cividis", annot_kws={"size": 7}, ax=ax, square=False)
    ax.tick_params(axis="y", rotation=0)
    return ax
