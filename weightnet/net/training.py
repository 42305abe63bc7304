"""Training: a generator of epoch results. It knows nothing of files, Hydra or plots."""

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from weightnet.config import TrainConfig
from weightnet.net.cuda_graph import GraphedStep, Step
from weightnet.net.data import Dataset, Split, batches
from weightnet.net.epoch import EpochResult
from weightnet.net.model import WeightNet
from weightnet.net.streams import stream

OnStep = Callable[[int, Tensor], None]
"""Called after every step with the number of steps so far and the loss, a scalar that is still on the device."""


def build_optimizer(model: WeightNet, config: TrainConfig) -> torch.optim.SGD:
    """Return the notebook's optimiser; with model=bias_lr, fc1's bias has a learning rate of its own."""
    parameters = list(model.parameters())
    groups: list[dict[str, Any]] = [{"params": parameters}]
    if model.bias_lr != 1:
        bias = model.fc1.bias
        groups = [
            {"params": [p for p in parameters if p is not bias]},
            {"params": [bias], "lr": config.lr * model.bias_lr},
        ]
    return torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum, fused=True)


def fit(
    model: WeightNet,
    optimizer: torch.optim.Optimizer,
    data: Dataset,
    config: TrainConfig,
    *,
    seed: int,
    done: int = 0,
    on_step: OnStep | None = None,
) -> Iterator[EpochResult]:
    """Train from epoch `done` + 1 to the last, and yield each epoch's result.

    Between two results, the state of model and optimiser is all that a resumed run needs: the order of the data
    depends on the seed and the epoch alone.
    """
    me = _me_at_rest(model)
    step_on = _step(model, optimizer, data.train, config.batch_size)
    for epoch in range(done + 1, config.epochs + 1):
        start = time.perf_counter()
        step = (epoch - 1) * -(-len(data.train) // config.batch_size)
        generator = stream(seed, f"order/{epoch}")
        losses, sizes = [], []
        model.train()
        for images, labels in batches(data.train, config.batch_size, generator):
            loss = step_on(images, labels)
            step += 1
            losses.append(loss)
            sizes.append(len(labels))
            if on_step:
                on_step(step, loss)
        trace = torch.stack(losses).cpu().double()  # the epoch's only wait for the device
        first = step - len(losses) + 1
        test_loss, test_accuracy = evaluate(model, data.test, config.test_batch_size)
        before, me = me, _me_at_rest(model)
        yield EpochResult(
            epoch=epoch,
            step=step,
            train_loss=float((trace * torch.tensor(sizes)).sum() / sum(sizes)),
            test_loss=test_loss,
            test_accuracy=test_accuracy,
            seconds=time.perf_counter() - start,
            step_losses=[(s, float(trace[s - first])) for s in range(first, step + 1) if s % config.log_interval == 0],
            feedback=None if me is None or before is None else (float(me.norm()), float((me - before).norm())),
        )


def _me_at_rest(model: WeightNet) -> Tensor | None:
    """Return the feedback vector between two steps, where nothing is drawn anew."""
    model.eval()
    return model.me()


def _step(model: WeightNet, optimizer: torch.optim.Optimizer, split: Split, batch_size: int) -> Step:
    """Return `train_step` for batches of the split: on CUDA all but a last short one replay a graph."""
    eager = partial(train_step, model, optimizer)
    redrawn = model.feedback is not None and model.feedback.redrawn  # on the CPU: nothing that a graph could replay
    if split.labels.device.type != "cuda" or len(split) < batch_size or redrawn:
        return eager
    graphed = GraphedStep(eager, optimizer, split.images[:batch_size], split.labels[:batch_size])
    return lambda images, labels: (graphed if len(labels) == batch_size else eager)(images, labels)


def train_step(model: WeightNet, optimizer: torch.optim.Optimizer, images: Tensor, labels: Tensor) -> Tensor:
    """Take one step of SGD; return the loss of the batch before it, a detached scalar on the device."""
    optimizer.zero_grad()
    loss = functional.cross_entropy(model(images), labels)
    loss.backward()
    optimizer.step()
    return loss.detach()


@torch.inference_mode()
def evaluate(model: WeightNet, split: Split, batch_size: int) -> tuple[float, float]:
    """Return the mean loss in nats and the accuracy in [0, 1]; the feedback vector is computed once."""
    model.eval()
    me = model.test_me()
    device = split.labels.device
    loss, correct = torch.zeros((), device=device), torch.zeros((), dtype=torch.int64, device=device)
    for images, labels in zip(split.images.split(batch_size), split.labels.split(batch_size), strict=True):
        logits = model(images, me)
        loss += functional.cross_entropy(logits, labels, reduction="sum")
        correct += (logits.argmax(dim=1) == labels).sum()
    return loss.item() / len(split), correct.item() / len(split)
