"""A sweep from overrides to results: plan, execute by whatever launcher, record, report."""

import csv
import json
import shlex
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from concurrent.futures import CancelledError
from pathlib import Path

from hydra.core.config_loader import ConfigLoader
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table

from cli.compose import Composer
from cli.mistakes import close_match
from cli.plan import RERUN, Job, Plan, make_plan
from weightnet.config import parameter_count
from weightnet.errors import RunFailed, UserError
from weightnet.estimate import estimate
from weightnet.feedback import carried
from weightnet.projection import map_bytes
from weightnet.record import CODE
from weightnet.store import write_whole


def sweep(
    *,
    loader: ConfigLoader,
    launcher: Launcher,
    master: DictConfig,
    rerun: str,
    dry_run: bool,
    exclude: Sequence[str],
    zipped: Sequence[str],
) -> Sequence[JobReturn]:
    """Plan a sweep, launch what `rerun` asks for, write its records, and report.

    Args:
        loader: Hydra's.
        launcher: decides where the runs are executed.
        master: Hydra's config of the sweep.
        rerun: a key of `cli.plan.RERUN`.
        dry_run: print the plan and run nothing.
        exclude: see `cli.plan.make_plan`.
        zipped: see `cli.plan.make_plan`.

    Raises:
        UserError: an option or a job is impossible; nothing has run then.
        RunFailed: runs have failed; the message groups them by cause.
    """
    if rerun not in RERUN:
        hint = close_match(rerun, RERUN)
        raise UserError(f"hydra.sweeper.rerun={rerun}: must be one of {', '.join(RERUN)}{hint}")
    plan = make_plan(Composer(loader, [], master), zipped=zipped, exclude=exclude)
    outputs = Path(master.outputs)
    if dry_run:
        _print_plan(plan, rerun, outputs)
        return []
    jobs = _longest_first(plan.to_run(rerun), outputs)
    _say(plan, len(jobs))
    if not jobs:
        return []
    try:
        record = _Record(Path(master.hydra.sweep.dir), master, plan)
    except OSError as error:
        why = error.strerror or error
        raise RunFailed(f"cannot write to {master.hydra.sweep.dir} ({why}); nothing was run") from error
    for job in jobs:
        if job.state in ("done", "stale"):
            job.folder.set_aside()
    try:
        outcomes = launcher.launch([job.overrides for job in jobs], initial_job_idx=0)
    finally:
        plan.refresh()
        try:
            record.write_summary(plan)
        except OSError as error:
            print(f"cannot write {record.folder}/summary.csv ({error.strerror or error})", file=sys.stderr)
    print(f"{_counts(plan)}; summary in {record.folder}/summary.csv", flush=True)
    _raise_failures(jobs, outcomes, master)
    return outcomes


def _longest_first(jobs: list[Job], outputs: Path) -> list[Job]:
    """Return the jobs so that no long one is left alone at the end."""
    seconds = estimate([job.config for job in jobs], outputs, probing=False)
    ranked = sorted(zip(jobs, seconds, strict=True), key=lambda pair: -pair[1])
    return [job for job, _ in ranked]


def _counts(plan: Plan) -> str:
    states = Counter(job.state for job in plan.jobs)
    return f"{len(plan.jobs)} runs: {', '.join(f'{number} {state}' for state, number in states.items())}"


def _say(plan: Plan, count: int) -> None:
    merged = f", {plan.merged} of the combinations equal to another" if plan.merged else ""
    excluded = f", {plan.excluded} excluded" if plan.excluded else ""
    print(f"{_counts(plan)}{merged}{excluded}; {count} to run", flush=True)


def _print_plan(plan: Plan, rerun: str, outputs: Path) -> None:
    """Print the table of a dry run."""
    to_run = {job.id for job in plan.to_run(rerun)}
    seconds = estimate([job.config for job in plan.jobs], outputs, probing=True)
    table = Table(
        "id", "differs in", "state", "runs", "parameters", "dx", "dw/dx", "map", "time", box=None, pad_edge=False
    )
    total = 0.0
    for job, duration in zip(plan.jobs, seconds, strict=True):
        config, dx = job.config, job.config.dims.dx or 0
        total += duration if job.id in to_run else 0
        table.add_row(
            job.id, job.differing, job.state, "yes" if job.id in to_run else "", f"{parameter_count(config):,}",
            str(dx or ""), f"{(carried(config) or 0) / dx:.0%}" if dx else "", _size(map_bytes(config)),
            _duration(duration),
        )  # fmt: skip
    console = Console(width=None if sys.stdout.isatty() else 400)
    console.print(table)
    _say(plan, len(to_run))
    print(f"in all about {_duration(total)} of one worker's time; nothing was run")


def _size(number: int) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if number >= size:
            return f"{number / size:.2f} {unit}"
    return ""


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02} min" if minutes >= 60 else f"{seconds / 60:.1f} min"


class _Record:
    """`<outputs>/sweeps/<time>/`: what was asked, planned and reached. Nothing there is ever overwritten."""

    def __init__(self, folder: Path, master: DictConfig, plan: Plan) -> None:
        """Make the folder and write what is known before the first run."""
        self.folder = folder
        number = 1
        while True:
            try:
                self.folder.mkdir(parents=True)
                break
            except FileExistsError:  # another sweep began in the same second
                number += 1
                self.folder = folder.with_name(f"{folder.name}-{number}")
        self.start = time.time()
        command = {"command": shlex.join(sys.argv), "overrides": list(master.hydra.overrides.task), "code": CODE}
        write_whole(self.folder / "sweep.json", (json.dumps(command, indent=2) + "\n").encode())
        rows = [[job.id, job.differing, job.state, parameter_count(job.config)] for job in plan.jobs]
        self._write("plan.csv", ["id", "differing", "state", "parameters"], rows)

    def write_summary(self, plan: Plan) -> None:
        """Write a row a run: what it reached."""
        rows = []
        for job in plan.jobs:
            metrics = job.folder.metrics()
            accuracy = metrics[-1]["test_accuracy"] if metrics else ""
            rows.append([job.id, job.differing, job.state, accuracy, sum(row["seconds"] for row in metrics)])
        self._write("summary.csv", ["id", "differing", "state", "test_accuracy", "seconds"], rows)

    def _write(self, name: str, header: list[str], rows: Sequence[Sequence[object]]) -> None:
        with (self.folder / name).open("x", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows([header, *rows])


def _raise_failures(jobs: list[Job], outcomes: Sequence[JobReturn], master: DictConfig) -> None:
    """Group the runs that failed by cause; say how to run just those again."""
    causes: dict[str, list[Job]] = defaultdict(list)
    mistakes, stopped = set(), 0
    for job, outcome in zip(jobs, outcomes, strict=True):
        if outcome.status == JobStatus.COMPLETED:
            continue
        error = outcome._return_value  # its property raises it
        if isinstance(error, CancelledError):
            stopped += 1
            continue
        if isinstance(error, UserError):
            mistakes.add(str(error))
        recorded = str(job.folder.record().get("error") or error) if job.state == "failed" else str(error)
        causes[recorded.strip().splitlines()[-1]].append(job)
    if not causes:
        return
    text = [f"{sum(map(len, causes.values()))} of {len(jobs)} runs failed{f', {stopped} not started' * bool(stopped)}:"]
    for cause, members in sorted(causes.items(), key=lambda pair: -len(pair[1])):
        names = ", ".join(job.id for job in members[:3]) + (", ..." if len(members) > 3 else "")
        text.append(f"  {len(members)} x {cause}\n      {names}")
    if mistakes == set(causes):
        raise UserError("\n".join(text))
    overrides = [part for part in master.hydra.overrides.task if not part.startswith("hydra.sweeper.rerun=")]
    again = shlex.join(["python", "run.py", "-m", *overrides, "hydra.sweeper.rerun=failed"])
    text.append(f"  tracebacks: run.json and run.log in {master.outputs}/runs/<id>\n  run just those again: {again}")
    raise RunFailed("\n".join(text))
