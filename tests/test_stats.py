import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.stats import summarise


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
