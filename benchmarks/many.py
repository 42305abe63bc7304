"""Ten thousand runs: what planning, looking at and executing them costs, and how that grows.

    python -m benchmarks.many                            the tables in docs/performance.md, about half an hour (Linux)
    python -m benchmarks.many --sizes 1000 --plan 10000 --real 200     a quick look

Finished runs are written, not executed, by the project's own writers. Times are of whole processes, one after the
other: "first" without what was kept of earlier reading (`<outputs>/runs/.cache.json`), "again" with it. The real runs
train on 64 digits for an epoch. The parent is the sweep's own process, its start, its table and its picture included.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks import compose
from benchmarks.sweep_overhead import write_run
from weightnet.runs.readings import CACHE
from weightnet.sweep.compose import composer
from weightnet.sweep.plan import make_plan
from weightnet.sweep.states import read_states

ROOT = Path(__file__).resolve().parents[1]
TINY = ["dataset=digits", "train.epochs=1", "train.subset=64", "device=cpu"]
_TOLD = """
import atexit, json, sys, time
def tell(path):
    (peak,) = (line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
    open(path, "w").write(json.dumps([time.process_time(), 1024 * int(peak)]))
atexit.register(tell, sys.argv[1])
"""  # not getrusage: its peak is also that of the process which this one is started by
_COMMANDS = {
    "plan": "from benchmarks.many import plan; plan(sys.argv[2:])",
    "sweep": "from weightnet.__main__ import main; sys.argv[:] = ['run.py', '-m', *sys.argv[2:]]; main()",
    "status": "from analysis.__main__ import main; main(['status', *sys.argv[-1:]])",
    "table": "from analysis.__main__ import main; main(['table', *sys.argv[-1:]])",
}  # what a process does, which leaves its own CPU time and peak memory, not those of its children


def words(count: int, outputs: Path) -> list[str]:
    """Return the overrides of a sweep of so many tiny runs, the output root last."""
    return [*TINY, "model=baseline,pool", f"seed=range({count // 2})", f"outputs={outputs}"]


def plan(overrides: Sequence[str]) -> None:
    """Plan a sweep and read the states of its runs."""
    with composer(overrides) as jobs:
        states = read_states(make_plan(jobs).jobs)
    print(f"{len(states)} runs")


def write_finished(count: int, outputs: Path) -> None:
    """Write so many finished runs. (Nothing is lost should the machine stop: no fsync.)"""
    with composer(words(count, outputs)) as jobs:
        planned = make_plan(jobs).jobs
    fsync, os.fsync = os.fsync, lambda file: None
    try:
        for job in planned:
            write_run(job.config, job.overrides)
    finally:
        os.fsync = fsync


def measure(what: str, overrides: Sequence[str]) -> tuple[float, float, int]:
    """Return the seconds that a process takes, those of its own on a CPU, and the bytes of its peak."""
    with tempfile.TemporaryDirectory() as folder:
        told, start = Path(folder, "told"), time.perf_counter()
        command = [sys.executable, "-c", _TOLD + _COMMANDS[what], str(told), *overrides]
        subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        seconds = time.perf_counter() - start
        own, peak = json.loads(told.read_text())
        return seconds, own, peak


def looked_at(count: int, outputs: Path) -> None:
    """Print a line for each way to look at so many finished runs."""
    write_finished(count, outputs)
    overrides = words(count, outputs)
    measure("sweep", overrides)  # `table` is of the last sweep
    for name, what in (("plan, states read", "plan"), ("the sweep again, table and picture", "sweep"),
                       ("status", "status"), ("table", "table")):  # fmt: skip
        (outputs / "runs" / CACHE).unlink(missing_ok=True)
        (first, _, most), (again, _, peak) = (measure(what, overrides) for _ in range(2))
        print(f"| {name} | {count:,} | {first:.1f} | {again:.1f} | {max(most, peak) / 1e6:.0f} |", flush=True)


def of_one_run(outputs: Path) -> str:
    """Execute a run of one epoch; say how many files it leaves, and how often it waits for the disk."""
    from weightnet.runs.job import run  # not above: it imports torch

    fsync, calls = os.fsync, list[int]()
    os.fsync = lambda file: (calls.append(file), fsync(file))[1]
    try:
        folder = run(compose(*TINY, "model=pool", f"outputs={outputs}")).folder
    finally:
        os.fsync = fsync
    files = sorted(path.name for path in folder.iterdir())
    return f"A run of one epoch leaves {len(files)} files ({', '.join(files)}) and its lock, with {len(calls)} fsyncs."


def main() -> None:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.many", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="*", default=[1000, 10_000], help="of finished sweeps")
    parser.add_argument("--plan", type=int, nargs="*", default=[100_000], help="of sweeps that are planned alone")
    parser.add_argument("--real", type=int, nargs="*", default=[10_000], help="of sweeps that are executed")
    options, cores = parser.parse_args(), os.cpu_count() or 1
    print(f"{time.strftime('%Y-%m-%d')}, {cores} cores ({platform.processor() or platform.machine()}), "
          f"Python {platform.python_version()}, each measured once (n = 1).\n")  # fmt: skip
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        print("| finished runs | runs | first, s | again, s | peak, MB |\n| --- | --: | --: | --: | --: |", flush=True)
        for count in options.sizes:
            looked_at(count, root / f"{count}")
        for count in options.plan:
            seconds, _, peak = measure("plan", words(count, root / "planned"))
            print(f"| plan, none has run | {count:,} | {seconds:.1f} | | {peak / 1e6:.0f} |", flush=True)
        print(
            "\n| real runs | s | parent, s of CPU | of the time of all cores |\n| --: | --: | --: | --: |", flush=True
        )
        for count in options.real:
            seconds, own, _ = measure("sweep", words(count, root / f"real-{count}"))
            print(f"| {count:,} | {seconds:.0f} | {own:.1f} | {own / seconds / cores:.1%} |", flush=True)
        print(f"\n{of_one_run(root / 'one')}")


if __name__ == "__main__":
    main()
