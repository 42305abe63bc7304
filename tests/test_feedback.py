import inspect
import math
from collections.abc import Callable

import naive
import pytest
import torch

from weightnet.config import PARAMS, Config
from weightnet.geometry import carried, dropped
from weightnet.net.data import Dataset, Split
from weightnet.net.feedback import PoolFeedback, ProjectionFeedback, bias_rate_of_constant
from weightnet.net.model import WeightNet
from weightnet.net.training import build_optimizer, evaluate, fit, train_step
from weightnet.registry import FEEDBACKS, locate

MakeConfig = Callable[..., Config]


def test_pool_by_hand() -> None:
    # b=4, a+dx=6, c=4; kernel (n, m) = (2, 3): 2 x 2 from fc1, 2 x 2 from fc2 transposed, then ones up to dx=10
    weight1 = torch.tensor(
        [[1.0, 2, 3, 4, 5, 6], [0, 0, 9, 0, 0, 0], [-1, -2, -3, -4, -5, -6], [-9, -9, -9, -9, -9, -9]]
    )
    weight2 = torch.tensor([[1.0, 2, 3, 4], [5, 6, 7, 8], [-1, -2, -3, -4], [-5, -6, -7, -8]])
    me = PoolFeedback(dx=10, m=3, n=2)(weight1, weight2)
    assert me.tolist() == [9, 6, 6, -1, -1, -4, 8, -3, 1, 1]


def test_projection_by_hand() -> None:
    # b=2, a+dx=1, c=1: the row-by-row vector of [fc1.weight | fc2.weight transposed] is 1, 3, 2, 4
    weight1, weight2 = torch.tensor([[1.0], [2.0]]), torch.tensor([[3.0, 4.0]])
    P = torch.tensor([[1.0, 10, 100, 1000], [1, 0, 0, 0]])
    feedback = ProjectionFeedback(2, "dense", "xavier")
    feedback.hold({"P": P})
    assert feedback(weight1, weight2).tolist() == [1 + 30 + 200 + 4000, 1]


def test_dropped_rows_are_said(make_config: MakeConfig) -> None:
    note = dropped(make_config("mnist", "pool"))
    assert note == "pooling drops the last 10 of 60 rows and 0 columns of fc1.weight (floor)"
    assert dropped(make_config("mnist", "pool", hidden=50)) is None
    assert dropped(make_config("cifar", "pool")) is None
    assert dropped(make_config("mnist", "baseline")) is None


def test_carried_weights_are_the_notebooks_dw(make_config: MakeConfig) -> None:
    assert carried(make_config("mnist", "pool")) == 22
    assert carried(make_config("cifar", "pool")) == 430
    assert carried(make_config("cifar", "rmp")) == 460
    assert carried(make_config("cifar", "baseline")) == 0


def me(config: Config) -> torch.Tensor:
    vector = WeightNet(config).me()
    assert vector is not None
    return vector


def random_split(count: int) -> Split:
    generator = torch.Generator().manual_seed(0)
    return Split(torch.randn(count, 1, 28, 28, generator=generator), torch.randint(10, (count,), generator=generator))


def parameters_after(model: WeightNet, config: Config, steps: int = 6) -> dict[str, torch.Tensor]:
    """Train on random batches in float64; return the parameters."""
    optimizer = build_optimizer(model, config.train)
    data = random_split(16 * steps)
    for images, labels in zip(data.images.double().split(16), data.labels.split(16), strict=True):
        train_step(model, optimizer, images, labels)
    return {name: parameter.detach() for name, parameter in model.named_parameters()}


def naive_me(config: Config) -> torch.Tensor:
    """Return the notebook's vector (26,) of a config's initial weights: 22 pooled by explicit loops, then 4 ones."""
    model, reference = WeightNet(config), naive.WeightNetMnist()
    assert model.feedback_weight is not None
    with torch.no_grad():
        reference.fc1.weight.copy_(torch.cat([model.fc1.weight, model.feedback_weight], dim=1))
        reference.fc2.weight.copy_(model.fc2.weight)
    return reference.own_weights()


@pytest.mark.parametrize(("gain", "fill"), [(1.0, 1.0), (0.0, 1.0), (3.0, 0.0), (0.5, 2.0)])
def test_gain_and_filler_of_pool(make_config: MakeConfig, gain: float, fill: float) -> None:
    config = make_config("mnist", "pool", params={"gain": gain, "fill": fill})
    pooled = naive_me(config)[:22]
    assert torch.equal(me(config), torch.cat([pooled * gain, torch.full((4,), gain * fill)]))


@pytest.mark.parametrize("gain", [0.0, 1.0, 3.0])
def test_every_control_takes_a_gain(make_config: MakeConfig, gain: float) -> None:
    pool = naive_me(make_config("mnist", "pool"))
    expected = {
        "constant": gain * pool, "padding": torch.tensor([0.0] * 22 + [gain] * 4), "ones": torch.full((26,), gain),
        "equal": torch.full((26,), gain * float(pool.norm()) / math.sqrt(26)),
        "foreign": gain * naive_me(make_config("mnist", "pool", seed=1_000_004)),
    }  # fmt: skip
    for name, vector in expected.items():
        torch.testing.assert_close(me(make_config("mnist", name, params={"gain": gain})), vector)
    for name in ("fixed_noise", "noise", "shuffled"):
        torch.testing.assert_close(me(make_config("mnist", name, params={"gain": gain})).norm(), gain * pool.norm())


def test_the_weights_alone_are_shuffled(make_config: MakeConfig) -> None:
    pool = naive_me(make_config("mnist", "pool"))
    model = WeightNet(make_config("mnist", "shuffled", params={"keep_filler": True}))
    first, second = model.me(), model.me()
    assert first is not None and second is not None and not torch.equal(first, second)
    for vector in (first, second):
        assert torch.equal(vector[:22].sort()[0], pool[:22].sort()[0]) and torch.equal(vector[22:], torch.ones(4))


def test_the_rate_of_the_bias(make_config: MakeConfig) -> None:
    squared = float(naive_me(make_config("mnist", "pool")).square().sum())
    for params, expected in (
        ({}, 1 + squared), ({"gain": 3}, 1 + 9 * squared), ({"gain": 0}, 1.0),
        ({"multiplier": 7.5}, 7.5), ({"multiplier": 0}, 0.0),
    ):  # fmt: skip
        assert WeightNet(make_config("mnist", "bias_lr", params=params)).bias_lr == pytest.approx(expected, rel=1e-6)


def test_twins_differ_by_a_millionth_of_each_initial_parameter(make_config: MakeConfig) -> None:
    baseline, twin = (WeightNet(make_config("mnist", name)).state_dict() for name in ("baseline", "twin"))
    for key, value in baseline.items():
        change = (twin[key].double() / value.double()) - 1
        assert torch.all((change.abs() > 0.8e-6) & (change.abs() < 1.2e-6)), key  # to float32's 24 bits
        if len(value) > 5:
            assert (change > 0).any() and (change < 0).any()
    again = WeightNet(make_config("mnist", "twin")).state_dict()
    assert all(torch.equal(value, again[key]) for key, value in twin.items())
    larger = WeightNet(make_config("mnist", "twin", params={"perturbation": 0.5})).fc2.weight / baseline["fc2.weight"]
    torch.testing.assert_close(larger, torch.where(larger > 1, 1.5, 0.5))


def test_the_defaults_of_the_config_are_those_of_the_code() -> None:
    for name, target in FEEDBACKS.items():
        kind = locate(FEEDBACKS, name, "")
        for key, default in PARAMS.get(name, {}).items():
            assert getattr(kind, key) == default, target
    parameters = inspect.signature(bias_rate_of_constant).parameters
    assert {key: parameters[key].default for key in PARAMS["bias_lr"]} == PARAMS["bias_lr"]


def test_constants_are_what_they_are_called(make_config: MakeConfig) -> None:
    pool = me(make_config("mnist", "pool"))
    assert torch.equal(me(make_config("mnist", "constant")), pool)
    assert torch.equal(me(make_config("mnist", "ones")), torch.ones(26))
    assert torch.equal(me(make_config("mnist", "foreign")), me(make_config("mnist", "pool", seed=1_000_004)))
    assert not torch.equal(me(make_config("mnist", "foreign")), pool)
    noise = me(make_config("mnist", "fixed_noise"))
    torch.testing.assert_close(noise.norm(), pool.norm())
    assert abs(float(torch.cosine_similarity(noise, pool, dim=0))) < 0.5
    for name in ("constant", "padding", "equal", "ones", "foreign", "fixed_noise"):
        config = make_config("mnist", name)
        model = WeightNet(config).double()
        before = model.me()
        parameters_after(model, config)
        assert before is not None and torch.equal(before, model.me())


def test_redrawn_controls_differ_at_each_step_and_not_at_evaluation(make_config: MakeConfig) -> None:
    pool = me(make_config("mnist", "pool"))
    for name in ("noise", "shuffled"):
        model = WeightNet(make_config("mnist", name))
        first, second = model.me(), model.me()
        assert first is not None and second is not None and not torch.equal(first, second)
        torch.testing.assert_close(first.norm(), pool.norm())
        if name == "shuffled":
            assert torch.equal(first.sort()[0], pool.sort()[0])
        model.eval()
        assert torch.equal(second, model.me()) and torch.equal(second, model.me())
        other = WeightNet(make_config("mnist", name))
        other.load_state_dict(model.state_dict())  # as a resumed run does
        assert torch.equal(model.train().me(), other.me())


def test_zero_feedback_is_the_baseline(make_config: MakeConfig) -> None:
    # bit for bit: the arms share initial parameters, the order of the data, and the arithmetic
    data = Dataset(random_split(150), random_split(70))
    trajectories = []
    for name in ("baseline", "pool", "constant", "noise", "shuffled", "bias_lr"):
        config = make_config("mnist", name, hidden=50, params={} if name == "baseline" else {"gain": 0})
        model = WeightNet(config)
        results = list(fit(model, build_optimizer(model, config.train), data, config.train, seed=1))
        trajectories.append([(r.train_loss, r.test_loss, r.test_accuracy) for r in results])
    assert all(trajectory == trajectories[0] for trajectory in trajectories)


def test_arms_of_a_seed_share_their_initial_parameters(make_config: MakeConfig) -> None:
    baseline = WeightNet(make_config("mnist", "baseline", hidden=50)).state_dict()
    for name in (
        "pool",
        "rmp",
        "projection",
        "constant",
        "padding",
        "equal",
        "ones",
        "noise",
        "fixed_noise",
        "shuffled",
        "foreign",
        "bias_lr",
    ):
        other = WeightNet(make_config("mnist", name, hidden=50)).state_dict()
        assert all(torch.equal(value, other[key]) for key, value in baseline.items()), name


@pytest.mark.parametrize("gain", [1.0, 2.5])
def test_a_constant_feedback_equals_a_larger_learning_rate_of_one_bias(make_config: MakeConfig, gain: float) -> None:
    with_feedback, without = (make_config("mnist", name, params={"gain": gain}) for name in ("constant", "bias_lr"))
    constant, bias_lr = WeightNet(with_feedback).double(), WeightNet(without).double()
    vector = constant.me()
    assert vector is not None and constant.feedback_weight is not None
    assert bias_lr.feedback_weight is None and bias_lr.bias_lr > 1.01
    torch.testing.assert_close(bias_lr.bias_lr, 1 + float(vector.square().sum()))
    bias_lr.bias_lr = 1 + float(vector.square().sum())  # in float64
    with torch.no_grad():
        bias_lr.fc1.bias += constant.feedback_weight @ vector  # where the constant's effective bias starts
    ours, theirs = parameters_after(constant, with_feedback), parameters_after(bias_lr, without)
    for name in ("conv1.weight", "conv2.weight", "fc1.weight", "fc2.weight", "fc2.bias"):
        torch.testing.assert_close(ours[name], theirs[name], rtol=0, atol=1e-10)
    effective = ours["fc1.bias"] + ours["feedback_weight"] @ vector
    torch.testing.assert_close(effective, theirs["fc1.bias"], rtol=0, atol=1e-10)


def test_feedback_at_test_time(make_config: MakeConfig) -> None:
    data = random_split(70)
    losses = {}
    for how in ("live", "zero", "frozen"):
        config = make_config("mnist", "pool", test_feedback=how, lr=0.5)
        model = WeightNet(config)
        start = model.me()
        train_step(model, build_optimizer(model, config.train), data.images, data.labels)
        expected = {"live": model.me(), "zero": torch.zeros(26), "frozen": start}[how]
        losses[how], _, _ = evaluate(model, data, 70)
        with torch.no_grad():
            logits = model(data.images, expected)
        assert losses[how] == float(torch.nn.functional.cross_entropy(logits, data.labels, reduction="sum")) / 70
    assert len(set(losses.values())) == 3


def test_a_wide_baseline_has_at_least_as_many_parameters(make_config: MakeConfig) -> None:
    for dataset in ("mnist", "cifar"):
        for rule in ("published", "controlled"):
            wide, pool = (
                sum(parameter.numel() for parameter in WeightNet(make_config(dataset, name, rule=rule)).parameters())
                for name in ("wide", "pool")
            )
            assert pool <= wide < pool * 1.02
