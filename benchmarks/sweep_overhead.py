"""What a sweep costs besides training: planning and launching, per job.

    python -m benchmarks.sweep_overhead                    the table in docs/sweep_overhead.md, about 25 minutes
    python -m benchmarks.sweep_overhead --jobs 10 --plan 100    a quick look

Each job is as good as nothing: one step on one example of the bundled digits, and an evaluation. All times are of whole
processes, one after the other, on an otherwise idle machine; "ms a further job" is the time beyond that of the same
sweep with one job, for each job more. "Asked again": the same command once all its runs are finished. The second table
is the same for finished runs that are written, not executed.
"""

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from benchmarks import compose
from weightnet.experiment import Config, EpochResult, facts, run_folder
from weightnet.runs.folder import RunFolder
from weightnet.runs.record import new_record, utc_now

ROOT = Path(__file__).resolve().parents[1]
TRIVIAL = ["dataset=digits", "model=baseline", "train.epochs=1", "train.subset=1", "device=cpu"]


def sweep(count: int, outputs: Path, *options: str) -> float:
    """Return the seconds of the whole process of a sweep of `count` trivial jobs."""
    command = [sys.executable, "run.py", "-m", *TRIVIAL, f"seed=range(0,{count})", f"outputs={outputs}", *options]
    start = time.perf_counter()
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def write_finished(count: int, outputs: Path) -> None:
    """Write `count` finished runs, as executing the trivial sweep would."""
    first = compose(*TRIVIAL, f"outputs={outputs}", "seed=0")
    for seed in range(count):
        write_run(replace(first, seed=seed), [])


def write_run(config: Config, overrides: list[str]) -> None:
    """Write a finished run of one epoch as executing it would; its accuracy is made up of its seed."""
    folder = RunFolder(run_folder(config))
    folder.path.mkdir(parents=True)
    folder.write_config(config)
    accuracy, feedback = 0.5 + config.seed % 97 / 1000, (1.5, 0.25) if facts(config)["dx"] else None
    folder.write_history([EpochResult(1, 1, 1.0, 1.0, accuracy, 0.1, [], feedback)])
    record = replace(new_record(config, overrides, None), status="done", finished=utc_now(), seconds=0.1)
    folder.write_record(replace(record, files=folder.digests()))


def main() -> None:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--jobs", type=int, nargs="+", default=[10, 100, 1000], help="sizes of launched sweeps")
    parser.add_argument("--plan", type=int, nargs="+", default=[100, 1000, 10000], help="sizes of finished sweeps")
    options = parser.parse_args()
    launchers = {
        "basic (Hydra's sweeper)": ["hydra/sweeper=basic", "hydra/launcher=basic"],
        "joblib (Hydra's sweeper)": ["hydra/sweeper=basic", "hydra/launcher=joblib"],
        "study + basic": ["hydra/launcher=basic"],
        "study + joblib": ["hydra/launcher=joblib"],
        "study + local": ["hydra/launcher=local"],
    }
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    print(f"{machine}, {time.strftime('%Y-%m-%d')}")
    print("\n| sweeper and launcher | jobs | launch, s | ms a further job | asked again, s | ms a finished job |")
    print("| --- | --: | --: | --: | --: | --: |", flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        for number, (name, choice) in enumerate(launchers.items()):
            one, one_again = (sweep(1, Path(temporary) / f"{number}-1", *choice) for _ in range(2))
            for count in options.jobs:
                launch, again = (sweep(count, Path(temporary) / f"{number}-{count}", *choice) for _ in range(2))
                further, finished = (1000 * seconds / (count - 1) for seconds in (launch - one, again - one_again))
                print(f"| {name} | {count} | {launch:.1f} | {further:.0f} | {again:.1f} | {finished:.1f} |", flush=True)
        print("\n| finished runs | planned and skipped in, s | ms a run |\n| --: | --: | --: |")
        for count in options.plan:
            outputs = Path(temporary) / f"plan-{count}"
            write_finished(count, outputs)
            seconds = sweep(count, outputs)
            print(f"| {count} | {seconds:.1f} | {1000 * seconds / count:.1f} |", flush=True)


if __name__ == "__main__":
    main()
