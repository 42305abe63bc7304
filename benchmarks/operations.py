"""Where the time of a training step goes, by torch's profiler.

python -m benchmarks.operations dataset=mnist model=pool
"""

import sys

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks import compose
from benchmarks.steps import images
from weightnet.experiment import prepare
from weightnet.net.model import WeightNet
from weightnet.net.training import build_optimizer, train_step

STEPS = 50


def main() -> None:
    """Profile our step on one thread and print its costliest operations."""
    config = compose(*sys.argv[1:], "device=cpu", "threads=1")
    prepare(config)
    model = WeightNet(config)
    optimizer = build_optimizer(model, config.train)
    x, y = images(config.dataset.name)
    x = x.contiguous(memory_format=torch.channels_last)
    for _ in range(STEPS):
        train_step(model, optimizer, x, y)
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        for _ in range(STEPS):
            train_step(model, optimizer, x, y)
    operations = sorted(profiler.key_averages(), key=lambda event: -event.self_cpu_time_total)
    total = sum(event.self_cpu_time_total for event in operations)
    print(f"torch {torch.__version__}, {total / STEPS / 1000:.2f} ms a step with the profiler")
    print("| operation | us a step | share |\n| --- | --: | --: |")
    for event in operations[:12]:
        share = event.self_cpu_time_total / total
        print(f"| {event.key} | {event.self_cpu_time_total / STEPS:.0f} | {share:.0%} |")


if __name__ == "__main__":
    main()
