"""Drawing. Functions take estimates and intervals, never raw runs, and draw on the axes they are given, or new ones."""

from collections.abc import Mapping

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

Colour = tuple[float, float, float]

KEYS = ("baseline", "pool", "rmp", "projection", "constant", "foreign", "ones", "noise", "fixed_noise", "shuffled")
COLOURS: dict[str, Colour] = {
    **dict(zip(KEYS, sns.color_palette("colorblind"), strict=True)),
    "bias_lr": (0.25, 0.25, 0.25), "wide": (0.0, 0.45, 0.35), "projection kron": (0.4, 0.25, 0.1),
    "projection srht": (0.45, 0.2, 0.55), "projection countsketch": (0.5, 0.5, 0.0),
}  # fmt: skip
"""The same model has the same colour in every figure; seaborn's colour-blind palette, then others."""


def palette(labels: Mapping[str, str]) -> dict[str, Colour]:
    """Return a colour for each label; `labels` maps it to a key of `COLOURS`, whose colour goes to its first label."""
    unused: dict[str, Colour | None] = {**COLOURS}
    spare = iter(sns.color_palette("husl", len(labels)))
    return {label: unused.pop(model, None) or next(spare) for label, model in labels.items()}


def learning_curves(
    summary: pd.DataFrame, *, x: str, y: str, hue: str, colours: Mapping[str, Colour], ax: Axes | None = None
) -> Axes:
    """Draw one line a label (column `hue`), with the band from `low` to `high` where there is one.

    `summary` has one row a point, with columns `x`, `y` (the estimate), `hue`, `low`, `high`.
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
    table: pd.DataFrame, *, y: str, margin: float, colours: Mapping[str, Colour], ax: Axes | None = None
) -> Axes:
    """Draw each arm's difference from the reference with its interval and verdict, and the band of the margin.

    `table` is as `analysis.stats.compare` returns it, with the label in column `y`; the margin is half the band.
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
    """Draw column `value` as shades over the columns `rows` (upright) and `columns`, with the number in each cell.

    Values of the same cell are averaged; cells without a row stay empty.
    """
    ax = ax or Figure().subplots()
    grid = table.pivot_table(index=rows, columns=columns, values=value)
    sns.heatmap(grid, annot=True, fmt=".2f", cmap="cividis", annot_kws={"size": 7}, ax=ax)
    ax.tick_params(axis="y", rotation=0)
    return ax
