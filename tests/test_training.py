import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from weightnet.config import Config
from weightnet.net.data import Dataset, Split
from weightnet.net.model import WeightNet
from weightnet.net.training import build_optimizer, evaluate, fit, train_step

MakeConfig = Callable[..., Config]


@pytest.fixture
def data() -> Dataset:
    """Return 150 + 70 random images: batches of 64, 64, 22."""
    generator = torch.Generator().manual_seed(0)

    def split(count: int) -> Split:
        images = torch.randn(count, 1, 28, 28, generator=generator)
        return Split(images, torch.randint(10, (count,), generator=generator))

    return Dataset(split(150), split(70))


def train(config: Config, data: Dataset) -> list[tuple[float, ...]]:
    model = WeightNet(config)
    results = fit(model, build_optimizer(model, config.train), data, config.train, seed=config.seed)
    return [(r.epoch, r.step, r.train_loss, r.test_loss, r.test_accuracy) for r in results]


def test_an_epoch_is_a_plain_loop(make_config: MakeConfig, data: Dataset) -> None:
    config = make_config(log_interval=2)
    model = WeightNet(config)
    seen: list[tuple[int, float]] = []
    optimizer = build_optimizer(model, config.train)
    (result, _) = list(
        fit(model, optimizer, data, config.train, seed=1, on_step=lambda step, loss: seen.append((step, loss.item())))
    )
    assert [step for step, _ in seen] == [1, 2, 3, 4, 5, 6]
    assert (result.epoch, result.step) == (1, 3)
    losses = [loss for _, loss in seen[:3]]
    assert result.train_loss == pytest.approx((64 * losses[0] + 64 * losses[1] + 22 * losses[2]) / 150)
    assert result.step_losses == [(2, pytest.approx(losses[1]))]
    assert losses[0] == pytest.approx(math.log(10), abs=0.3)


@pytest.mark.parametrize(("model_name", "momentum"), [("pool", 0.5), ("bias_lr", 0.5), ("baseline", 0.0)])
def test_a_step_is_that_of_torchs_sgd(make_config: MakeConfig, data: Dataset, model_name: str, momentum: float) -> None:
    config = make_config(model=model_name)
    train = replace(config.train, momentum=momentum)
    ours, theirs = WeightNet(config), WeightNet(config)
    our_optimizer, their_optimizer = build_optimizer(ours, train), build_optimizer(theirs, train)
    images, labels = data.train.images[:64], data.train.labels[:64]
    for _ in range(3):
        loss = train_step(ours, our_optimizer, images, labels)
        their_optimizer.zero_grad()
        expected = functional.cross_entropy(theirs(images), labels)
        expected.backward()
        their_optimizer.step()
        assert torch.equal(loss, expected.detach())
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(mine, other)
        assert mine.grad is None
    state, expected_state = our_optimizer.state_dict(), their_optimizer.state_dict()
    assert state["param_groups"] == expected_state["param_groups"]
    for key, kept in expected_state["state"].items():
        buffer = kept.get("momentum_buffer")
        assert buffer is None or torch.equal(state["state"][key]["momentum_buffer"], buffer)


def test_what_is_held_out_is_evaluated_after_each_epoch(make_config: MakeConfig, data: Dataset) -> None:
    config = make_config()
    model = WeightNet(config)
    held_out = Split(data.train.images[:40], data.train.labels[:40])
    with_it = replace(data, validation=held_out)
    for result in fit(model, build_optimizer(model, config.train), with_it, config.train, seed=1):
        with torch.no_grad():
            logits = model(held_out.images)
        loss = functional.cross_entropy(logits, held_out.labels).item()
        accuracy = (logits.argmax(1) == held_out.labels).sum().item() / 40
        assert result.own == {"validation_loss": pytest.approx(loss, rel=1e-5), "validation_accuracy": accuracy}
    without = WeightNet(config)  # it changes nothing else
    results = list(fit(without, build_optimizer(without, config.train), data, config.train, seed=1))
    assert results[-1].test_loss == result.test_loss and not results[-1].own


def test_the_feedback_vector_is_followed(make_config: MakeConfig, data: Dataset) -> None:
    config = make_config()
    model = WeightNet(config)
    vectors = [model.me()]
    for result in fit(model, build_optimizer(model, config.train), data, config.train, seed=1):
        vectors.append(model.me())
        before, after = vectors[-2:]
        assert before is not None and after is not None
        assert result.feedback == (float(after.norm()), float((after - before).norm()))
        assert result.feedback[1] > 0
    baseline = make_config(model="baseline")
    model = WeightNet(baseline)
    results = fit(model, build_optimizer(model, baseline.train), data, baseline.train, seed=1)
    assert all(result.feedback is None for result in results)


def test_evaluate_is_the_mean_over_the_split(make_config: MakeConfig, data: Dataset) -> None:
    model = WeightNet(make_config())
    loss, accuracy, logits = evaluate(model, data.test, batch_size=32)
    with torch.no_grad():
        logits = model(data.test.images)
    assert loss == pytest.approx(functional.cross_entropy(logits, data.test.labels).item(), rel=1e-5)
    assert accuracy == sum(logits.argmax(1) == data.test.labels).item() / 70


def test_evaluate_computes_the_feedback_once(make_config: MakeConfig, data: Dataset) -> None:
    model = WeightNet(make_config())
    calls = []
    assert model.feedback is not None
    model.feedback.register_forward_hook(lambda *_: calls.append(1))
    evaluate(model, data.test, batch_size=10)
    assert len(calls) == 1


def test_the_same_seed_gives_the_same_numbers(make_config: MakeConfig, data: Dataset) -> None:
    config = make_config()
    torch.manual_seed(1)
    first = train(config, data)
    torch.manual_seed(2)
    assert first == train(config, data)
    assert first != train(make_config(seed=2), data)


def test_a_resumed_fit_gives_the_same_numbers(make_config: MakeConfig, data: Dataset) -> None:
    config = make_config(epochs=3)
    model = WeightNet(config)
    optimizer = build_optimizer(model, config.train)
    whole = fit(model, optimizer, data, config.train, seed=1)
    first = next(whole)
    saved = {key: value.clone() for key, value in model.state_dict().items()}
    momentum = {
        "state": {
            k: {"momentum_buffer": v["momentum_buffer"].clone()} for k, v in optimizer.state_dict()["state"].items()
        },
        "param_groups": optimizer.state_dict()["param_groups"],
    }
    rest = [(r.epoch, r.train_loss, r.test_loss) for r in whole]

    other = WeightNet(config)
    other.load_state_dict(saved)
    other_optimizer = build_optimizer(other, config.train)
    other_optimizer.load_state_dict(momentum)
    resumed = fit(other, other_optimizer, data, config.train, seed=1, done=first.epoch)
    assert [(r.epoch, r.train_loss, r.test_loss) for r in resumed] == rest


def test_arms_of_one_seed_see_the_same_batches(make_config: MakeConfig, data: Dataset) -> None:
    seen: dict[str, list[torch.Tensor]] = {}
    for name in ("baseline", "pool"):
        config = make_config(model=name, epochs=1)
        model = WeightNet(config)
        inputs: list[torch.Tensor] = []
        model.register_forward_hook(lambda module, args, output, inputs=inputs: inputs.append(args[0].clone()))
        list(fit(model, build_optimizer(model, config.train), data, config.train, seed=1))
        seen[name] = inputs
    assert len(seen["pool"]) == 4  # three batches and the test split
    assert all(torch.equal(a, b) for a, b in zip(seen["baseline"], seen["pool"], strict=True))


def test_it_learns(make_config: MakeConfig, data: Dataset) -> None:
    images = data.train.images.clone()
    for index, label in enumerate(data.train.labels.tolist()):
        images[index, :, :, 2 * label : 2 * label + 4] += 3  # a bright band says the class
    easy = Split(images, data.train.labels)
    results = train(make_config(epochs=30, lr=0.1), Dataset(easy, easy))
    assert results[-1][4] > 0.9
