import itertools
import math
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.stats import compare, seeds_needed, step_down, summarise

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
    summary = summarise(data, by=["arm", "epoch"], value="x")
    for row, sample in zip(summary.itertuples(), values, strict=True):
        low, high = stats.t.interval(0.95, 6, loc=sample.mean(), scale=stats.sem(sample))
        assert (row.low, row.high, row.mean) == pytest.approx((low, high, sample.mean()))


def test_one_observation_has_no_interval() -> None:
    summary = summarise(pd.DataFrame({"arm": ["a"], "x": [1.0]}), by=["arm"], value="x").iloc[0]
    assert summary["mean"] == 1 and summary["n"] == 1
    assert math.isnan(summary["low"]) and math.isnan(summary["high"])


SAMPLES: dict[str, Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]] = {
    "normal": lambda chance, size: chance.normal(size=size),
    "skewed": lambda chance, size: chance.gamma(6, size=size) - 6,
    "heavy-tailed": lambda chance, size: chance.standard_t(4, size=size),
    "discrete": lambda chance, size: (chance.binomial(300, 0.02, size) - chance.binomial(300, 0.02, size)) / 100,
}
"""Differences with a mean of 0; the discrete ones are those of two accuracies."""
LEAST = 0.925
"""How often a 95% interval of 10 differences covers the mean, at least; 4,000 samples tell it to within 0.4 points."""


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize("n", [3, 6, 10, 20])
def test_a_95_percent_interval_covers_95_percent(name: str, n: int) -> None:
    draws = SAMPLES[name](np.random.default_rng(n), (4000, n))
    data = pd.DataFrame({"sample": np.repeat(np.arange(4000), n), "x": draws.ravel()})
    summary = summarise(data, by=["sample"], value="x")
    covered = ((summary["low"] <= 1e-12) & (summary["high"] >= -1e-12)).mean()
    assert LEAST < covered < 0.97


@pytest.mark.slow
@pytest.mark.parametrize("name", SAMPLES)
def test_a_bootstrap_interval_would_not(name: str) -> None:
    draws = SAMPLES[name](np.random.default_rng(10), (4000, 10))
    chance = np.random.default_rng(0)
    bca = stats.bootstrap((draws,), np.mean, axis=1, n_resamples=2000, batch=50, method="BCa", random_state=chance)
    covered = (bca.confidence_interval.low <= 0) & (bca.confidence_interval.high >= 0)
    assert covered.mean() < LEAST - 0.015


def frame(**arms: list[float]) -> pd.DataFrame:
    return pd.DataFrame(
        [{"arm": arm, "seed": seed, "x": value} for arm, values in arms.items() for seed, value in enumerate(values)]
    )


def test_of_one_hypothesis_the_p_value_is_the_share_of_all_sign_patterns() -> None:
    mean = abs(DIFFERENCES.mean())
    patterns = np.array(list(itertools.product((1, -1), repeat=len(DIFFERENCES))))
    means = (patterns * DIFFERENCES).mean(axis=1)
    column = DIFFERENCES[:, None]
    assert step_down(column, two_sided=True) == pytest.approx([(np.abs(means) >= mean - 1e-12).mean()])
    assert step_down(column, two_sided=False) == pytest.approx([(means >= mean - 1e-12).mean()])
    assert step_down(np.array([[1.0]] * 3), two_sided=True) == [2 / 8]  # only +++ and --- are as extreme


def westfall_young(observations: np.ndarray, side: str) -> list[float]:
    """Return the step-down p-values, one pattern of signs, one hypothesis at a time (Westfall & Young 1993)."""
    kept = [~np.isnan(column) for column in observations.T]

    def chances(signs: np.ndarray) -> list[float]:
        flipped = [signs[there] * column[there] for there, column in zip(kept, observations.T, strict=True)]
        return [stats.ttest_1samp(column, 0, alternative=side).pvalue for column in flipped]

    own = chances(np.ones(len(observations)))
    order, all_signs = np.argsort(own), itertools.product((1, -1), repeat=len(observations))
    under_null = [chances(np.array(signs)) for signs in all_signs]
    adjusted, before = [0.0] * len(own), 0.0
    for place, hypothesis in enumerate(order):
        least = [min(chance[other] for other in order[place:]) for chance in under_null]
        before = max(before, float(np.mean([value <= own[hypothesis] * (1 + 1e-9) for value in least])))
        adjusted[hypothesis] = before
    return adjusted


@pytest.mark.parametrize(("two_sided", "side"), [(True, "two-sided"), (False, "greater")])
def test_several_hypotheses_step_down_as_westfall_and_young_have_it(two_sided: bool, side: str) -> None:
    chance = np.random.default_rng(3)
    observations = chance.normal([0, 0.5, 1, 1.5], size=(7, 4)) - chance.normal(size=(7, 1))
    observations[0, 1] = math.nan  # a seed that one of them lacks
    assert step_down(observations, two_sided=two_sided) == pytest.approx(westfall_young(observations, side))


def test_of_many_seeds_patterns_are_drawn() -> None:
    observations = np.random.default_rng(2).normal(0.4, 1, size=(20, 1))
    expected = stats.permutation_test((observations[:, 0],), np.mean, permutation_type="samples", n_resamples=200_000,
                                      random_state=np.random.default_rng(5)).pvalue  # fmt: skip
    assert step_down(observations, two_sided=True) == pytest.approx([expected], abs=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["normal", "heavy-tailed", "discrete"])
@pytest.mark.parametrize("different", [0, 3])
def test_a_family_is_wrong_as_often_as_stated_and_no_oftener(name: str, different: int) -> None:
    # 8 arms of which the first ones differ, 9 seeds; the reference is that of all
    chance, families, wrong = np.random.default_rng(1), 1500, 0
    for _ in range(families):
        arms = SAMPLES[name](chance, (9, 8))
        differences = arms - SAMPLES[name](chance, (9, 1))
        differences[:, :different] += 3 * differences.std()
        wrong += step_down(differences, two_sided=True)[different:].min() < 0.05
    error = math.sqrt(0.05 * 0.95 / families)
    assert 0.05 - 4 * error < wrong / families < 0.05 + 3 * error


@pytest.mark.slow
def test_no_oftener_than_stated_is_an_arm_at_the_margin_called_equivalent() -> None:
    chance, families, wrong = np.random.default_rng(1), 300, 0
    for _ in range(families):
        base = chance.normal(size=9)
        arms = {f"arm{k}": base + (1 if k % 2 else -1) + chance.normal(0, 0.5, size=9) for k in range(6)}
        data = frame(base=list(base), **{arm: list(values) for arm, values in arms.items()})
        verdicts = compare(data, arm="arm", reference="base", value="x", margin=1)["verdict"]
        wrong += verdicts.str.contains("equivalent|less than").any()
    assert wrong / families < 0.025 + 3 * math.sqrt(0.025 * 0.975 / families)


def test_arms_with_too_few_seeds_to_decide_cost_the_others_nothing() -> None:
    base = list(np.random.default_rng(0).normal(size=8))
    better = [value + 1 + 0.1 * place for place, value in enumerate(base)]
    few = [value + 5 for value in base[:5]]
    rows = compare(frame(base=base, better=better, few=few), arm="arm", reference="base", value="x").set_index("arm")
    alone = compare(frame(base=base, better=better), arm="arm", reference="base", value="x").set_index("arm")
    assert rows.loc["better", "p"] == alone.loc["better", "p"] == 2 / 2**8
    assert rows["verdict"].tolist() == ["better", "cannot decide with n < 6"] and math.isnan(rows.loc["few", "p"])


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
    assert 2 ** (1 - n) < level <= 2 ** (2 - n)  # of equal differences, +++... and ---... are as extreme


def test_a_comparison_pairs_by_seed() -> None:
    data = frame(base=[1.0, 2, 3, 4], arm=[1.5, 2.5, 3.5]).sample(frac=1, random_state=0)  # seed 3 has no partner
    row = compare(data, arm="arm", reference="base", value="x").iloc[0]
    assert (row["n"], row["difference"], row["low"], row["high"], row["improvement"]) == (3, 0.5, 0.5, 0.5, 1)
    with pytest.raises(ValueError, match="no runs"):
        compare(data, arm="arm", reference="other", value="x")


def test_ties_count_half() -> None:
    row = compare(frame(base=[1.0, 1, 1, 1], arm=[1.0, 2, 0, 2]), arm="arm", reference="base", value="x").iloc[0]
    assert row["improvement"] == (0.5 + 1 + 0 + 1) / 4


def verdicts_of(margin: float | None = 0.1, **differences: np.ndarray) -> pd.DataFrame:
    """Return the comparison of arms that differ so from the reference."""
    base = np.random.default_rng(0).normal(98, 0.2, size=20)
    arms = {arm: list(base + more) for arm, more in differences.items()}
    data = frame(base=list(base), **arms)
    return compare(data, arm="arm", reference="base", value="x", margin=margin).set_index("arm")


def test_verdicts_are_on_both_axes() -> None:
    chance = np.random.default_rng(0)
    small, wide = chance.normal(0, 0.05, size=20), chance.normal(0, 0.6, size=20)
    small -= small.mean()
    result = verdicts_of(better=0.5 + small, worse=small - 0.5, slightly=small + 0.05, down=small - 0.05,
                         equivalent=small, undecided=wide)  # fmt: skip
    less = "by less than the margin"
    assert result["verdict"].tolist() == ["better", "worse", f"better, but {less}", f"worse, but {less}",
                                          "equivalent", "undecided"]  # fmt: skip
    for column in ("low", "high"):  # what is said is what the interval shows
        t = stats.t.interval(0.95, 19, loc=wide.mean(), scale=stats.sem(wide))[column == "high"]
        assert result.loc["undecided", column] == pytest.approx(t)


def test_more_seeds_are_asked_for_where_it_is_open_from_the_pooled_deviation() -> None:
    chance = np.random.default_rng(0)
    draws = {"one": chance.normal(0, 0.5, size=20), "two": chance.normal(0, 0.3, size=20)}
    result = verdicts_of(**draws, better=np.linspace(0.9, 1.1, 20))
    assert result["verdict"].tolist() == ["undecided", "undecided", "better"]
    arms = [*draws.values(), np.linspace(0.9, 1.1, 20)]
    pooled = math.sqrt(np.mean([arm.var(ddof=1) for arm in arms]))
    upper = pooled * math.sqrt(19 / stats.chi2.ppf(0.05, 19))
    for column, deviation in (("seeds", pooled), ("seeds_high", upper)):
        assert result[column].tolist()[:2] == [seeds_needed(deviation, 0.1, 0.05 / 2) - 20] * 2
        assert math.isnan(result.loc["better", column])


def test_the_deviation_is_that_of_the_arms_that_share_a_reference() -> None:
    chance = np.random.default_rng(0)
    few, many = chance.normal(0, 1.5, size=20), chance.normal(0, 0.3, size=20)
    data = frame(base_few=[0.0] * 20, few=list(few), base_many=[0.0] * 20, many=list(many))
    pairs = {"few": "base_few", "many": "base_many"}
    rows = compare(data, arm="arm", reference=pairs, value="x", margin=0.1).set_index("arm")
    for arm, own in (("few", few), ("many", many)):
        assert rows.loc[arm, "verdict"] == "undecided"
        assert rows.loc[arm, "seeds"] == seeds_needed(own.std(ddof=1), 0.1, 0.05 / 2) - 20


@pytest.mark.slow
def test_the_bound_of_the_seeds_is_one() -> None:
    chance, true, enough = np.random.default_rng(4), seeds_needed(math.sqrt(2), 1, 0.05 / 4), 0
    for _ in range(150):
        arms = chance.normal(size=(5, 7))  # the deviation of a difference is sqrt(2)
        data = frame(base=list(arms[0]), **{f"arm{k}": list(arms[k]) for k in range(1, 5)})
        row = compare(data, arm="arm", reference="base", value="x", margin=1)
        few = row[row["verdict"] == "undecided"]
        enough += bool(len(few) < 4 or (few["seeds_high"] + 7 >= true).all())
    assert enough / 150 > 0.95 - 3 * math.sqrt(0.05 * 0.95 / 150)


def test_two_observations_have_no_interval() -> None:
    two = pd.DataFrame({"arm": ["a", "a"], "x": [1.0, 2.0]})
    assert summarise(two, by=["arm"], value="x")[["low", "high"]].isna().all(axis=None)


def test_each_arm_may_have_its_own_reference() -> None:
    base = np.arange(6.0)
    data = frame(base1=list(base), base2=list(10 * base), arm1=list(base + 1), arm2=list(10 * base + 2), third=[0.0])
    pairs = {"arm1": "base1", "arm2": "base2"}
    both = compare(data, arm="arm", reference=pairs, value="x").set_index("arm")
    assert both["difference"].to_dict() == {"arm1": 1, "arm2": 2}
    assert both["p"].tolist() == [2 / 2**6] * 2  # both are greatest where all signs are equal


@pytest.mark.parametrize(
    ("direction", "verdicts", "improvement"),
    [(1, ["better", "worse"], [1, 0]), (-1, ["worse", "better"], [0, 1]), (0, ["higher", "lower"], [1, 0])],
)
def test_verdicts_know_which_way_is_better(direction: int, verdicts: list[str], improvement: list[float]) -> None:
    base = np.random.default_rng(0).normal(size=12)
    data = frame(base=list(base), more=list(base + 1), less=list(base - 1))
    result = compare(data, arm="arm", reference="base", value="x", direction=direction)
    assert result["verdict"].tolist() == verdicts and result["improvement"].tolist() == improvement


def test_without_a_margin_nothing_is_equivalent() -> None:
    row = compare(frame(base=[1.0] * 12, same=[1.0] * 12), arm="arm", reference="base", value="x").iloc[0]
    assert row["verdict"] == "undecided" and math.isnan(row["p_equivalent"]) and math.isnan(row["seeds"])


def test_one_seed_decides_nothing() -> None:
    row = compare(frame(base=[1.0], arm=[2.0]), arm="arm", reference="base", value="x").iloc[0]
    assert row["n"] == 1 and row["difference"] == 1 and row["verdict"] == "cannot decide with n < 6"
    assert math.isnan(row["low"]) and math.isnan(row["p"]) and math.isnan(row["seeds"])
