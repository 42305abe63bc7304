"""Training: a generator of epoch results. It knows nothing of files, Hydra or plots."""

import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.optim.sgd import sgd

from weightnet.config import TrainConfig
from weightnet.net.cuda_graph import GraphedStep, Step
from weightnet.net.data import Dataset, Split, batches
from weightnet.net.epoch import VALIDATION, EpochResult
from weightnet.net.model import WeightNet
from weightnet.net.streams import stream

OnStep = Callable[[int, Tensor], None]  # called after every step: steps so far, loss (a scalar, still on the device)
Metric = Callable[[Tensor, Tensor], float | Mapping[str, float]]
"""Of one's own: logits (N, classes) and labels (N,) of the test split, on the CPU -> a number, or a dict of them."""


def build_optimizer(model: WeightNet, config: TrainConfig) -> torch.optim.SGD:
    """Return the notebook's optimiser; with model=bias_lr, fc1's bias has a learning rate of its own."""
    groups: list[dict[str, Any]] = [{"params": list(model.parameters())}]
    if model.bias_lr != 1:
        others = [parameter for parameter in model.parameters() if parameter is not model.fc1.bias]
        groups = [{"params": others}, {"params": [model.fc1.bias], "lr": config.lr * model.bias_lr}]
    return torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum, fused=True)


def fit(
    model: WeightNet, optimizer: torch.optim.Optimizer, data: Dataset, config: TrainConfig, *,
    seed: int, done: int = 0, metrics: Mapping[str, Metric] | None = None, on_step: OnStep | None = None,
) -> Iterator[EpochResult]:  # fmt: skip
    """Train from epoch `done` + 1 to the last, and yield each epoch's result.

    Between two results, the state of model and optimiser is all that a resumed run needs: the order of the data
    depends on the seed and the epoch alone. (So does torch's global state, from which our own code never draws, but
    a feedback of the user's may.)
    """
    me = _me_at_rest(model, seed, done)
    own: dict[str, float] = {}
    step_on = _step(model, optimizer, data.train, config.batch_size)
    steps = -(-len(data.train) // config.batch_size)
    for epoch in range(done + 1, config.epochs + 1):
        start = time.perf_counter()
        torch.manual_seed(stream(seed, f"global/{epoch}").initial_seed())
        first, last = (epoch - 1) * steps + 1, epoch * steps
        losses, sizes = [], []
        model.train()
        shuffled = batches(data.train, config.batch_size, stream(seed, f"order/{epoch}"))
        for step, (images, labels) in enumerate(shuffled, first):
            losses.append(step_on(images, labels))
            sizes.append(len(labels))
            if on_step:
                on_step(step, losses[-1])
        trace = torch.stack(losses).cpu().double()  # the epoch's only wait for the device
        test_loss, test_accuracy, logits = evaluate(model, data.test, config.test_batch_size)
        own, known = _held_out(model, data.validation, config) | measure(metrics or {}, logits, data.test.labels), own
        if known and list(own) != list(known):
            raise ValueError(f"own metrics gave the columns {list(own)} after {list(known)} in the epoch before")
        before, me = me, _me_at_rest(model, seed, epoch)
        yield EpochResult(
            epoch=epoch, step=last, train_loss=float((trace * torch.tensor(sizes)).sum() / sum(sizes)),
            test_loss=test_loss, test_accuracy=test_accuracy, seconds=time.perf_counter() - start,
            step_losses=[(s, float(trace[s - first])) for s in range(first, last + 1) if s % config.log_interval == 0],
            feedback=None if me is None or before is None else (float(me.norm()), float((me - before).norm())),
            own=own,
        )  # fmt: skip


def _held_out(model: WeightNet, split: Split | None, config: TrainConfig) -> dict[str, float]:
    """Return the columns `VALIDATION` of a validation split, none without one."""
    return dict(zip(VALIDATION, evaluate(model, split, config.test_batch_size)[:2], strict=True)) if split else {}


def _me_at_rest(model: WeightNet, seed: int, epoch: int) -> Tensor | None:
    """Return the feedback vector after an epoch, where nothing is drawn anew."""
    torch.manual_seed(stream(seed, f"global/after/{epoch}").initial_seed())
    model.eval()
    return model.me()


def _step(model: WeightNet, optimizer: torch.optim.Optimizer, split: Split, batch_size: int) -> Step:
    """Return `train_step` for batches of the split: on CUDA all but a last short one replay a graph."""
    eager = partial(train_step, model, optimizer)
    redrawn = model.feedback is not None and getattr(model.feedback, "redrawn", True)  # not what a graph could replay
    if split.labels.device.type != "cuda" or len(split) < batch_size or redrawn:
        return eager
    graphed = GraphedStep(eager, optimizer, split.images[:batch_size], split.labels[:batch_size])
    return lambda images, labels: (graphed if len(labels) == batch_size else eager)(images, labels)


def train_step(model: WeightNet, optimizer: torch.optim.Optimizer, images: Tensor, labels: Tensor) -> Tensor:
    """Take one step of SGD; return the loss of the batch before it, a detached scalar on the device."""
    loss = functional.cross_entropy(model(images), labels)
    loss.backward()
    _update(optimizer)
    return loss.detach()


@torch.no_grad()
def _update(optimizer: torch.optim.Optimizer) -> None:
    """Do what `step()` and `zero_grad()` of torch.optim.SGD do, by the same function, with the same state.

    Without the profiler's records and hooks around them, which take a twentieth of a step on MNIST.
    """
    for group in optimizer.param_groups:
        parameters, keys = group["params"], ("momentum", "lr", "weight_decay", "dampening", "nesterov", "maximize")
        states = [optimizer.state[parameter] for parameter in parameters]
        momenta = [state.get("momentum_buffer") for state in states]
        gradients = [parameter.grad for parameter in parameters]
        sgd(parameters, gradients, momenta, fused=True, **{key: group[key] for key in keys})
        for parameter, state, momentum in zip(parameters, states, momenta, strict=True):
            state["momentum_buffer"], parameter.grad = momentum, None


@torch.inference_mode()
def evaluate(model: WeightNet, split: Split, batch_size: int) -> tuple[float, float, Tensor]:
    """Return the mean loss in nats, the accuracy in [0, 1], and the logits (N, classes).

    The feedback vector is computed once.
    """
    model.eval()
    me = model.test_me()
    loss, correct, parts = split.images.new_zeros(()), split.labels.new_zeros(()), []
    for images, labels in zip(split.images.split(batch_size), split.labels.split(batch_size), strict=True):
        logits = model(images, me)
        loss += functional.cross_entropy(logits, labels, reduction="sum")
        correct += (logits.argmax(dim=1) == labels).sum()
        parts.append(logits)
    return loss.item() / len(split), correct.item() / len(split), torch.cat(parts)


@torch.inference_mode()
def measure(metrics: Mapping[str, Metric], logits: Tensor, labels: Tensor) -> dict[str, float]:
    """Return the columns of the user's own metrics, `name` or `name.key`, of logits (N, classes) and labels (N,).

    TypeError: a metric gives neither a number nor a dict of them.
    """
    measured: dict[str, float] = {}
    for name, metric in metrics.items():
        given = metric(logits.float().cpu().clone(), labels.cpu().clone())  # its own: it may write into them
        parts = given if isinstance(given, Mapping) else {"": given}
        for key, value in parts.items():
            try:
                measured[f"{name}.{key}".removesuffix(".")] = float(value)
            except (TypeError, ValueError, RuntimeError):
                kind = type(value).__name__
                raise TypeError(f"eval.metrics.{name} gave a {kind}, must be a number or a dict of numbers") from None
    return measured
