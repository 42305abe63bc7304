"""Drawing. Functions take estimates and intervals, never raw runs, and draw on the axes they are given."""

from collections.abc import Mapping

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

COLOURS = dict(zip(("baseline", "pool", "rmp", "projection"), sns.color_palette("colorblind"), strict=False))
"""The same model has the same colour in every figure."""


def palette(labels: Mapping[str, str]) -> dict[str, tuple[float, float, float]]:
    """Return a colour for each label; `labels` maps it to its model. A model's own colour goes to its first label."""
    spare = iter([*sns.color_palette("colorblind")[len(COLOURS) :], *sns.color_palette("husl", len(labels))])
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
    colours: Mapping[str, tuple[float, float, float]],
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
