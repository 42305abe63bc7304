from collections.abc import Callable
from typing import Any

import pytest

from weightnet.config import Config
from weightnet.dose import dose, filler, filler_share
from weightnet.net.model import WeightNet

MakeConfig = Callable[..., Config]

CASES: list[tuple[str, dict[str, Any]]] = [
    ("pool", {}), ("pool", {"params": {"fill": 0}}), ("pool", {"params": {"gain": 3, "fill": 2}}),
    ("pool", {"init": "notebook"}), ("constant", {"params": {"gain": 2}}), ("padding", {}), ("equal", {}),
    ("ones", {"params": {"gain": 0.5}}), ("noise", {}), ("shuffled", {"hidden": 50, "m": 62}), ("foreign", {}),
    ("projection", {}), ("projection", {"scale": "jl"}), ("rmp", {"init": "notebook"}),
]  # fmt: skip


@pytest.mark.parametrize(("model", "changes"), CASES)
def test_the_dose_is_that_of_networks_on_average(make_config: MakeConfig, model: str, changes: dict[str, Any]) -> None:
    squares, shares = [], []
    for seed in range(1, 31):
        me = WeightNet(make_config("mnist", model, seed=seed, **changes)).me()
        assert me is not None
        squares.append(float(me.square().sum()))
        shares.append(float(me[22:].square().sum()) / squares[-1])
    config = make_config("mnist", model, **changes)
    noisy = config.model.feedback == "projection"  # of 26 numbers: over seeds, |me|^2 varies by 28%
    assert dose(config) == pytest.approx(1 + sum(squares) / 30, rel=0.1 if noisy else 0.01)
    if filler(config) == 4:
        assert filler_share(config) == pytest.approx(sum(shares) / 30, abs=0.01)


def test_by_hand(make_config: MakeConfig) -> None:
    for dataset, count in (("mnist", 4), ("cifar", 30)):
        for model in ("pool", "constant", "foreign", "shuffled", "padding"):
            assert filler(make_config(dataset, model)) == count
        for model in ("baseline", "ones", "equal", "noise", "rmp", "bias_lr"):
            assert filler(make_config(dataset, model)) == 0
    assert dose(make_config("cifar", "ones")) == 461
    assert dose(make_config("cifar", "padding", params={"gain": 2})) == 1 + 4 * 30
    assert dose(make_config("cifar", "pool")) == pytest.approx(31.4, abs=0.1)  # measured: 30.4, of which 30 are filler
    assert filler_share(make_config("cifar", "pool")) == pytest.approx(0.987, abs=0.002)
    assert filler_share(make_config("cifar", "padding")) == 1
    assert filler_share(make_config("cifar", "pool", params={"fill": 0})) == 0
    for model in ("baseline", "twin", "wide"):
        assert dose(make_config("cifar", model)) == 1 and filler_share(make_config("cifar", model)) is None


def test_the_dose_of_the_bias_is_its_rate(make_config: MakeConfig) -> None:
    for params in ({}, {"gain": 3}, {"gain": 0}, {"multiplier": 0.5}):
        config = make_config("mnist", "bias_lr", params=params)
        assert dose(config) == pytest.approx(WeightNet(config).bias_lr, rel=0.02)


def test_of_a_feedback_of_ones_own_it_is_not_known(make_config: MakeConfig) -> None:
    config = make_config(feedback="my_file.py:Mine", resolved=False)
    assert dose(config) is None and filler_share(config) is None
