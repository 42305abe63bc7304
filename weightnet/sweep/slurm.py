"""Slurm's commands as a sweep needs them: submit workers, see where they stand, signal them, cancel them.

Plain sbatch, one array job of identical tasks. What Slurm says is read with given formats, never from its tables.
"""

import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from weightnet.errors import RunFailed, UserError
from weightnet.plain import printable

PATIENCE = 60.0  # seconds that one of the commands may take

GIVEN = {
    "partition": "partition", "account": "account", "qos": "qos", "time": "timeout_min",
    "cpus-per-task": "cpus_per_task", "gpus-per-node": "gpus_per_node", "mem": "mem_gb", "constraint": "constraint",
}  # fmt: skip
"""sbatch's option -> the key below `hydra.launcher`."""

OURS = {"array", "requeue", "no-requeue", "open-mode", "signal", "job-name", "nodes", "ntasks", "chdir", "output",
        "error", "parsable", "wait", "wrap"}  # fmt: skip
"""Options of sbatch by which workers are what they are."""

ENDED = {"BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED",
         "REVOKED", "TIMEOUT"}  # fmt: skip
"""The states of a worker that will not come back."""


@dataclass
class Options:
    """What is asked of Slurm: the keys below `hydra.launcher`; None: as it is where nothing is said."""

    workers: int = 1  # jobs in the queue, at most; each executes runs until none is left
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    timeout_min: int | None = None  # of a worker: it finishes its epoch before, and goes back into the queue
    cpus_per_task: int = 1  # of a worker: so many runs of one thread at a time
    gpus_per_node: int | None = None  # 1: a run at a time
    mem_gb: float | None = None  # of a worker
    constraint: str | None = None
    setup: list[str] = field(default_factory=list)  # lines of shell before the worker: ["module load gcc"]
    additional: dict[str, Any] = field(default_factory=dict)  # any other option of sbatch: {exclude: "node[1-2]"}

    def check(self) -> None:
        """UserError: a value is impossible, or there is no Slurm here."""
        for name in ("workers", "timeout_min", "cpus_per_task", "gpus_per_node", "mem_gb"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise UserError(f"hydra.launcher.{name}={value}: must be greater than 0")
        if (self.gpus_per_node or 1) > 1:
            raise UserError(f"hydra.launcher.gpus_per_node={self.gpus_per_node}: a worker executes one run at a time "
                            "on a GPU; take 1, and more workers")  # fmt: skip
        for name in self.additional:
            if name in GIVEN or name in OURS:
                right = f"hydra.launcher.{GIVEN[name]}=" if name in GIVEN else "nothing: a worker needs it as it is"
                raise UserError(f"hydra.launcher.additional.{name}: give {right}")
        if missing := [name for name in ("sbatch", "squeue", "scancel") if not shutil.which(name)]:
            raise UserError(f"hydra/launcher=slurm: there is no {missing[0]} here; submit where Slurm's commands are, "
                            "or take hydra/launcher=local")  # fmt: skip

    def arguments(self) -> list[str]:
        """Return them as sbatch takes them."""
        given = {name: getattr(self, key) for name, key in GIVEN.items()} | dict(self.additional)
        if self.mem_gb is not None:
            given["mem"] = f"{round(self.mem_gb * 1024)}M"
        return [f"--{name}" if value is True else f"--{name}={value}" for name, value in given.items()
                if value is not None and value is not False]  # fmt: skip


@dataclass(frozen=True)
class Worker:
    """A worker as the queue knows it."""

    job: str
    state: str
    reason: str
    folder: Path  # where it was started

    @property
    def alive(self) -> bool:
        """Whether it works, or will."""
        return self.state not in ENDED


def submit(folder: Path, options: Options, workers: int, *, notice: int) -> str:
    """Submit workers for what lies in a folder (`weightnet.sweep.handover`); return the job's number.

    A worker hears `notice` seconds before its time is up. RunFailed: sbatch refuses, and says why.
    """
    script = folder / "worker.sh"
    command = [
        "sbatch", "--parsable", f"--array=0-{workers - 1}", "--requeue", "--open-mode=append",
        f"--signal=B:USR1@{notice}", "--job-name=weightnet", "--nodes=1", "--ntasks=1", f"--chdir={folder / 'code'}",
        "--output=../worker-%A_%a.log", *options.arguments(), str(script),
    ]  # fmt: skip
    worker = shlex.join([sys.executable, "-m", "weightnet.sweep.queue_worker", str(folder), f"--notice={notice}"])
    lines = [
        "#!/bin/bash", f"# {printable(shlex.join(command))}",  # a line break would end the comment
        "trap '' USR1  # until the worker listens", *options.setup,
        f"cd {shlex.quote(str(folder / 'code'))}", 'export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"',
        f"exec {worker}",
    ]  # fmt: skip
    script.write_text("\n".join(lines) + "\n")
    return _run(command).strip().partition(";")[0]


def workers() -> list[Worker]:
    """Return one's own workers that the queue still knows, also for a while after their end. RunFailed: no answer."""
    said = _run(["squeue", "--noheader", "--me", "--array", "--states=all", "--name=weightnet", "--format=%F|%T|%r|%Z"])
    lines = [line.split("|", 3) for line in said.splitlines() if line.count("|") >= 3]
    return [Worker(job, state, reason, Path(folder)) for job, state, reason, folder in lines]


def seconds_left(job: str) -> float:
    """Return how long a job may still run. RunFailed: no answer."""
    said = _run(["squeue", "--noheader", f"--jobs={job}", "--format=%L"]).strip()
    days, _, clock = said.rpartition("-")
    seconds = 0.0
    try:
        for part in clock.split(":"):
            seconds = 60 * seconds + int(part)
        return 86400 * int(days or 0) + seconds
    except ValueError:  # UNLIMITED, NOT_SET
        return float("inf")


def state(job: str) -> str:
    """Return where a job stands, by Slurm's word for it. RunFailed: no answer."""
    return _run(["squeue", "--noheader", "--states=all", f"--jobs={job}", "--format=%T"]).strip()


def finish_epochs(jobs: Sequence[str]) -> None:
    """Tell the workers that run, and cancel those that wait. RunFailed: no answer."""
    cancel(jobs, waiting=True)
    if jobs:  # of none scancel would tell everybody's
        _run(["scancel", "--signal=USR1", "--batch", "--state=RUNNING", *jobs])


def cancel(jobs: Sequence[str], *, waiting: bool = False) -> None:
    """Cancel workers; of these, if so asked, those that wait. RunFailed: no answer."""
    if jobs:  # of none scancel would take all that wait
        _run(["scancel", *(["--state=PENDING"] if waiting else []), *jobs])


def requeue(job: str) -> None:
    """Put a job back into the queue. RunFailed: no answer."""
    _run(["scontrol", "requeue", job])


def _run(command: Sequence[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RunFailed(f"{command[0]}: {error}") from None
    if done.returncode:
        said = " ".join(done.stderr.replace(f"{command[0]}: error: ", "").split())
        raise RunFailed(f"{command[0]}: {said or f'exit status {done.returncode}'}")
    return done.stdout
