"""Estimates, intervals and tests. Apart from drawing: plots and tables take what these functions return.

A comparison is paired: arms of one seed share initial parameters and the order of the data, so the difference of the
two is one observation, and seeds are independent. Arms that are compared side by side are a family: in at most 5% of
all families any arm without a difference is said to have one, and in no more any arm beyond the margin to be within
(`step_down`). Nothing is claimed that the interval shown does not show:

- `better`, `worse` (`higher`, `lower`, where nobody says which is better): the interval leaves out 0, and the family's
  test of no difference rejects;
- `equivalent`: the interval lies within the margin, and the family's test of equivalence rejects;
- `better, but by less than the margin` (or `worse`, ...): both;
- `undecided`: neither, and `cannot decide with n < 6` where no data could: the sign-flip test's least p-value is
  2 ** (1 - n).
"""

import itertools
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
EXACT = 13
"""Seeds up to which all patterns of signs are gone through; of more, 10,000 of them are drawn."""
VERDICTS = {1: ("better", "worse"), -1: ("worse", "better"), 0: ("higher", "lower")}
"""Direction in which a metric is better -> the verdicts of a positive and of a negative difference."""

Values = npt.NDArray[np.float64]


def summarise(data: pd.DataFrame, *, by: Sequence[str], value: str) -> pd.DataFrame:
    """Return one row a group: the columns `by`, `mean` of `value`, its 95% t-interval `low`, `high`, `n`.

    `data` has one row an observation; those of a group are taken as independent (seeds). The interval is NaN where
    n < `FEWEST`.
    """
    table = data.groupby(list(by), dropna=False, sort=False)[value].agg(mean="mean", sem="sem", n="count").reset_index()
    half = _half_width(table["sem"], table["n"])
    return table.assign(low=table["mean"] - half, high=table["mean"] + half)[[*by, "mean", "low", "high", "n"]]


def _half_width(sem: pd.Series, n: pd.Series, level: float = LEVEL) -> pd.Series:
    """Return half the width of Student's interval of means with these standard errors."""
    half: pd.Series = sem * stats.t.isf(level / 2, (n - 1).where(n >= FEWEST))
    return half


def decidable(level: float = LEVEL) -> int:
    """Return the number of pairs from which on the sign-flip test can reject at this level."""
    return 2 + math.floor(-math.log2(level))


def compare(
    data: pd.DataFrame, *, arm: str, reference: str | Mapping[str, str], value: str, margin: float | None = None,
    direction: int = 1, level: float = LEVEL,
) -> pd.DataFrame:  # fmt: skip
    """Compare arms with a reference, or each with its own (arm -> reference), on the seeds that both have.

    `data` has one row an arm (a value of column `arm`) and `seed`; its arms are one family. `direction`: 1 where more
    of `value` is better, -1 where less is, 0 where nobody says. The margin is in units of `value`; None: no
    equivalence is tested. The result has one row an arm that is compared, in the order of the data: `arm`; `n`, seeds
    in common; `difference`, mean of arm minus reference, with its t-interval `low`, `high`; `verdict`, and whether it
    is `decided`; `p` of no difference, the family's; `p_equivalent`, the family's too, twice the greater one of the
    two one-sided tests', so that as with `p` it is the 95% interval that goes with 0.05; `improvement`, the share of
    seeds in which the arm is better (or has more), ties counted half; `seeds`, where it is not decided: how many more
    it takes to detect a difference of the margin (`seeds_needed`), of the standard deviation that is pooled over the
    arms that share its reference, and `seeds_high`, of its upper 95% bound. NaN where n is too small.

    Raises:
        ValueError: a reference has no row, or an arm has a seed twice.
    """
    table = data.pivot(index="seed", columns=arm, values=value)
    if isinstance(reference, str):
        reference = {name: reference for name in data[arm].unique() if name != reference}
    if lacking := set(reference.values()) - set(table):
        raise ValueError(f"{', '.join(sorted(lacking))} has no runs")
    paired = pd.DataFrame({name: table[name] - table[reference[name]] for name in data[arm].unique()
                           if name in reference}).astype(float)  # fmt: skip
    n, mean, half = paired.count(), paired.mean(), _half_width(paired.sem(), paired.count(), level)
    better = ((direction or 1) * paired > 0) + 0.5 * (paired == 0)
    result = pd.DataFrame({"n": n, "difference": mean, "low": mean - half, "high": mean + half})
    p_values = _p_values(paired.loc[:, n >= decidable(level)].dropna(how="all"), margin, LEVEL / level)
    result = result.assign(**p_values, improvement=better.where(paired.notna()).mean())
    result = result.join(_verdicts(result, margin, direction, decidable(level)))
    return result.join(_more_seeds(paired, reference, result, margin, level)).rename_axis(arm).reset_index()


def _p_values(paired: pd.DataFrame, margin: float | None, looks: float) -> dict[str, pd.Series]:
    """Return a family's p-values of no difference and of equivalence, by arm, `looks` times as great."""
    differences, arms = paired.to_numpy(), paired.columns
    sides = np.full((2, len(arms)), math.nan)
    if margin:
        both = np.hstack([margin - differences, margin + differences])
        sides = step_down(both, two_sided=False).reshape(2, -1)
    both_ways = {"p": step_down(differences, two_sided=True), "p_equivalent": 2 * sides.max(axis=0)}
    return {name: pd.Series(np.minimum(looks * values, 1), arms) for name, values in both_ways.items()}


def _verdicts(result: pd.DataFrame, margin: float | None, direction: int, fewest: int) -> pd.DataFrame:
    """Return `verdict`, the words for estimates and p-values as the module's docstring has them, and `decided`."""
    different = (result["p"] < LEVEL) & ((result["low"] > 0) | (result["high"] < 0))
    within = result[["low", "high"]].abs().max(axis="columns") < (margin or 0)
    equivalent = within & (result["p_equivalent"] < LEVEL)
    word = np.where(result["difference"] > 0, *VERDICTS[direction]).astype(object)
    undecided = np.where(result["n"] < fewest, f"cannot decide with n < {fewest}", "undecided")
    cases = [different & equivalent, different, equivalent]
    words = np.select(cases, [word + ", but by less than the margin", word, "equivalent"], undecided.astype(object))
    return pd.DataFrame({"verdict": words, "decided": different | equivalent}, result.index)


def _more_seeds(
    paired: pd.DataFrame, reference: Mapping[str, str], result: pd.DataFrame, margin: float | None, level: float
) -> pd.DataFrame:
    """Return `seeds` and `seeds_high` of the arms that are not decided.

    The level is what the arms that do not differ leave for each. The standard deviation is pooled over the arms that
    share a reference: those of another learning rate or number of examples spread otherwise. Its bound counts them as
    one.
    """
    answers, undecided = pd.DataFrame(math.nan, paired.columns, ["seeds", "seeds_high"]), ~result["decided"]
    level /= max(1, (undecided | (result["verdict"] == "equivalent")).sum())
    for _, arms in paired.columns.to_series().groupby(lambda arm: reference[arm]):
        own = paired[arms]
        n = own.count()
        if not margin or n.max() < 2:
            continue
        pooled = math.sqrt((own.var() * (n - 1)).sum() / (n - 1).clip(lower=0).sum())
        upper = pooled * math.sqrt((n.max() - 1) / stats.chi2.ppf(LEVEL, n.max() - 1))
        for column, deviation in zip(answers, (pooled, upper), strict=True):
            needed = seeds_needed(deviation, margin, level)
            answers.loc[arms, column] = (needed - n).clip(lower=1).where(undecided[arms])
    return answers


def step_down(observations: Values, *, two_sided: bool) -> Values:
    """Return a family's p-values of means of 0 (or, one-sided, of 0 or less): step-down max-T of joint sign flips.

    The observations are (seeds, hypotheses), NaN where a hypothesis lacks the seed. The signs of a seed are flipped
    together, which keeps the dependence of hypotheses, such as that of arms on the reference that they share (Westfall
    & Young 1993). The statistic is Student's t on the scale of its own p-value, so that hypotheses with few seeds and
    with many count alike. Any true hypothesis is rejected with at most the stated probability, whichever others are
    false, where the observations about a mean of 0 are as likely with one sign as with the other.
    """
    chance = _chances(observations, two_sided)
    order = np.argsort(chance[0], kind="stable")
    least = np.minimum.accumulate(chance[:, order[::-1]], axis=1)[:, ::-1]  # among a hypothesis and those after it
    adjusted = np.empty(len(order))
    adjusted[order] = np.maximum.accumulate((least <= chance[0, order]).mean(axis=0))
    return adjusted


def _chances(observations: Values, two_sided: bool) -> Values:
    """Return the t-test's p-value of each hypothesis (columns), of the signs as they are (first row) and flipped."""
    there = ~np.isnan(observations)
    n, own = there.sum(axis=0), np.where(there, observations, 0)
    sums = _signs(len(own)) @ own
    longest = np.sqrt(n * (own**2).sum(axis=0))  # the sum, were all observations equal
    share = np.divide(sums, longest, out=np.zeros_like(sums), where=longest > 0).round(12)  # so that ties are ties
    with np.errstate(divide="ignore"):
        t = share * np.sqrt((n - 1) / (1 - share**2))
    chance: Values = stats.t.sf(np.abs(t) if two_sided else t, n - 1)
    return chance


def _signs(seeds: int) -> Values:
    """Return patterns of signs, one a row, the first all positive: all of them up to `EXACT` seeds, else 10,000."""
    if seeds <= EXACT:
        return np.array(list(itertools.product((1.0, -1.0), repeat=seeds)))
    drawn = np.random.default_rng(0).choice((1.0, -1.0), size=(9_999, seeds))
    return np.vstack([np.ones(seeds), drawn])


def seeds_needed(deviation: float, margin: float, level: float) -> int:
    """Return the least n at which a paired t-test detects a difference of `margin`, and the sign-flip test can.

    Both are two-sided, at this level; the sign-flip test's least p-value is 2 ** (1 - n). The t-test detects it
    with probability `POWER`, where the differences have this standard deviation.
    """
    least = decidable(level)
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
