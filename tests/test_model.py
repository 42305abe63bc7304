import gc
import math
from collections.abc import Callable

import naive
import pytest
import torch
from torch.nn import functional

from weightnet.config import Config
from weightnet.identity import run_id
from weightnet.net.feedback import ProjectionFeedback
from weightnet.net.model import WeightNet
from weightnet.net.training import train_step

MakeConfig = Callable[..., Config]
SLOW = pytest.mark.slow
CASES = [pytest.param(*key, marks=SLOW if key == ("cifar", "rmp") else ()) for key in naive.NETWORKS]


def with_same_weights(model: WeightNet, network: type[naive._Net]) -> naive._Net:
    """Return the notebook's network with the model's parameters (and its P)."""
    reference = network()
    with torch.no_grad():
        for name in ("conv1", "conv2", "fc2"):
            getattr(reference, name).load_state_dict(getattr(model, name).state_dict())
        parts = [model.fc1.weight] + ([] if model.feedback_weight is None else [model.feedback_weight])
        reference.fc1.weight.copy_(torch.cat(parts, dim=1))
        reference.fc1.bias.copy_(model.fc1.bias)
    if isinstance(model.feedback, ProjectionFeedback):
        reference.P = model.feedback.P.t()
    return reference


def batch(config: Config, size: int = 16, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(size, *config.dataset.shape, generator=generator)
    return images, torch.randint(10, (size,), generator=generator)


@pytest.mark.parametrize(("dataset", "model_name"), CASES)
def test_logits_and_gradients_equal_the_notebooks(make_config: MakeConfig, dataset: str, model_name: str) -> None:
    config = make_config(dataset, model_name)
    model = WeightNet(config)
    reference = with_same_weights(model, naive.NETWORKS[dataset, model_name])
    images, labels = batch(config)

    logits, expected = model(images), reference(images)
    torch.testing.assert_close(functional.log_softmax(logits, dim=1), expected, rtol=1e-4, atol=1e-5)

    functional.cross_entropy(logits, labels).backward()
    functional.nll_loss(expected, labels).backward()
    features = model.fc1.in_features
    for name in ("conv1.weight", "conv1.bias", "conv2.weight", "conv2.bias", "fc1.bias", "fc2.weight", "fc2.bias"):
        ours, theirs = model.get_parameter(name).grad, reference.get_parameter(name).grad
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-5, msg=lambda text, name=name: f"{name}: {text}")
    torch.testing.assert_close(model.fc1.weight.grad, reference.fc1.weight.grad[:, :features], rtol=1e-3, atol=1e-5)
    if model.feedback_weight is not None:
        torch.testing.assert_close(
            model.feedback_weight.grad, reference.fc1.weight.grad[:, features:], rtol=1e-3, atol=1e-5
        )
    assert sum(p.numel() for p in model.parameters()) == sum(p.numel() for p in reference.parameters())
    del model, reference
    gc.collect()  # P of CIFAR-10 is 1.58 GB


@pytest.mark.parametrize("model_name", ["baseline", "pool", "rmp"])
def test_training_follows_the_notebooks_loop(make_config: MakeConfig, model_name: str) -> None:
    config = make_config("mnist", model_name)
    model = WeightNet(config).double()
    reference = with_same_weights(model, naive.NETWORKS["mnist", model_name]).double()
    if isinstance(reference, naive._Projection):
        reference.P = reference.P.double()
    ours = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.5)
    theirs = torch.optim.SGD(reference.parameters(), lr=0.1, momentum=0.5)
    for step in range(5):
        images, labels = batch(config, seed=step)
        images = images.double()
        loss = train_step(model, ours, images, labels)
        theirs.zero_grad()
        expected = functional.nll_loss(reference(images), labels)
        expected.backward()
        theirs.step()
        torch.testing.assert_close(loss, expected.detach(), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("dataset", "model_name"), [("mnist", "pool"), ("cifar", "pool"), ("mnist", "projection")])
def test_bf16_is_near_float32(make_config: MakeConfig, dataset: str, model_name: str) -> None:
    images, labels = batch(make_config(dataset))
    exact, rounded = (
        WeightNet(make_config(dataset, model_name, precision=precision)) for precision in ("float32", "bf16")
    )
    logits = rounded(images)
    assert logits.dtype == torch.float32
    torch.testing.assert_close(logits, exact(images), rtol=0.05, atol=0.05)
    assert not torch.equal(logits, exact(images))
    functional.cross_entropy(logits, labels).backward()
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in rounded.parameters())


@pytest.mark.parametrize("model_name", ["pool", "rmp"])
def test_no_gradient_flows_through_the_feedback(make_config: MakeConfig, model_name: str) -> None:
    model = WeightNet(make_config("mnist", model_name))
    me = model.me()
    assert me is not None and not me.requires_grad
    # with the feedback given as a constant, every gradient is the same as with the model's own
    images, labels = batch(make_config("mnist", model_name))
    functional.cross_entropy(model(images), labels).backward()
    own = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    functional.cross_entropy(model(images, me.clone()), labels).backward()
    assert set(own) == {name for name, _ in model.named_parameters()}
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None
        torch.testing.assert_close(parameter.grad, own[name], rtol=0, atol=0)


@pytest.mark.parametrize("model_name", ["pool", "rmp"])
def test_the_feedback_reads_the_weights_of_each_step(make_config: MakeConfig, model_name: str) -> None:
    config = make_config("mnist", model_name)
    model = WeightNet(config)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    seen: list[torch.Tensor] = []
    assert model.feedback is not None
    model.feedback.register_forward_hook(lambda module, inputs, output: seen.append(output.clone()))
    expected = []
    for step in range(3):
        expected.append(with_same_weights(model, naive.NETWORKS["mnist", model_name]).own_weights())
        train_step(model, optimizer, *batch(config, seed=step))
    assert len(seen) == 3
    for ours, theirs in zip(seen, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)
    assert not torch.equal(seen[0], seen[1]) and not torch.equal(seen[1], seen[2])


def test_arms_of_one_seed_share_their_parameters(make_config: MakeConfig) -> None:
    models = {name: WeightNet(make_config("mnist", name, rule="controlled")) for name in ("baseline", "pool", "rmp")}
    shared = dict(models["baseline"].named_parameters())
    for name in ("pool", "rmp"):
        parameters = dict(models[name].named_parameters())
        assert set(parameters) - set(shared) == {"feedback_weight"}
        assert all(torch.equal(parameters[key], value) for key, value in shared.items())
    pool, rmp = models["pool"].feedback_weight, models["rmp"].feedback_weight
    assert pool is not None and rmp is not None and torch.equal(pool, rmp)


def test_initial_parameters_are_torchs_default_distribution(make_config: MakeConfig) -> None:
    model = WeightNet(make_config("cifar", "pool")).requires_grad_(False)
    torch.manual_seed(0)
    for ours, theirs in [(model.conv2, torch.nn.Conv2d(20, 50, 5)), (model.fc1, torch.nn.Linear(1250, 500))]:
        theirs.requires_grad_(False)
        assert float(ours.weight.abs().max()) == pytest.approx(float(theirs.weight.abs().max()), rel=1e-2)
        assert float(ours.weight.std()) == pytest.approx(float(theirs.weight.std()), rel=3e-2)
        assert float(ours.bias.abs().max()) == pytest.approx(float(theirs.bias.abs().max()), rel=0.1)
    assert model.feedback_weight is not None
    assert float(model.feedback_weight.abs().max()) == pytest.approx(1 / math.sqrt(1250 + 460), rel=1e-2)


@pytest.mark.parametrize("model_name", ["pool", "rmp", "constant"])
def test_the_notebooks_feedback_arms_start_smaller(make_config: MakeConfig, model_name: str) -> None:
    shared, notebook = (WeightNet(make_config("mnist", model_name, init=init)) for init in ("shared", "notebook"))
    ratio = math.sqrt(160 / (160 + 26))
    start = notebook.requires_grad_(False).state_dict()
    for name, parameter in shared.named_parameters():
        expected = parameter * ratio if name in ("fc1.weight", "fc1.bias") else parameter
        torch.testing.assert_close(start[name], expected)
    # as torch's own layer of 160 + 26 inputs, all of it
    torch.manual_seed(0)
    theirs = torch.nn.Linear(186, 60).requires_grad_(False)
    whole = torch.cat((start["fc1.weight"], start["feedback_weight"]), dim=1)
    assert float(whole.abs().max()) == pytest.approx(float(theirs.weight.abs().max()), rel=1e-2)
    assert float(start["fc1.weight"].std()) == pytest.approx(float(theirs.weight.std()), rel=3e-2)
    me = notebook.me()  # the feedback, too, reads these
    if model_name != "rmp":
        torch.testing.assert_close(me, with_same_weights(notebook, naive.WeightNetMnist).own_weights())


def test_without_feedback_the_notebook_starts_as_all_arms(make_config: MakeConfig) -> None:
    for model_name in ("baseline", "bias_lr", "wide"):
        configs = [make_config("mnist", model_name, init=init) for init in ("shared", "notebook")]
        assert run_id(configs[0]) == run_id(configs[1])
        first, second = (WeightNet(config).state_dict() for config in configs)
        assert all(torch.equal(first[name], second[name]) for name in first)
    assert run_id(make_config("mnist", "pool")) != run_id(make_config("mnist", "pool", init="notebook"))


def test_seeds_differ_and_global_state_does_not_matter(make_config: MakeConfig) -> None:
    torch.manual_seed(1)
    first = WeightNet(make_config(seed=1)).state_dict()
    state = torch.get_rng_state()
    again, other = WeightNet(make_config(seed=1)).state_dict(), WeightNet(make_config(seed=2)).state_dict()
    assert torch.equal(state, torch.get_rng_state())
    for key in first:
        assert torch.equal(first[key], again[key])
        assert not torch.equal(first[key], other[key])


def test_p_is_in_no_state_dict_and_is_drawn_anew_bit_for_bit(make_config: MakeConfig) -> None:
    first, again = WeightNet(make_config("mnist", "rmp")), WeightNet(make_config("mnist", "rmp"))
    assert set(first.state_dict()) == {"feedback_weight"} | {
        f"{layer}.{kind}" for layer in ("conv1", "conv2", "fc1", "fc2") for kind in ("weight", "bias")
    }
    assert isinstance(first.feedback, ProjectionFeedback) and isinstance(again.feedback, ProjectionFeedback)
    assert torch.equal(first.feedback.P, again.feedback.P)
    assert first.feedback.P.shape == (26, 9800)
