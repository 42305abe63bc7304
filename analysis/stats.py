"""Estimates, intervals and tests. Apart from drawing: plots and tables take what these functions return.

A comparison is paired: arms of one seed share initial parameters and the order of the data, so the difference of the
two is one observation, and seeds are independent. The words of its verdict follow from the numbers, in this order:

- `equivalent`: both one-sided tests of the equivalence test (TOST, Holm over the arms) reject, at 1 - confidence, that
  the difference is as large as the margin (it goes with a 90% interval, so a 95% interval may reach a little beyond);
- `better`, `worse`: the sign-flip test (Holm over the arms) rejects, at 1 - confidence, that there is no difference;
- `undecided`: neither.
"""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

CONFIDENCE = 0.95
POWER = 0.8
BOOTSTRAP_FROM = 10
"""Pairs from which on a bootstrap interval covers about as often as it says (`tests/test_stats.py`)."""
MARGIN = 0.1
"""Percentage points of accuracy: the smallest difference worth having."""

Values = npt.NDArray[np.float64]


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
    half = summary["sem"] * stats.t.ppf((1 + confidence) / 2, (summary["n"] - 1).where(summary["n"] > 1))
    low, high = summary["mean"] - half, summary["mean"] + half
    return summary.assign(low=low, high=high)[[*by, "mean", "low", "high", "n"]]


def compare(
    data: pd.DataFrame,
    *,
    arm: str,
    reference: str,
    value: str,
    seed: str = "seed",
    margin: float = MARGIN,
    confidence: float = CONFIDENCE,
) -> pd.DataFrame:
    """Compare every arm with the reference, on the seeds that both have.

    Args:
        data: tidy, one row an arm and seed.
        arm: column of the arm.
        reference: the value of `arm` that the others are compared with.
        value: column that is compared; more is better.
        seed: column that pairs.
        margin: in units of `value`.
        confidence: of the intervals; 1 - confidence is the level of the tests.

    Returns:
        One row an arm but the reference, in the order of the data: `arm`; `n`, seeds in common; `difference`, mean of
        arm minus reference, with its interval `low`, `high`; `p` (sign-flip) and `p_equivalent` (TOST),
        both after Holm; `improvement`, the share of seeds in which the arm is better, ties counted half; `seeds`, how
        many more it takes to detect a difference of the margin among so many arms (`seeds_needed`); `verdict`. NaN
        where n is too small.

    Raises:
        ValueError: the reference has no row, or an arm has a seed twice.
    """
    table = data.pivot(index=seed, columns=arm, values=value)
    if reference not in table:
        raise ValueError(f"{reference} has no runs")
    paired = {
        name: (table[name] - table[reference]).dropna().to_numpy(dtype=float)
        for name in data[arm].unique()
        if name != reference
    }
    tests = sum(len(differences) > 1 for differences in paired.values())
    rows = [{arm: name, **_estimates(differences, margin, confidence, tests)} for name, differences in paired.items()]
    columns = [arm, "n", "difference", "low", "high", "p", "p_equivalent", "improvement", "seeds"]
    result = pd.DataFrame(rows, columns=columns)
    result["p"], result["p_equivalent"] = holm(result["p"].to_numpy()), holm(result["p_equivalent"].to_numpy())
    return result.assign(verdict=[_verdict(row, 1 - confidence) for _, row in result.iterrows()])


def _estimates(differences: Values, margin: float, confidence: float, tests: int) -> dict[str, float]:
    n = len(differences)
    low, high = interval(differences, confidence)
    more = math.nan
    if n > 1:  # at the level of Holm's first step
        more = max(0, seeds_needed(differences.std(ddof=1), margin, (1 - confidence) / tests) - n)
    return {
        "n": n,
        "difference": differences.mean() if n else math.nan,
        "low": low,
        "high": high,
        "p": sign_flip(differences),
        "p_equivalent": equivalence(differences, margin),
        "improvement": ((differences > 0) + 0.5 * (differences == 0)).mean() if n else math.nan,
        "seeds": more,
    }


def _verdict(row: pd.Series, level: float) -> str:
    if row["p_equivalent"] < level:
        return "equivalent"
    if row["p"] < level:
        return "better" if row["difference"] > 0 else "worse"
    return "undecided"


def interval(differences: Values, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Return the interval of the mean: BCa bootstrap, or Student's t below `BOOTSTRAP_FROM` differences.

    NaN where n < 2, a point where all are equal.
    """
    n = len(differences)
    if n < 2:
        return math.nan, math.nan
    if np.ptp(differences) == 0:
        return float(differences[0]), float(differences[0])
    if n < BOOTSTRAP_FROM:
        low, high = stats.t.interval(confidence, n - 1, loc=differences.mean(), scale=stats.sem(differences))
        return float(low), float(high)
    result = stats.bootstrap(
        (differences,), np.mean, confidence_level=confidence, method="BCa", n_resamples=9999,
        random_state=np.random.default_rng(0),
    )  # fmt: skip
    return float(result.confidence_interval.low), float(result.confidence_interval.high)


def interval_name(n: Sequence[int]) -> str:
    """Return what `interval` returns for these numbers of differences, in words."""
    if min(n) >= BOOTSTRAP_FROM:
        return "BCa interval"
    return "t-interval" if max(n) < BOOTSTRAP_FROM else f"interval (BCa; t below {BOOTSTRAP_FROM} pairs)"


def sign_flip(differences: Values) -> float:
    """Return the two-sided p-value of the sign-flip permutation test of no difference; exact up to n = 13."""
    if len(differences) < 2:
        return math.nan
    result = stats.permutation_test(
        (differences,), np.mean, permutation_type="samples", n_resamples=9999, vectorized=True,
        random_state=np.random.default_rng(0),
    )  # fmt: skip
    return float(result.pvalue)


def equivalence(differences: Values, margin: float = MARGIN) -> float:
    """Return the p-value of the two one-sided t-tests (TOST; Schuirmann 1987) that |difference| >= margin."""
    if len(differences) < 2:
        return math.nan
    if np.ptp(differences) == 0:
        return 0.0 if abs(differences[0]) < margin else 1.0
    below = stats.ttest_1samp(differences, margin, alternative="less").pvalue
    above = stats.ttest_1samp(differences, -margin, alternative="greater").pvalue
    return float(max(below, above))


def holm(p: Values) -> Values:
    """Return p-values adjusted for their number (Holm 1979); NaN stays and does not count."""
    adjusted = np.full(len(p), math.nan)
    given = np.flatnonzero(~np.isnan(p))
    order = given[np.argsort(p[given])]
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * factors), 1)
    return adjusted


def seeds_needed(deviation: float, margin: float, level: float, power: float = POWER) -> int:
    """Return the least n at which a paired t-test detects a difference of `margin`, and the sign-flip test can.

    Both are two-sided; the sign-flip test's least p-value is 2 ** (1 - n).

    Args:
        deviation: standard deviation of the differences.
        margin: the true difference.
        level: of the tests.
        power: the probability of detecting it.
    """
    least = 2 + math.floor(-math.log2(level))
    if deviation * 10 < margin:  # certain; and scipy's nct is NaN far out
        return least
    z_test: int = math.floor(((stats.norm.isf(level / 2) + stats.norm.ppf(power)) * deviation / margin) ** 2)
    if z_test > 1_000_000:  # then a t-test is one
        return z_test
    sizes = range(max(least, z_test), 2 * z_test + 1_000)  # a t-test needs some more than a z-test
    return next((n for n in sizes if _power(n, margin / deviation, level) >= power), sizes.stop)


def _power(n: int, effect: float, level: float) -> float:
    """Return the power of a two-sided paired t-test at an effect in standard deviations of the differences."""
    critical, shift = stats.t.isf(level / 2, n - 1), effect * math.sqrt(n)
    return float(stats.nct.sf(critical, n - 1, shift) + stats.nct.cdf(-critical, n - 1, shift))
