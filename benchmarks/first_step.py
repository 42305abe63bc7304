"""The seconds until a run has taken its first step; prints JSON.

    python -m benchmarks.first_step dataset=mnist model=pool

"cold": from the start of `python run.py ...`; "warm": of the next run in the same process, as in a worker.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


class FirstStep(BaseException):
    """Raised after the first step."""


def cold(overrides: list[str]) -> float:
    """Return the seconds from the start of Python to the first step of a run, in a process of its own."""
    start = time.time()
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.first_step", "--inside", *overrides],
        cwd=ROOT, check=True, capture_output=True, text=True,
    )  # fmt: skip
    return float(done.stdout.splitlines()[-1]) - start


def _inside(overrides: list[str]) -> None:
    """Do what `python run.py` does, print the time after the first step, and end."""
    import runpy

    from weightnet.net import training  # imported by the run in any case

    step = training.train_step

    def timed(*arguments: object) -> None:
        step(*arguments)  # type: ignore[arg-type]
        print(time.time(), flush=True)
        os._exit(0)

    training.train_step = timed  # type: ignore[assignment]
    sys.argv = ["run.py", *overrides]
    runpy.run_path(str(ROOT / "run.py"), run_name="__main__")


def warm(overrides: list[str], rounds: int) -> list[float]:
    """Return the seconds from the call of a run to its first step, in a process that has had a run before."""
    from benchmarks import compose
    from weightnet.net import training
    from weightnet.runs.job import run

    step = training.train_step
    stopped = 0.0

    def timed(*arguments: object) -> None:
        nonlocal stopped
        step(*arguments)  # type: ignore[arg-type]
        stopped = time.perf_counter()
        raise FirstStep

    training.train_step = timed  # type: ignore[assignment]
    config = compose(*overrides)
    seconds = []
    for seed in range(rounds + 1):
        start = time.perf_counter()
        try:
            run(replace(config, seed=seed))
        except FirstStep:
            seconds.append(stopped - start)
    return seconds[1:]


def main() -> None:
    """Measure and print."""
    arguments = sys.argv[1:]
    if arguments[:1] == ["--inside"]:
        return _inside(arguments[1:])
    rounds = int(os.environ.get("ROUNDS", "5"))
    with tempfile.TemporaryDirectory() as folder:
        overrides = [*arguments, "device=cpu", f"outputs={folder}"]
        result = {"cold": [cold(overrides) for _ in range(rounds)], "warm": warm(overrides, rounds)}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
