from collections.abc import Callable

import torch

from weightnet.config import Config
from weightnet.geometry import carried, dropped
from weightnet.net.data import Dataset, Split
from weightnet.net.feedback import ConstantFeedback, PoolFeedback, ProjectionFeedback
from weightnet.net.model import WeightNet
from weightnet.net.training import build_optimizer, evaluate, fit, train_step

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


def test_constants_are_what_they_are_called(make_config: MakeConfig) -> None:
    pool = me(make_config("mnist", "pool"))
    assert torch.equal(me(make_config("mnist", "constant")), pool)
    assert torch.equal(me(make_config("mnist", "ones")), torch.ones(26))
    assert torch.equal(me(make_config("mnist", "foreign")), me(make_config("mnist", "pool", seed=1_000_004)))
    assert not torch.equal(me(make_config("mnist", "foreign")), pool)
    noise = me(make_config("mnist", "fixed_noise"))
    torch.testing.assert_close(noise.norm(), pool.norm())
    assert abs(float(torch.cosine_similarity(noise, pool, dim=0))) < 0.5
    for name in ("constant", "ones", "foreign", "fixed_noise"):
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
    for name in ("baseline", "constant"):
        config = make_config("mnist", name, hidden=50)
        model = WeightNet(config)
        if isinstance(model.feedback, ConstantFeedback):
            model.feedback.vector.zero_()
        results = list(fit(model, build_optimizer(model, config.train), data, config.train, seed=1))
        trajectories.append([(r.train_loss, r.test_loss, r.test_accuracy) for r in results])
    assert trajectories[0] == trajectories[1]


def test_arms_of_a_seed_share_their_initial_parameters(make_config: MakeConfig) -> None:
    baseline = WeightNet(make_config("mnist", "baseline", hidden=50)).state_dict()
    for name in (
        "pool",
        "rmp",
        "projection",
        "constant",
        "ones",
        "noise",
        "fixed_noise",
        "shuffled",
        "foreign",
        "bias_lr",
    ):
        other = WeightNet(make_config("mnist", name, hidden=50)).state_dict()
        assert all(torch.equal(value, other[key]) for key, value in baseline.items()), name


def test_a_constant_feedback_equals_a_larger_learning_rate_of_one_bias(make_config: MakeConfig) -> None:
    with_feedback, without = make_config("mnist", "constant"), make_config("mnist", "bias_lr")
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
