import itertools
import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.stats import compare, equivalence, holm, interval, interval_name, seeds_needed, sign_flip, summarise

DIFFERENCES = np.array([0.3, -0.1, 0.4, 0.2, 0.05, -0.02, 0.6, 0.1])


def test_the_interval_is_students_by_hand() -> None:
    # 1, 2, 3: mean 2, standard error 1/sqrt(3), t(0.975, 2) = 4.302653
    summary = summarise(pd.DataFrame({"arm": "a", "x": [1.0, 2, 3]}), by=["arm"], value="x").iloc[0]
    assert (summary["mean"], summary["n"]) == (2, 3)
    assert summary["high"] - 2 == pytest.approx(4.302653 / math.sqrt(3), rel=1e-6)
    assert 2 - summary["low"] == pytest.approx(4.302653 / math.sqrt(3), rel=1e-6)


def test_groups_equal_scipys_interval() -> None:
    values = np.random.default_rng(0).normal(size=(3, 7))
    data = pd.DataFrame({"arm": np.repeat(list("abc"), 7), "epoch": 1, "x": values.ravel()})
    summary = summarise(data, by=["arm", "epoch"], value="x", confidence=0.9)
    for row, sample in zip(summary.itertuples(), values, strict=True):
        low, high = stats.t.interval(0.9, 6, loc=sample.mean(), scale=stats.sem(sample))
        assert (row.low, row.high, row.mean) == pytest.approx((low, high, sample.mean()))


def test_one_observation_has_no_interval() -> None:
    summary = summarise(pd.DataFrame({"arm": ["a"], "x": [1.0]}), by=["arm"], value="x").iloc[0]
    assert summary["mean"] == 1 and summary["n"] == 1
    assert math.isnan(summary["low"]) and math.isnan(summary["high"])


def test_a_95_percent_interval_covers_95_percent() -> None:
    draws = np.random.default_rng(1).normal(size=(4000, 5))
    data = pd.DataFrame({"sample": np.repeat(np.arange(4000), 5), "x": draws.ravel()})
    summary = summarise(data, by=["sample"], value="x")
    covered = ((summary["low"] < 0) & (summary["high"] > 0)).mean()
    assert covered == pytest.approx(0.95, abs=0.012)  # 3.5 standard errors


def frame(**arms: list[float]) -> pd.DataFrame:
    return pd.DataFrame(
        [{"arm": arm, "seed": seed, "x": value} for arm, values in arms.items() for seed, value in enumerate(values)]
    )


def test_sign_flip_is_the_share_of_all_sign_patterns() -> None:
    mean = abs(DIFFERENCES.mean())
    patterns = np.array(list(itertools.product((1, -1), repeat=len(DIFFERENCES))))
    as_extreme = np.abs((patterns * DIFFERENCES).mean(axis=1)) >= mean - 1e-12
    assert sign_flip(DIFFERENCES) == pytest.approx(as_extreme.mean())


def test_sign_flip_of_three_equal_differences_by_hand() -> None:
    assert sign_flip(np.array([1.0, 1, 1])) == 2 / 8  # only +++ and --- are as extreme


def test_equivalence_is_two_t_tests_by_hand() -> None:
    n, mean, sd = len(DIFFERENCES), DIFFERENCES.mean(), DIFFERENCES.std(ddof=1)
    t_below = (mean - 0.5) / (sd / math.sqrt(n))
    t_above = (mean + 0.5) / (sd / math.sqrt(n))
    expected = max(stats.t.cdf(t_below, n - 1), stats.t.sf(t_above, n - 1))
    assert equivalence(DIFFERENCES, 0.5) == pytest.approx(expected)
    assert equivalence(np.array([0.05, 0.05]), 0.1) == 0
    assert equivalence(np.array([0.5, 0.5]), 0.1) == 1


def test_holm_by_hand() -> None:
    # sorted 0.01 0.02 0.03 0.5 -> times 4 3 2 1 = 0.04 0.06 0.06 0.5, never decreasing
    adjusted = holm(np.array([0.03, 0.01, math.nan, 0.5, 0.02]))
    assert adjusted[[1, 4, 0, 3]] == pytest.approx([0.04, 0.06, 0.06, 0.5])
    assert math.isnan(adjusted[2])
    assert holm(np.array([0.6, 0.9])) == pytest.approx([1, 1])


def test_interval_of_one_and_of_equal_differences() -> None:
    assert all(math.isnan(bound) for bound in interval(np.array([1.0])))
    assert interval(np.array([0.2, 0.2, 0.2])) == (0.2, 0.2)


def test_few_differences_have_students_interval_by_hand() -> None:
    # 1, 2, 3: mean 2, standard error 1/sqrt(3), t(0.975, 2) = 4.302653
    low, high = interval(np.array([1.0, 2, 3]))
    assert (2 - low, high - 2) == pytest.approx((4.302653 / math.sqrt(3),) * 2, rel=1e-6)


def test_ten_differences_have_scipys_bca_interval() -> None:
    differences = np.append(DIFFERENCES, [0.15, 0.9])
    ours = interval(differences)
    theirs = stats.bootstrap((differences,), np.mean, n_resamples=20_000, random_state=np.random.default_rng(7))
    assert ours == pytest.approx(tuple(theirs.confidence_interval), abs=0.02)  # the noise of resampling
    assert ours[1] - differences.mean() > differences.mean() - ours[0]  # skewed as the data are


def test_an_interval_says_what_it_is() -> None:
    assert interval_name([20, 10]) == "BCa interval"
    assert interval_name([3, 9]) == "t-interval"
    assert interval_name([3, 20]) == "interval (BCa; t below 10 pairs)"


@pytest.mark.slow
@pytest.mark.parametrize(("n", "least"), [(3, 0.925), (9, 0.925), (10, 0.87), (20, 0.90)])
def test_intervals_cover_at_nearly_the_stated_rate(n: int, least: float) -> None:
    # at n = 10 and 20 a bootstrap interval of the mean is known to cover a little less than 95%
    draws = np.random.default_rng(1).normal(0.3, 1, size=(400, n))
    covered = [low < 0.3 < high for low, high in map(interval, draws)]
    assert least < np.mean(covered) < 0.975


def test_seeds_needed_reaches_the_power_and_not_one_seed_earlier() -> None:
    # tables (and G*Power) give n = 34 for a paired t-test, effect size 0.5, two-sided 0.05, power 0.8
    assert seeds_needed(2.0, 1.0, 0.05) == 34
    assert seeds_needed(1e-15, 0.1, 0.05) == 6  # differences that are equal but for rounding
    n = seeds_needed(0.1, 0.1, 0.05)
    generator = np.random.default_rng(2)
    power = [
        np.mean(stats.ttest_1samp(generator.normal(0.1, 0.1, size=(4000, size)), 0, axis=1).pvalue < 0.05)
        for size in (n - 1, n)
    ]
    assert power[0] < 0.8 + 0.02 and power[1] > 0.8 - 0.02


@pytest.mark.parametrize("level", [0.05, 0.05 / 11, 0.05 / 38])
def test_seeds_needed_lets_the_sign_flip_test_reject_and_not_one_seed_earlier(level: float) -> None:
    n = seeds_needed(0.0, 1.0, level)
    assert sign_flip(np.arange(1.0, n + 1)) < level <= sign_flip(np.arange(1.0, n))


def test_a_comparison_pairs_by_seed() -> None:
    data = frame(base=[1.0, 2, 3, 4], arm=[1.5, 2.5, 3.5]).sample(frac=1, random_state=0)  # seed 3 has no partner
    row = compare(data, arm="arm", reference="base", value="x").iloc[0]
    assert (row["n"], row["difference"], row["low"], row["high"], row["improvement"]) == (3, 0.5, 0.5, 0.5, 1)
    with pytest.raises(ValueError, match="no runs"):
        compare(data, arm="arm", reference="other", value="x")


def test_ties_count_half() -> None:
    row = compare(frame(base=[1.0, 1, 1, 1], arm=[1.0, 2, 0, 2]), arm="arm", reference="base", value="x").iloc[0]
    assert row["improvement"] == (0.5 + 1 + 0 + 1) / 4


def test_verdicts_follow_the_rule() -> None:
    generator = np.random.default_rng(0)
    base = generator.normal(98, 0.2, size=20)
    small, wide = generator.normal(0, 0.05, size=20), generator.normal(0, 0.6, size=20)
    arms = {
        "base": base, "better": base + 0.5 + small, "worse": base - 0.5 + small, "equivalent": base + small,
        "undecided": base + wide,
    }  # fmt: skip
    result = compare(
        frame(**{name: list(values) for name, values in arms.items()}), arm="arm", reference="base", value="x"
    )
    assert result["verdict"].tolist() == result["arm"].tolist()
    undecided = result.set_index("arm").loc["undecided"]
    level = 0.05 / len(result)
    assert undecided["seeds"] == seeds_needed((arms["undecided"] - base).std(ddof=1), 0.1, level) - 20 > 0


def test_two_observations_have_no_interval() -> None:
    two = pd.DataFrame({"arm": ["a", "a"], "x": [1.0, 2.0]})
    assert summarise(two, by=["arm"], value="x")[["low", "high"]].isna().all(axis=None)
    assert all(math.isnan(bound) for bound in interval(np.array([1.0, 2.0])))


def test_each_arm_may_have_its_own_reference() -> None:
    data = frame(base1=[1.0, 2, 3], base2=[10.0, 20, 30], arm1=[2.0, 3, 4], arm2=[12.0, 22, 32], third=[0.0, 0, 0])
    pairs = {"arm1": "base1", "arm2": "base2"}
    both = compare(data, arm="arm", reference=pairs, value="x").set_index("arm")
    assert both["difference"].to_dict() == {"arm1": 1, "arm2": 2}
    alone = compare(data, arm="arm", reference={"arm1": "base1"}, value="x").set_index("arm")
    assert alone.loc["arm1", "p"] == 0.25 and both.loc["arm1", "p"] == 0.5  # Holm: of two comparisons


@pytest.mark.parametrize(
    ("direction", "verdicts", "improvement"),
    [(1, ["better", "worse"], [1, 0]), (-1, ["worse", "better"], [0, 1]), (0, ["higher", "lower"], [1, 0])],
)
def test_verdicts_know_which_way_is_better(direction: int, verdicts: list[str], improvement: list[float]) -> None:
    base = np.random.default_rng(0).normal(size=12)
    data = frame(base=list(base), more=list(base + 1), less=list(base - 1))
    result = compare(data, arm="arm", reference="base", value="x", margin=None, direction=direction)
    assert result["verdict"].tolist() == verdicts and result["improvement"].tolist() == improvement


def test_without_a_margin_nothing_is_equivalent() -> None:
    row = compare(frame(base=[1.0] * 12, same=[1.0] * 12), arm="arm", reference="base", value="x", margin=None).iloc[0]
    assert row["verdict"] == "undecided" and math.isnan(row["p_equivalent"]) and math.isnan(row["seeds"])


def test_one_seed_decides_nothing() -> None:
    row = compare(frame(base=[1.0], arm=[2.0]), arm="arm", reference="base", value="x").iloc[0]
    assert row["n"] == 1 and row["difference"] == 1 and row["verdict"] == "undecided"
    assert math.isnan(row["low"]) and math.isnan(row["p"]) and math.isnan(row["seeds"])
