"""Ours, the notebook's loop and PyTorch Lightning, side by side, and what share of the machine's peak our steps reach.

    python -m benchmarks            n = 5, writes the table of docs/performance.md; about 10 minutes on 2 cores
    python -m benchmarks --quick    n = 1 and less of everything, prints it; under 3 minutes

Needs the extra `bench` (pip install -e .[bench]), MNIST and CIFAR-10 on disk (WEIGHTNET_DATA), and an idle machine.
"""

import argparse
import importlib.util
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parents[1]
DOCUMENT = ROOT / "docs" / "performance.md"
BEGIN, END = "<!-- made by python -m benchmarks -->", "<!-- end -->"
ARMS = ("baseline", "pool", "rmp")


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured."""

    rounds: int
    seeds: int
    """Of our sweep."""
    epochs: int
    """Of every run in it, and of the notebook's."""
    arms: tuple[str, ...]
    """Of the notebook and of Lightning."""
    step_rounds: int
    starts: int


FULL = Plan(rounds=5, seeds=4, epochs=2, arms=ARMS, step_rounds=7, starts=5)
QUICK = Plan(rounds=1, seeds=2, epochs=1, arms=("pool",), step_rounds=1, starts=1)


def python(*arguments: str) -> subprocess.Popen[str]:
    """Start Python on a module of ours."""
    return subprocess.Popen(
        [sys.executable, *arguments], cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )


def result(process: subprocess.Popen[str]) -> Any:
    """Wait, and return the JSON on the last line of what was printed."""
    output, _ = process.communicate()
    if process.returncode:
        raise SystemExit(f"{' '.join(map(str, process.args))} failed with status {process.returncode}")  # type: ignore[arg-type]
    return json.loads(output.splitlines()[-1])


def our_sweep(plan: Plan) -> float:
    """Return the seconds a model-epoch of our sweep: the whole process, its start included."""
    with tempfile.TemporaryDirectory() as folder:
        arguments = [f"model={','.join(ARMS)}", f"seed=range(0,{plan.seeds})", f"train.epochs={plan.epochs}"]
        start = time.perf_counter()
        process = python("run.py", "-m", "dataset=mnist", "device=cpu", *arguments, f"outputs={folder}")
        process.communicate()
        if process.returncode:
            raise SystemExit("our sweep failed")
        return (time.perf_counter() - start) / (len(ARMS) * plan.seeds * plan.epochs)


def notebook_loop(plan: Plan) -> float:
    """Return the seconds an epoch of the notebook's loop with two threads, the start of the process not counted."""
    process = python("-m", "benchmarks.notebook", "mnist", *plan.arms, f"--epochs={plan.epochs}", "--threads=2")
    return float(statistics.mean(result(process)["seconds"]))


def lightning_loops(plan: Plan) -> float:
    """Return the seconds a model-epoch of two processes of Lightning, one thread each, their start not counted."""
    command = ("-m", "benchmarks.lightning_loop", "mnist", *plan.arms, "--epochs=1", "--threads=1")
    processes = [python(*command) for _ in range(2)]
    return float(statistics.mean(statistics.mean(result(process)["seconds"]) for process in processes)) / 2


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Return minimum, median and maximum."""
    return " / ".join(f"{v:.{digits}f}" for v in (min(values), statistics.median(values), max(values)))


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Return ours over theirs, round by round."""
    return [a / b for a, b in zip(ours, theirs, strict=True)]


def row(what: str, ours: Sequence[float], theirs: Sequence[float], target: float | None, unit: str) -> str:
    """Return a line of the table of ratios."""
    quotients = ratios(ours, theirs)
    verdict = "|"
    if target is not None:
        verdict = f"{target:.3g} | {'met' if statistics.median(quotients) <= target else '**not met**'}"
    return f"| {what} | {unit} | {spread(ours)} | {spread(theirs)} | {spread(quotients)} | {verdict} |"


def sweep_lines(plan: Plan) -> Iterable[str]:
    """Measure the MNIST sweep; yield lines of the table."""
    ours, notebook, lightning = [], [], []
    our_sweep(QUICK)  # warm-up: caches of the file system
    for number in range(plan.rounds):
        ours.append(our_sweep(plan))
        notebook.append(notebook_loop(plan))
        lightning.append(lightning_loops(plan))
        print(
            f"round {number + 1}: {ours[-1]:.2f} {notebook[-1]:.2f} {lightning[-1]:.2f} s", file=sys.stderr, flush=True
        )
    what = f"MNIST sweep, {len(ARMS)} arms x {plan.seeds} seeds x {plan.epochs} epochs, 2 processes, 1 thread each"
    yield row(f"{what}, v the notebook's loop, 1 process, 2 threads", ours, notebook, 1 / 6, "s a model-epoch")
    yield row(f"{what}, v Lightning, 2 processes, 1 thread each", ours, lightning, 1 / 4, "s a model-epoch")


def figure4(times: dict[str, list[float]], rmp: str, loading: float) -> tuple[list[float], list[float]]:
    """Return the minutes of figure 4, round by round: ours in two processes, the notebook's one after the other.

    Projected from the training steps (20 epochs of 782) and, for the notebook, its loader. Ours: the three runs of
    each of many seeds, spread over two processes, so half of their sum.
    """
    minutes = 20 * 782 / 60
    our_steps = zip(*(times[f"ours cifar {arm}"] for arm in ("baseline", "pool", rmp)), strict=True)
    their_steps = zip(*(times[f"notebook cifar {arm}, 2 threads"] for arm in ARMS), strict=True)
    ours = [sum(three) / 2 * minutes for three in our_steps]
    return ours, [(sum(three) + 3 * loading) * minutes for three in their_steps]


def step_lines(steps: dict[str, Any]) -> Iterable[str]:
    """Yield the lines about steps of the table of ratios."""
    times = {name: [1000 * value for value in values] for name, values in steps["times"].items()}
    ms = "ms a step"
    for model, target in (("baseline", None), ("pool", 0.65), ("rmp", 0.5)):
        what = f"CIFAR-10, {model}, 1 thread, v the notebook's step, 1 thread"
        yield row(what, times[f"ours cifar {model}"], times[f"notebook cifar {model}"], target, ms)
    what = "CIFAR-10, projection (sparse), 1 thread, v our baseline"
    yield row(what, times["ours cifar projection sparse"], times["ours cifar baseline"], 1.1, ms)
    for model in ARMS:
        what = f"MNIST, {model}, 1 thread, v the notebook's step, 1 thread"
        yield row(what, times[f"ours mnist {model}"], times[f"notebook mnist {model}"], None, ms)
    what = "MNIST, pool, 1 thread, v the same step by torch's layers"
    yield row(what, times["ours mnist pool"], times["ours mnist pool, torch's layers"], None, ms)
    for rmp, target in (("rmp", 1 / 3), ("projection sparse", 1 / 6)):
        ours, theirs = figure4(steps["times"], rmp, steps["loading"]["cifar"])
        what = f"figure 4, {rmp}, projected: 2 processes, 1 thread each, v the notebook's, 1 process, 2 threads"
        yield row(what, ours, theirs, target, "min")


def start_lines(plan: Plan) -> Iterable[str]:
    """Measure and yield the table of starts."""
    yield "| first step of a run | s from the start of Python | s in a process that has had a run |"
    yield "| --- | --: | --: |"
    for overrides in (["dataset=mnist", "model=pool"], ["dataset=cifar", "model=pool"], ["dataset=cifar", "model=rmp"]):
        os.environ["ROUNDS"] = str(plan.starts)
        measured = result(python("-m", "benchmarks.first_step", *overrides))
        yield f"| {' '.join(overrides)} | {spread(measured['cold'])} | {spread(measured['warm'], 3)} |"


def share_lines(steps: dict[str, Any]) -> Iterable[str]:
    """Yield the table of the share of the peak."""
    peak = steps["peak"]
    yield f"Peak of one thread: {peak['flops'] / 1e9:.0f} GFLOP/s (product of two 1024 x 1024 matrices, float32),"
    yield f"{peak['bytes'] / 1e9:.0f} GB/s (sum of 1.6 GB).\n"
    yield "| step, batch 64, 1 thread | MFLOP | ms (median) | GFLOP/s | share of the peak |"
    yield "| --- | --: | --: | --: | --: |"
    for name, count in steps["flops"].items():
        seconds = statistics.median(steps["times"][f"ours {name}"])
        rate = count / seconds
        yield f"| {name} | {count / 1e6:.0f} | {1000 * seconds:.2f} | {rate / 1e9:.0f} | {rate / peak['flops']:.0%} |"


def other_lines(steps: dict[str, Any]) -> Iterable[str]:
    """Yield the table of kinds and precisions."""
    yield "| CIFAR-10, 1 thread | ms a step | v our baseline |"
    yield "| --- | --: | --: |"
    baseline = steps["times"]["ours cifar baseline"]
    for name, values in steps["times"].items():
        if name.startswith("ours cifar"):
            line = f"| {name.removeprefix('ours cifar ')} | {spread([1000 * v for v in values])} "
            yield f"{line}| {spread(ratios(values, baseline))} |"


def report(plan: Plan) -> str:
    """Measure everything and return it as Markdown."""
    began = time.time()
    processor = next(
        (line.split(":")[1].strip() for line in _read("/proc/cpuinfo").splitlines() if line.startswith("model name")),
        platform.processor(),
    )
    lines = ["| what | unit | ours | theirs | ratio | at most | |", "| --- | --- | --: | --: | --: | --: | --- |"]
    steps = result(python("-m", "benchmarks.steps", f"--rounds={plan.step_rounds}"))
    lines += step_lines(steps)
    lines += sweep_lines(plan)
    lines += ["", *start_lines(plan), "", *other_lines(steps), "", *share_lines(steps)]
    head = (
        f"{time.strftime('%Y-%m-%d')}, {os.cpu_count()} cores ({processor}), Python {platform.python_version()}, "
        f"torch {torch.__version__}, {(time.time() - began) / 60:.0f} minutes. n = {plan.rounds} rounds of the sweep, "
        f"{plan.step_rounds} of the steps; minimum / median / maximum; ratios round by round."
    )
    return "\n".join([head, "", *lines])


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def main() -> None:
    """Measure, print, and write the document's table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__.splitlines()[0] if __doc__ else None
    )
    parser.add_argument("--quick", action="store_true", help="n = 1, under 3 minutes; the document is left alone")
    options = parser.parse_args()
    if importlib.util.find_spec("lightning") is None:
        parser.error("Lightning is not installed: pip install -e .[bench]")
    root = Path(os.environ.get("WEIGHTNET_DATA", "data"))
    for needed in ("MNIST/raw", "cifar-10-batches-py"):
        if not (root / needed).is_dir():
            parser.error(f"{root / needed} is not there: set WEIGHTNET_DATA to a folder that has MNIST and CIFAR-10")
    os.environ["WEIGHTNET_DATA"] = str(root.resolve())
    text = report(QUICK if options.quick else FULL)
    print(text)
    if not options.quick:
        before, rest = DOCUMENT.read_text(encoding="utf-8").split(BEGIN)
        DOCUMENT.write_text(f"{before}{BEGIN}\n{text}\n{END}{rest.split(END)[1]}", encoding="utf-8")


if __name__ == "__main__":
    main()
