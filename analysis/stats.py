"""Estimates, intervals and tests. Apart from drawing: plots and tables take what these functions return.

A comparison is paired: arms of one seed share initial parameters and the order of the data, so the difference of the
two is one observation, and seeds are independent. The words of its verdict follow from the numbers, in this order:

- `equivalent`: both one-sided tests of the equivalence test (TOST, Holm over the arms) reject, at `LEVEL`, that
  the difference is as large as the margin (it goes with a 90% interval, so a 95% interval may reach a little beyond);
- `better`, `worse` (`higher`, `lower`, where nobody says which is better): the sign-flip test (Holm over the arms)
  rejects, at `LEVEL`, that there is no difference;
- `undecided`: neither.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

CONFIDENCE = 0.95
LEVEL = 1 - CONFIDENCE
FEWEST = 3
"""Observations from which on an interval is shown."""
POWER = 0.8
BOOTSTRAP_FROM = 10
"""Pairs from which on a bootstrap interval covers about as often as it says (`tests/test_stats.py`)."""
MARGIN = 0.1
"""Percentage points of accuracy: the smallest difference worth having."""
VERDICTS = {1: ("better", "worse"), -1: ("worse", "better"), 0: ("higher", "lower")}
"""Direction in which a metric is better -> the verdicts of a positive and of a negative difference."""

Values = npt.NDArray[np.float64]


def summarise(data: pd.DataFrame, *, by: Sequence[str], value: str, confidence: float = CONFIDENCE) -> pd.DataFrame:
    """Return one row a group: the columns `by`, `mean` of `value`, its t-interval `low`, `high`, `n`.

    `data` has one row an observation; those of a group are taken as independent (seeds). The interval is NaN where
    n < `FEWEST`.
    """
    table = data.groupby(list(by), dropna=False, sort=False)[value].agg(mean="mean", sem="sem", n="count").reset_index()
    half = table["sem"] * stats.t.ppf((1 + confidence) / 2, (table["n"] - 1).where(table["n"] >= FEWEST))
    return table.assign(low=table["mean"] - half, high=table["mean"] + half)[[*by, "mean", "low", "high", "n"]]


def compare(
    data: pd.DataFrame, *, arm: str, reference: str | Mapping[str, str], value: str, margin: float | None = MARGIN,
    direction: int = 1,
) -> pd.DataFrame:  # fmt: skip
    """Compare arms with a reference, or each with its own (arm -> reference), on the seeds that both have.

    `data` has one row an arm (a value of column `arm`) and `seed`. `direction`: 1 where more of `value` is better, -1
    where less is, 0 where nobody says. The margin is in units of `value`; None: no equivalence is tested. The result
    has one row an arm that is compared, in the order of the data: `arm`; `n`, seeds in common; `difference`, mean of
    arm minus reference, with its interval `low`, `high`; `p` (sign-flip) and `p_equivalent` (TOST), both after Holm;
    `improvement`, the share of seeds in which the arm is better (or has more), ties counted half; `seeds`, how many
    more it takes to detect a difference of the margin among so many arms (`seeds_needed`); `verdict`. NaN where n is
    too small.

    Raises:
        ValueError: a reference has no row, or an arm has a seed twice.
    """
    table = data.pivot(index="seed", columns=arm, values=value)
    if isinstance(reference, str):
        reference = {name: reference for name in data[arm].unique() if name != reference}
    if lacking := set(reference.values()) - set(table):
        raise ValueError(f"{', '.join(sorted(lacking))} has no runs")
    others = [name for name in data[arm].unique() if name in reference]
    paired = [(table[name] - table[reference[name]]).dropna().to_numpy(dtype=float) for name in others]
    tests = sum(len(differences) > 1 for differences in paired)
    result = pd.DataFrame([_estimates(differences, margin, tests, direction or 1) for differences in paired])
    result.insert(0, arm, others)
    for p in ("p", "p_equivalent"):
        result[p] = holm(result[p].to_numpy(dtype=float))
    equivalent, different, more = result["p_equivalent"] < LEVEL, result["p"] < LEVEL, result["difference"] > 0
    words = ["equivalent", *VERDICTS[direction]]
    return result.assign(verdict=np.select([equivalent, different & more, different], words, "undecided"))


def _estimates(differences: Values, margin: float | None, tests: int, sign: int) -> dict[str, float]:
    n, (low, high) = len(differences), interval(differences)
    level = LEVEL / tests if tests else LEVEL  # Holm's first step
    return {
        "n": n,
        "difference": differences.mean() if n else math.nan,
        "low": low,
        "high": high,
        "p": sign_flip(differences),
        "p_equivalent": equivalence(differences, margin) if margin else math.nan,
        "improvement": ((sign * differences > 0) + 0.5 * (differences == 0)).mean() if n else math.nan,
        "seeds": max(0, seeds_needed(differences.std(ddof=1), margin, level) - n) if margin and n > 1 else math.nan,
    }


def interval(differences: Values) -> tuple[float, float]:
    """Return the 95% interval of the mean: BCa bootstrap, or Student's t below `BOOTSTRAP_FROM` differences.

    NaN where n < `FEWEST`, a point where all are equal.
    """
    n = len(differences)
    if n < FEWEST:
        return math.nan, math.nan
    if _all_equal(differences):
        low = high = differences[0]
    elif n < BOOTSTRAP_FROM:
        low, high = stats.t.interval(CONFIDENCE, n - 1, loc=differences.mean(), scale=stats.sem(differences))
    else:
        chance = np.random.default_rng(0)
        low, high = stats.bootstrap((differences,), np.mean, method="BCa", random_state=chance).confidence_interval
    return float(low), float(high)


def _all_equal(differences: Values) -> bool:
    """Tell whether they are equal but for rounding: nothing is to be learnt from that about their spread."""
    return bool(np.ptp(differences) <= 1e-9 * np.abs(differences).max())


def interval_name(n: Sequence[int]) -> str:
    """Return what `interval` returns for these numbers of differences, in words."""
    if min(n) >= BOOTSTRAP_FROM:
        return "BCa interval"
    return "t-interval" if max(n) < BOOTSTRAP_FROM else f"interval (BCa; t below {BOOTSTRAP_FROM} pairs)"


def sign_flip(differences: Values) -> float:
    """Return the two-sided p-value of the sign-flip permutation test of no difference; exact up to n = 13."""
    if len(differences) < 2:
        return math.nan
    chance = np.random.default_rng(0)
    result = stats.permutation_test((differences,), np.mean, permutation_type="samples", random_state=chance)
    return float(result.pvalue)


def equivalence(differences: Values, margin: float = MARGIN) -> float:
    """Return the p-value of the two one-sided t-tests (TOST; Schuirmann 1987) that |difference| >= margin."""
    if len(differences) < 2:
        return math.nan
    if _all_equal(differences):
        return 0.0 if abs(differences[0]) < margin else 1.0
    tests = ((margin, "less"), (-margin, "greater"))
    return float(max(stats.ttest_1samp(differences, bound, alternative=side).pvalue for bound, side in tests))


def holm(p: Values) -> Values:
    """Return p-values adjusted for their number (Holm 1979); NaN stays and does not count."""
    adjusted, order = np.empty(len(p)), np.argsort(p)  # NaN comes last, and stays what it is
    factors = np.count_nonzero(~np.isnan(p)) - np.arange(len(p))
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * factors), 1)
    return adjusted


def seeds_needed(deviation: float, margin: float, level: float) -> int:
    """Return the least n at which a paired t-test detects a difference of `margin`, and the sign-flip test can.

    Both are two-sided, at this level; the sign-flip test's least p-value is 2 ** (1 - n). The t-test detects it
    with probability `POWER`, where the differences have this standard deviation.
    """
    least = 2 + math.floor(-math.log2(level))
    if deviation * 10 < margin:  # certain; and scipy's nct is NaN far out
        return least
    z_test: int = math.floor(((stats.norm.isf(level / 2) + stats.norm.ppf(POWER)) * deviation / margin) ** 2)
    if z_test > 1_000_000:  # then a t-test is one
        return z_test
    sizes = range(max(least, z_test), 2 * z_test + 1_000)  # a t-test needs some more than a z-test
    return next((n for n in sizes if _power(n, margin / deviation, level) >= POWER), sizes.stop)


def _power(n: int, effect: float, level: float) -> float:
    """Return the power of a two-sided paired t-test at an effect in standard deviations of the differences."""
    critical, shift = stats.t.isf(level / 2, n - 1), effect * math.sqrt(n)
    return float(stats.nct.sf(critical, n - 1, shift) + stats.nct.cdf(-critical, n - 1, shift))
