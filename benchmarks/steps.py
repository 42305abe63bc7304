"""Training steps of ours and of the notebook's loop, in turn, in one process; prints JSON.

    python -m benchmarks.steps --rounds 5

A round times a block of steps of every contender, one after the other, on the same random images; the first round is
warm-up and not counted. Also measured: the machine's peak in multiplying matrices and in reading memory, the notebook's
data loader, and the floating-point operations of a step (torch's FlopCounterMode, on the notebook's network).
"""

import argparse
import json
import os
import time
from collections.abc import Callable

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import compose, notebook
from weightnet.experiment import keep_freed_memory
from weightnet.net.convolution import torch_features
from weightnet.net.model import WeightNet
from weightnet.net.training import build_optimizer, train_step
from weightnet.registry import KINDS

BATCH = 64
Case = tuple[int, int, Callable[[], object]]
"""Threads, steps in a block, the step."""


def images(dataset: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a batch of random images and labels."""
    shape = (1, 28, 28) if dataset == "mnist" else (3, 32, 32)
    generator = torch.Generator().manual_seed(0)
    return torch.randn(BATCH, *shape, generator=generator), torch.randint(10, (BATCH,), generator=generator)


def ours(*overrides: str, by_torch: bool = False) -> Callable[[], object]:
    """Return our training step; `by_torch`: without the native kernel."""
    config = compose(*overrides, "device=cpu", "seed=1")
    model = WeightNet(config)
    if by_torch:
        model.features = torch_features
        model.to(memory_format=torch.channels_last)
    optimizer = build_optimizer(model, config.train)
    x, y = images(config.dataset.name)
    x = x.contiguous(memory_format=torch.channels_last)  # as `weightnet.net.data.load` holds them
    return lambda: train_step(model, optimizer, x, y)


def theirs(dataset: str, model: str) -> Callable[[], object]:
    """Return the notebook's training step."""
    net = notebook.Net(dataset, model)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.5)
    x, y = images(dataset)
    return lambda: notebook.train_step(net, optimizer, x, y)


def cases(datasets: list[str]) -> dict[str, Case]:
    """Return the contenders by name."""
    found: dict[str, Case] = {}
    for dataset in datasets:
        block = 200 if dataset == "mnist" else 20
        for model in ("baseline", "pool", "rmp"):
            found[f"ours {dataset} {model}"] = (1, block, ours(f"dataset={dataset}", f"model={model}"))
            step = theirs(dataset, model)
            found[f"notebook {dataset} {model}"] = (1, block, step)
            if dataset == "cifar":
                found[f"notebook {dataset} {model}, 2 threads"] = (2, block, step)
    if "mnist" in datasets:
        found["ours mnist pool, torch's layers"] = (1, 200, ours("dataset=mnist", "model=pool", by_torch=True))
    if "cifar" in datasets:
        for kind in set(KINDS) - {"dense"}:
            step = ours("dataset=cifar", "model=projection", f"model.kind={kind}")
            found[f"ours cifar projection {kind}"] = (1, 20, step)
        found["ours cifar baseline, bf16"] = (1, 20, ours("dataset=cifar", "model=baseline", "train.precision=bf16"))
        found["ours cifar pool, bf16"] = (1, 20, ours("dataset=cifar", "model=pool", "train.precision=bf16"))
    return found


def seconds(case: Case) -> float:
    """Return the mean seconds of a step over a block."""
    threads, block, step = case
    torch.set_num_threads(threads)
    step()
    start = time.perf_counter()
    for _ in range(block):
        step()
    return (time.perf_counter() - start) / block


def peak() -> dict[str, float]:
    """Return the best of several tries on one thread: FLOP/s of a 1024^3 product, bytes/s of a sum over 1.6 GB."""
    torch.set_num_threads(1)
    a, b, out = (torch.ones(1024, 1024) for _ in range(3))
    many = torch.ones(400_000_000)

    def best(work: Callable[[], object]) -> float:
        times = []
        for _ in range(6):
            start = time.perf_counter()
            work()
            times.append(time.perf_counter() - start)
        return min(times)

    return {
        "flops": 2 * 1024**3 / best(lambda: torch.mm(a, b, out=out)),
        "bytes": many.numel() * 4 / best(lambda: many.sum()),
    }


def loading(dataset: str, root: str, batches: int = 60) -> float:
    """Return the seconds a batch of the notebook's loader."""
    iterator = iter(notebook.loaders(dataset, root)[0])
    next(iterator)
    start = time.perf_counter()
    for _ in range(batches):
        next(iterator)
    return (time.perf_counter() - start) / batches


def flops(dataset: str, model: str) -> int:
    """Return the floating-point operations of a step, forward and backward."""
    step = theirs(dataset, model)
    with FlopCounterMode(display=False) as counter:
        step()
    return int(counter.get_total_flops())


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--datasets", nargs="+", default=["mnist", "cifar"])
    options = parser.parse_args()
    keep_freed_memory()
    root = os.environ.get("WEIGHTNET_DATA", "data")
    found = cases(options.datasets)
    times: dict[str, list[float]] = {name: [] for name in found}
    for number in range(options.rounds + 1):
        for name, case in found.items():
            value = seconds(case)
            if number:
                times[name].append(value)
    keys = [(dataset, model) for dataset in options.datasets for model in ("baseline", "pool", "rmp")]
    result = {
        "times": times,
        "peak": peak(),
        "flops": {f"{dataset} {model}": flops(dataset, model) for dataset, model in keys},
        "loading": {dataset: loading(dataset, root) for dataset in options.datasets},
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
