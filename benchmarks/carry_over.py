"""Carries finished runs over to today's code, on another kind of machine than theirs.

    python -m benchmarks.carry_over OUTPUTS OLD --processes 2

`hydra.sweeper.rerun=verify` compares a replay with the run's own files; but another kind of CPU rounds otherwise, and
then nothing agrees. So the old code is taken as a go-between: OLD has, in folders of the same names, the first epoch of
each run in OUTPUTS as the code that made it gives it *here*. Where today's code gives the same numbers here, bit for
bit, the run counts as current, and its run.json says against what it was verified.

The first epochs in OLD: each run's config with the old checkout's `weightnet.job.run(config, stop=lambda: True)`.
"""

import argparse
import itertools
import multiprocessing
import os
import platform
from pathlib import Path

import yaml

from weightnet.experiment import Config, Training, build, origins, run_id
from weightnet.runs.folder import RunFolder
from weightnet.runs.record import verification


def carry_over(folder: Path, old: Path, data_root: str) -> str:
    """Replay the first epoch of a run; note the evidence in its run.json, or return what differs."""
    config: Config = build(yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8")))
    config.data_root = data_root
    assert run_id(config) == folder.name
    go_between, run = RunFolder(old / folder.name), RunFolder(folder)
    theirs, ours = go_between.record(), run.record()
    if theirs is None or ours is None or (theirs.code, theirs.signature) != (ours.code, ours.signature):
        return "OLD has no epoch of this run by the code that made it"
    training = Training(config)
    training.build()
    history = list(itertools.islice(training.epochs(done=0), 1))
    files, difference = go_between.difference(history)
    if not difference:
        against = f"the same epoch by the code that made the run ({ours.code}) on this machine ({_machine()})"
        ours.verified = verification(next(origins([config])), epochs=1, files=files, against=against)
        run.write_record(ours)
    return difference


def _machine() -> str:
    model = next((line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")), "")
    return model.partition(": ")[2] or platform.processor()


def main() -> None:
    """Carry over all runs."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("outputs", type=Path)
    parser.add_argument("old", type=Path)
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    options = parser.parse_args()
    folders = sorted(path.parent for path in (options.outputs / "runs").glob("*/run.json"))
    tasks = [(folder, options.old / "runs", os.environ.get("WEIGHTNET_DATA", "data")) for folder in folders]
    agreed = 0
    with multiprocessing.get_context("spawn").Pool(options.processes) as pool:
        results = [pool.apply_async(carry_over, task) for task in tasks]
        for folder, result in zip(folders, results, strict=True):
            difference = result.get()
            agreed += not difference
            if difference:
                print(f"{folder.name}: {difference}", flush=True)
    print(f"{agreed} of {len(folders)} agree, bit for bit")


if __name__ == "__main__":
    main()
