"""How long a run will take: from finished runs of the same shape, else from a short probe."""

import json
import statistics
import time
from pathlib import Path

import torch

from weightnet.config import Config, flat_features, parameter_count, shape
from weightnet.data import Split
from weightnet.memory import keep_freed_memory
from weightnet.model import WeightNet
from weightnet.projection import map_bytes
from weightnet.training import build_optimizer, evaluate, train_step


def seconds_per_epoch(outputs: Path) -> dict[str, float]:
    """Return shape -> median seconds of an epoch, over the finished runs below an output root."""
    found: dict[str, list[float]] = {}
    for path in (outputs / "runs").glob("*/run.json"):
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            if record["status"] == "done":
                found.setdefault(record["shape"], []).append(record["seconds"] / record["epochs"])
        except (OSError, ValueError, KeyError, TypeError):
            continue  # broken, or from before there were shapes: no help, no harm
    return {key: statistics.median(values) for key, values in found.items()}


def work(config: Config) -> float:
    """Return the multiplications of a run's training steps, for comparing runs that were never timed."""
    dataset, train = config.dataset, config.train
    (first, second), (image_channels, height, width) = dataset.channels, dataset.shape
    inner_height, inner_width = (height - 4) // 2, (width - 4) // 2
    convolutions = 25 * (
        image_channels * first * (height - 4) * (width - 4)
        + first * second * (inner_height - 4) * (inner_width - 4)
    )  # fmt: skip
    linear = (config.dims.hidden or 0) * (flat_features(dataset) + dataset.classes)
    examples = train.subset or dataset.examples[0]
    steps = examples / train.batch_size
    per_step = map_bytes(config) / 4 + parameter_count(config)
    return train.epochs * (3 * examples * (convolutions + linear) + steps * per_step)


def probe(config: Config, *, steps: int = 8) -> float:
    """Return the seconds of an epoch of a resolved config, projected from a few steps on random images."""
    keep_freed_memory()
    torch.set_num_threads(config.threads)
    dataset, train = config.dataset, config.train
    model = WeightNet(config).to(config.device)
    optimizer = build_optimizer(model, train)
    generator = torch.Generator().manual_seed(0)

    def batch(size: int) -> Split:
        images = torch.randn(size, *dataset.shape, generator=generator)
        return Split(
            images.to(config.device, memory_format=torch.channels_last),
            torch.zeros(size, dtype=torch.int64, device=config.device),
        )

    training, test = batch(train.batch_size), batch(min(train.test_batch_size, dataset.examples[1]))
    times = []
    for _ in range(steps):
        start = time.perf_counter()
        train_step(model, optimizer, training.images, training.labels).item()  # .item() waits for the device
        times.append(time.perf_counter() - start)
    start = time.perf_counter()
    evaluate(model, test, len(test))
    evaluation = (time.perf_counter() - start) * dataset.examples[1] / len(test)
    examples = train.subset or dataset.examples[0]
    return statistics.median(times) * examples / train.batch_size + evaluation


def estimate(configs: list[Config], outputs: Path, *, probing: bool) -> list[float]:
    """Return each run's seconds.

    Args:
        configs: resolved.
        outputs: root of all output, where finished runs are looked for.
        probing: time shapes that no finished run has; otherwise those runs are compared by their work.
    """
    known = seconds_per_epoch(outputs)
    if probing:
        for config in configs:
            if shape(config) not in known:
                known[shape(config)] = probe(config)
    timed = [known[shape(c)] * c.train.epochs / work(c) for c in configs if shape(c) in known]
    rate = statistics.median(timed) if timed else 2e-10  # seconds a multiplication: one core's order of magnitude
    return [known[shape(c)] * c.train.epochs if shape(c) in known else rate * work(c) for c in configs]
