"""Estimates and intervals. Apart from drawing: plots and tables take what these functions return."""

from collections.abc import Sequence

import pandas as pd
from scipy.stats import t

CONFIDENCE = 0.95


def summarise(data: pd.DataFrame, *, by: Sequence[str], value: str, confidence: float = CONFIDENCE) -> pd.DataFrame:
    """Return the mean of `value` in each group, with its Student-t interval.

    Args:
        data: tidy, one row an observation.
        by: columns that make a group; the observations in it are taken as independent (seeds).
        value: column to summarise.
        confidence: of the two-sided interval.

    Returns:
        One row a group: the columns of `by`, `mean`, `low`, `high` (NaN where n = 1) and `n`.
    """
    groups = data.groupby(list(by), dropna=False, sort=False)[value]
    summary = groups.agg(mean="mean", sem="sem", n="count").reset_index()
    half = summary["sem"] * t.ppf((1 + confidence) / 2, (summary["n"] - 1).where(summary["n"] > 1))
    low, high = summary["mean"] - half, summary["mean"] + half
    return summary.assign(low=low, high=high)[[*by, "mean", "low", "high", "n"]]
