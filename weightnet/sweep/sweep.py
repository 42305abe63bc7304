"""A sweep from overrides to results: plan, execute by whatever launcher, record, report."""

import csv
import json
import shlex
import sys
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

from weightnet.errors import RunFailed, UserError
from weightnet.experiment import facts
from weightnet.runs.folder import RunState, State, write_whole
from weightnet.sweep.compose import Composer
from weightnet.sweep.engine import Engine, Outcome, Task
from weightnet.sweep.estimate import estimate
from weightnet.sweep.mistakes import close_match
from weightnet.sweep.plan import RERUN, Job, Plan, make_plan, read_states

States = dict[str, RunState]
"""Job's id -> where its run stands."""


def sweep(
    *,
    loader: ConfigLoader,
    launcher: Launcher,
    master: DictConfig,
    rerun: str,
    dry_run: bool,
    exclude: Sequence[str],
    zipped: Sequence[str],
    verify_epochs: int,
) -> Sequence[Outcome]:
    """Plan a sweep, launch what `rerun` asks for, write its records, and report.

    Args:
        loader: Hydra's.
        launcher: decides where the runs are executed.
        master: Hydra's config of the sweep.
        rerun: a key of `weightnet.sweep.plan.RERUN`.
        dry_run: print the plan and run nothing.
        exclude: see `weightnet.sweep.plan.make_plan`.
        zipped: see `weightnet.sweep.plan.make_plan`.
        verify_epochs: how many epochs `rerun=verify` replays.

    Raises:
        UserError: an option or a job is impossible; nothing has run then.
        RunFailed: runs have failed, or give other numbers; the message groups them by cause.
    """
    if rerun not in RERUN:
        hint = close_match(rerun, RERUN)
        raise UserError(f"hydra.sweeper.rerun={rerun}: must be one of {', '.join(RERUN)}{hint}")
    if verify_epochs < 1:
        raise UserError(f"hydra.sweeper.verify_epochs={verify_epochs}: must be at least 1")
    if rerun == "verify" and not isinstance(launcher, Engine):
        raise UserError("hydra.sweeper.rerun=verify: takes hydra/launcher=local")
    plan = make_plan(Composer(loader, [], master), zipped=zipped, exclude=exclude)
    states = read_states(plan.jobs)
    to_run = [job for job in plan.jobs if states[job.id].state in RERUN[rerun]]
    outputs = Path(master.outputs)
    if dry_run:
        _print_plan(plan, states, to_run, outputs)
        return []
    jobs = _longest_first(to_run, outputs)
    _say(plan, states, len(jobs), rerun)
    if not jobs:
        return []
    try:
        record = _Record(Path(master.hydra.sweep.dir), master, plan, states)
    except OSError as error:
        why = error.strerror or error
        raise RunFailed(f"cannot write to {master.hydra.sweep.dir} ({why}); nothing was run") from error
    try:
        outcomes = _launch(launcher, jobs, states, verify_epochs if rerun == "verify" else None)
    finally:
        states = read_states(plan.jobs)
        try:
            record.write_summary(plan, states)
        except OSError as error:
            print(f"cannot write {record.folder}/summary.csv ({error.strerror or error})", file=sys.stderr)
    print(f"{_counts(plan, states)}; summary in {record.folder}/summary.csv", flush=True)
    if rerun == "verify":
        _raise_differences(jobs, outcomes)
    _raise_failures(jobs, outcomes, states, master)
    return outcomes


def _launch(launcher: Launcher, jobs: list[Job], states: States, verify_epochs: int | None) -> Sequence[Outcome]:
    """Execute the jobs: as they are by a launcher of ours, as command lines by any other."""
    if verify_epochs is None:
        for job in jobs:
            if states[job.id].state in (State.DONE, State.STALE):
                job.folder.set_aside()
    if isinstance(launcher, Engine):
        return launcher.execute([Task(job.config, job.overrides, verify_epochs) for job in jobs])
    return [_outcome(result) for result in launcher.launch([job.overrides for job in jobs], initial_job_idx=0)]


def _outcome(result: JobReturn) -> Outcome:
    value = result._return_value  # its property raises errors
    return Outcome(value) if result.status == JobStatus.COMPLETED else Outcome(error=value)


def _longest_first(jobs: list[Job], outputs: Path) -> list[Job]:
    """Return the jobs so that no long one is left alone at the end."""
    seconds = estimate([job.config for job in jobs], outputs)
    ranked = sorted(zip(jobs, seconds, strict=True), key=lambda pair: -pair[1])
    return [job for job, _ in ranked]


def _counts(plan: Plan, states: States) -> str:
    counted = Counter(states[job.id].state for job in plan.jobs)
    return f"{len(plan.jobs)} runs: {', '.join(f'{number} {state}' for state, number in counted.items())}"


def _say(plan: Plan, states: States, count: int, rerun: str) -> None:
    merged = f", {plan.merged} of the combinations equal to another" if plan.merged else ""
    excluded = f", {plan.excluded} excluded" if plan.excluded else ""
    todo = "verify" if rerun == "verify" else "run"
    print(f"{_counts(plan, states)}{merged}{excluded}; {count} to {todo}", flush=True)
    reasons = Counter(state.why for state in states.values() if state.state == State.STALE)
    for why, number in reasons.most_common(5):
        print(f"  {number} stale: {why}", flush=True)
    if reasons and rerun == "missing":
        print("  stale runs stay as they are; hydra.sweeper.rerun=verify proves that they still hold, rerun=stale runs "
              "them again", flush=True)  # fmt: skip


def _print_plan(plan: Plan, states: States, to_run: list[Job], outputs: Path) -> None:
    """Print the table of a dry run."""
    running = {job.id for job in to_run}
    seconds = estimate([job.config for job in plan.jobs], outputs, probing=[job.config for job in to_run])
    table = Table(
        "id", "differs in", "state", "runs", "parameters", "dx", "dw/dx", "map", "time", box=None, pad_edge=False
    )
    total = 0.0
    for job, duration in zip(plan.jobs, seconds, strict=True):
        known = facts(job.config)
        dx, runs = known["dx"], job.id in running
        total += duration if runs else 0
        table.add_row(
            job.id, job.differing, states[job.id].state, "yes" if runs else "", f"{known['parameters']:,}",
            str(dx or ""), f"{(known['dw'] or 0) / dx:.0%}" if dx else "", _size(known["map"]), _duration(duration),
        )  # fmt: skip
    console = Console(width=None if sys.stdout.isatty() else 400)
    console.print(table)
    _say(plan, states, len(to_run), "none")
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

    def __init__(self, folder: Path, master: DictConfig, plan: Plan, states: States) -> None:
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
        command = {"command": shlex.join(sys.argv), "overrides": list(master.hydra.overrides.task)}
        write_whole(self.folder / "sweep.json", (json.dumps(command, indent=2) + "\n").encode())
        rows = [[job.id, job.differing, states[job.id].state, facts(job.config)["parameters"]] for job in plan.jobs]
        self._write("plan.csv", ["id", "differing", "state", "parameters"], rows)

    def write_summary(self, plan: Plan, states: States) -> None:
        """Write a row a run: what it reached."""
        rows = []
        for job in plan.jobs:
            metrics = job.folder.metrics()
            accuracy = metrics[-1]["test_accuracy"] if metrics else ""
            seconds = sum(row["seconds"] for row in metrics)
            rows.append([job.id, job.differing, states[job.id].state, accuracy, seconds])
        self._write("summary.csv", ["id", "differing", "state", "test_accuracy", "seconds"], rows)

    def _write(self, name: str, header: list[str], rows: Sequence[Sequence[object]]) -> None:
        with (self.folder / name).open("x", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows([header, *rows])


def _raise_differences(jobs: list[Job], outcomes: Sequence[Outcome]) -> None:
    """Say how many replays agreed; name those that did not."""
    replayed = [(job, outcome) for job, outcome in zip(jobs, outcomes, strict=True) if outcome.error is None]
    differing = [f"  {job.id}: {outcome.value}" for job, outcome in replayed if outcome.value]
    print(f"{len(replayed) - len(differing)} of {len(replayed)} replays agree, bit for bit", flush=True)
    if differing:
        raise RunFailed("\n".join([f"{len(differing)} runs stay stale, their numbers differ here:", *differing]))


def _raise_failures(jobs: list[Job], outcomes: Sequence[Outcome], states: States, master: DictConfig) -> None:
    """Group the runs that failed by cause; say how to run just those again."""
    causes: dict[str, list[Job]] = defaultdict(list)
    mistakes, stopped = set(), 0
    for job, outcome in zip(jobs, outcomes, strict=True):
        stopped += isinstance(outcome.error, CancelledError)
        if not outcome.failed:
            continue
        if isinstance(outcome.error, UserError):
            mistakes.add(str(outcome.error))
        recorded = states[job.id].why if states[job.id].state == State.FAILED else ""
        causes[recorded or str(outcome.error).strip().rpartition("\n")[2]].append(job)
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
