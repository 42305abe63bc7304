from collections.abc import Callable

import pytest
import torch

from weightnet.config import Config
from weightnet.net.cuda_graph import GraphedStep
from weightnet.net.data import Dataset, Split
from weightnet.net.model import WeightNet
from weightnet.net.training import build_optimizer, fit, train_step

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
MakeConfig = Callable[..., Config]


def split(count: int, shape: list[int]) -> Split:
    images = torch.randn(count, *shape, generator=torch.Generator().manual_seed(0))
    return Split(images.cuda(), (torch.arange(count) % 10).cuda())


@pytest.mark.parametrize("model_name", ["baseline", "pool", "rmp", "projection"])
def test_replayed_steps_are_the_eager_ones(make_config: MakeConfig, model_name: str) -> None:
    config = make_config("mnist", model_name, device="cuda")
    data = split(192, config.dataset.shape)
    eager, graphed = (WeightNet(config).cuda() for _ in range(2))
    theirs, ours = (build_optimizer(model, config.train) for model in (eager, graphed))
    step = GraphedStep(lambda x, y: train_step(graphed, ours, x, y), ours, data.images[:64], data.labels[:64])
    for start in (0, 64, 128, 0):
        images, labels = data.images[start : start + 64], data.labels[start : start + 64]
        expected = train_step(eager, theirs, images, labels)
        torch.testing.assert_close(step(images, labels), expected, rtol=1e-4, atol=1e-5)
    for mine, other in zip(graphed.parameters(), eager.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-5)


def test_recording_keeps_the_momentum_of_a_resumed_run(make_config: MakeConfig) -> None:
    config = make_config("mnist", "pool", device="cuda")
    data = split(64, config.dataset.shape)
    model = WeightNet(config).cuda()
    optimizer = build_optimizer(model, config.train)
    train_step(model, optimizer, data.images, data.labels)
    before = [optimizer.state[p]["momentum_buffer"].clone() for p in model.parameters()]
    GraphedStep(lambda x, y: train_step(model, optimizer, x, y), optimizer, data.images, data.labels)
    after = [optimizer.state[p]["momentum_buffer"] for p in model.parameters()]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_a_fit_on_cuda_is_near_the_one_on_the_cpu(make_config: MakeConfig) -> None:
    losses = []
    for device in ("cpu", "cuda"):
        config = make_config("mnist", "pool", device=device)
        data = split(150, config.dataset.shape)  # two whole batches and a short one
        data = Split(data.images.to(device), data.labels.to(device))
        model = WeightNet(config).to(device)
        results = fit(model, build_optimizer(model, config.train), Dataset(data, data), config.train, seed=1)
        losses.append([result.train_loss for result in results])
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
