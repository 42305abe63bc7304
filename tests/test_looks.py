from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.looks import compare_at_looks, level_of_looks
from analysis.stats import LEVEL, compare, step_down


def frame(arms: dict[str, np.ndarray]) -> pd.DataFrame:
    return pd.concat(
        [pd.DataFrame({"arm": arm, "seed": np.arange(len(x)), "x": x}) for arm, x in arms.items()], ignore_index=True
    )


def looks(*sizes: int) -> list[list[int]]:
    return [list(range(size)) for size in sizes]


# Jennison & Turnbull, Group Sequential Methods (2000), table 2.1: Pocock's critical values at 5%, two-sided
@pytest.mark.parametrize(("number", "critical"), [(1, 1.960), (2, 2.178), (3, 2.289), (4, 2.361), (5, 2.413)])
def test_the_level_of_equally_spaced_looks_is_pococks(number: int, critical: float) -> None:
    sizes = [10 * (k + 1) for k in range(number)]
    assert stats.norm.isf(level_of_looks(sizes) / 2) == pytest.approx(critical, abs=6e-4)


@pytest.mark.parametrize("sizes", [[8, 16, 24], [6, 20], [7, 8, 40]])
def test_over_all_looks_the_error_is_that_of_one(sizes: list[int]) -> None:
    sums = np.random.default_rng(0).normal(size=(200_000, sizes[-1])).cumsum(axis=1)
    critical = stats.norm.isf(level_of_looks(sizes) / 2)
    rejected = np.any([np.abs(sums[:, n - 1]) > critical * np.sqrt(n) for n in sizes], axis=0)
    assert rejected.mean() == pytest.approx(LEVEL, abs=0.0015)  # three standard errors


def test_more_hypotheses_cost_more_but_never_more_than_bonferroni() -> None:
    levels = [level_of_looks([8, 16], hypotheses) for hypotheses in (1, 2, 10, 1000)]
    assert all(more > less for more, less in pairwise(levels))
    assert levels[-1] > LEVEL / 2


@pytest.mark.slow
def test_of_families_without_differences_any_look_finds_one_in_5_percent() -> None:
    chance, families, sizes = np.random.default_rng(1), 2000, [7, 8, 10]
    level = level_of_looks(sizes, 3)
    wrong = 0
    for _ in range(families):
        differences = chance.normal(size=(10, 3)) - chance.normal(size=(10, 1))  # from the reference that they share
        wrong += any(step_down(differences[:size], two_sided=True).min() < level for size in sizes)
    assert 0.025 < wrong / families < LEVEL + 0.015  # three standard errors


@pytest.mark.parametrize("sizes", [[8, 16, 24], [7, 10]])
def test_the_intervals_of_all_looks_cover_at_once_in_95_percent(sizes: list[int]) -> None:
    draws, level = np.random.default_rng(2).normal(size=(40_000, sizes[-1])), level_of_looks(sizes)
    covered = np.all([stats.ttest_1samp(draws[:, :n], 0, axis=1).pvalue > level for n in sizes], axis=0)
    assert covered.mean() == pytest.approx(0.95, abs=0.0045)  # z and t differ by a little


def looked_at(data: pd.DataFrame, *sizes: int, **asked: Any) -> pd.DataFrame:
    """Compare all arms with `base`, at looks at so many seeds, of 0, 1, 2, ..."""
    reference = {arm: "base" for arm in data["arm"].unique() if arm != "base"}
    asked = {"hypotheses": len(reference), "arm": "arm", "reference": reference, "value": "x", **asked}
    return compare_at_looks(data, looks(*sizes), **asked)


def test_an_arm_is_compared_at_the_look_that_decided_it_and_another_goes_on() -> None:
    chance = np.random.default_rng(3)
    base = chance.normal(size=16)
    clear, unclear = base + 5 + chance.normal(size=16), base + chance.normal(size=16)
    clear[8:] -= 50  # what comes after the look is not asked
    table = looked_at(frame({"base": base, "clear": clear, "unclear": unclear}), 8, 16)
    assert table["arm"].tolist() == ["clear", "unclear"] and table["n"].tolist() == [8, 16]
    assert table["decided"].tolist() == [True, False] and table["verdict"].tolist() == ["better", "undecided"]
    assert table["seeds"].isna().all()
    assert table["difference"][0] == pytest.approx((clear - base)[:8].mean())
    half = stats.t.isf(level_of_looks([8, 16], 2) / 2, 7) * stats.sem((clear - base)[:8])
    assert table["high"][0] - table["difference"][0] == pytest.approx(half)


def test_the_p_values_of_looks_are_those_of_one_look_but_for_the_level() -> None:
    values = np.random.default_rng(4).normal(0.4, size=8)
    data = frame({"base": np.zeros(8), "arm": values})
    one = compare(data, arm="arm", reference="base", value="x", margin=2).iloc[0]
    first = looked_at(data, 8, 16, margin=2).iloc[0]
    times = LEVEL / level_of_looks([8, 16])
    assert first["p"] == pytest.approx(min(1, one["p"] * times)) and one["p"] < 1 / times
    assert first["p_equivalent"] == pytest.approx(one["p_equivalent"] * times)


def test_arms_that_have_not_run_yet_count_in_the_level() -> None:
    data = frame({"base": np.zeros(8), "arm": np.random.default_rng(4).normal(0.4, size=8)})
    alone, of_three = looked_at(data, 8, 16).iloc[0], looked_at(data, 8, 16, hypotheses=3).iloc[0]
    assert of_three["low"] < alone["low"] and of_three["high"] > alone["high"]


def test_between_two_looks_nothing_is_decided_and_the_verdict_says_so() -> None:
    clear = 5 + np.random.default_rng(5).normal(size=11)
    data = frame({"base": np.zeros(11), "arm": clear})
    assert looked_at(data[data["seed"] != 3], 8, 16)["decided"].tolist() == [False]  # 10 seeds, 7 of the first look
    assert looked_at(data[data["seed"] != 3], 8, 16)["verdict"].tolist() == ["better (not at a look)"]
    eight = data[data["seed"].isin([0, 1, 2, 3, 4, 5, 6, 10])]  # as many as at a look, but not those
    assert looked_at(eight, 8, 16)["verdict"].tolist() == ["better (not at a look)"]


def test_an_arm_without_further_seeds_stands_at_the_look_before() -> None:
    data = frame({"base": np.zeros(16), "arm": np.random.default_rng(5).normal(size=16)})
    stopped = data[(data["arm"] == "base") | (data["seed"] < 8)]
    assert looked_at(stopped, 8, 16)["verdict"].tolist() == ["undecided"]


def test_seeds_beyond_the_last_look_are_not_looked_at() -> None:
    data = frame({"base": np.zeros(20), "arm": np.random.default_rng(6).normal(size=20)})
    assert looked_at(data, 8, 16)["n"].tolist() == [16]
    assert looked_at(data[data["seed"] >= 16], 8, 16).empty


def test_an_arm_whose_reference_has_not_run_waits() -> None:
    data = frame({"base": np.zeros(16), "arm": np.random.default_rng(7).normal(size=16)})
    later = data[(data["arm"] != "base") | (data["seed"] >= 8)]
    assert looked_at(later, 8, 16)["n"].tolist() == [8]  # of the last look's pairs
    assert looked_at(later, 8, 16)["decided"].tolist() == [False]
    assert looked_at(data[data["arm"] != "base"], 8, 16, reference={"arm": "base"}).empty
