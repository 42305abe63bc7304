"""A sweep from overrides to results: plan, execute by whatever launcher, record, report."""

import json
import math
import shlex
import sys
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import CancelledError
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path

from hydra.core.config_loader import ConfigLoader
from hydra.core.utils import JobStatus
from hydra.plugins.launcher import Launcher
from omegaconf import DictConfig, read_write

from weightnet.errors import RunFailed, UserError
from weightnet.experiment import AnalysisConfig, facts, slower
from weightnet.runs.folder import State, write_csv, write_whole
from weightnet.sweep.announce import counts, print_plan, say_plan
from weightnet.sweep.compose import Composer
from weightnet.sweep.engine import Engine, Outcome, Task
from weightnet.sweep.estimate import estimate
from weightnet.sweep.mistakes import close_match, program
from weightnet.sweep.plan import Job, Plan, make_plan
from weightnet.sweep.search import SearchConfig
from weightnet.sweep.stages import Looks, stages
from weightnet.sweep.states import ANEW, RERUN, States, read_states


def sweep(
    loader: ConfigLoader, launcher: Launcher, master: DictConfig, looks: Callable[[], Looks]
) -> Sequence[Outcome]:
    """Plan the sweep of Hydra's config `master`, launch what its `rerun` asks for, write its records, and report.

    `looks` imports what is asked between the stages of a plan with looks, or of a search.

    Raises:
        UserError: an option or a job is impossible, and nothing has run; or what has cannot be compared.
        RunFailed: runs have failed, or give other numbers; the message groups them by cause.
    """
    options, outputs, rerun = master.hydra.sweeper, Path(master.outputs), master.hydra.sweeper.rerun
    composer = Composer(loader, [], master)
    plan = _plan(composer, launcher, master, looks)
    states = read_states(plan.jobs)
    to_run = [job for job in plan.jobs if states[job.id].state in RERUN[rerun]]
    if options.dry_run:
        print_plan(plan, states, to_run, outputs, options)
        return []
    say_plan(plan, states, len(to_run), rerun)
    folder = _begin_records(master, plan, states)
    if not to_run and not plan.search:
        return []
    if why := slower(job.config for job in plan.jobs):  # also: the kernel is compiled here, before any worker wants it
        print(f"  {why}", flush=True)
    title = f"sweep {folder.name}: {' '.join(master.hydra.overrides.task)}"
    launched: list[Job] = []
    outcomes: list[Outcome] = []
    needless: set[str] = set()
    try:
        for stage in stages(plan, composer, looks, outputs, folder / "search.journal"):
            if new := [job for job in stage.jobs if job.id not in states]:
                states |= read_states(new)
                plan = replace(plan, jobs=[*plan.jobs, *new])
                _write_plan(folder, plan, states)
            seeds = list(dict.fromkeys(job.config.seed for job in stage.jobs))
            jobs = _in_order([job for job in stage.jobs if states[job.id].state in RERUN[rerun]], seeds, outputs)
            if new:
                todo = "verify" if rerun == "verify" else "run"
                print(f"{stage.words}: {counts(new, states)}; {len(jobs)} to {todo}", flush=True)
            if jobs and plan.search:
                _refuse_stale(states, rerun)
            needless |= {job.id for job in stage.needless if states[job.id].state in RERUN[rerun]}
            outcomes += _launch(launcher, jobs, options, title) if jobs else []
            launched += jobs
            most = master.hydra.launcher.get("max_failures") or math.inf  # it ends the sweep, not a stage alone
            failures = sum(outcome.failed for outcome in outcomes)
            if failures >= most or any(isinstance(outcome.error, CancelledError) for outcome in outcomes):
                break
    finally:
        states = read_states(plan.jobs)
        _write_summary(folder, plan, states, needless)
    print(f"{counts(plan.jobs, states, needless)}; summary in {folder}/summary.csv", flush=True)
    _raise_failures(launched, outcomes, states, master)
    return outcomes


def _in_order(jobs: list[Job], seeds: Sequence[int], outputs: Path) -> list[Job]:
    """Return jobs in the order in which they are started: seed by seed as these are, and of a seed the longest first.

    So a sweep that is stopped has about as many seeds of each arm, and no long run of the last seed is left alone.
    """
    seconds = dict(zip((job.id for job in jobs), estimate([job.config for job in jobs], outputs), strict=True))
    places = {seed: place for place, seed in enumerate(seeds)}
    return sorted(jobs, key=lambda job: (places[job.config.seed], -seconds[job.id]))


def _refuse_stale(states: States, rerun: str) -> None:
    """Refuse to go on with a search from runs of other code: all of it would be compared in the end."""
    stale = [state.why for state in states.values() if state.state == State.STALE and State.STALE not in RERUN[rerun]]
    if stale:
        raise UserError(f"{len(stale)} runs of this search are stale ({stale[0]}): hydra.sweeper.rerun=verify proves "
                        "that they still hold, rerun=stale runs them again")  # fmt: skip


def _plan(composer: Composer, launcher: Launcher, master: DictConfig, looks: Callable[[], Looks]) -> Plan:
    """Return the plan of a sweep; UserError: an option or a job is impossible."""
    options = master.hydra.sweeper
    if (rerun := options.rerun) not in RERUN:
        raise UserError(f"hydra.sweeper.rerun={rerun}: must be one of {', '.join(RERUN)}{close_match(rerun, RERUN)}")
    if options.verify_epochs < 1:
        raise UserError(f"hydra.sweeper.verify_epochs={options.verify_epochs}: must be at least 1")
    if rerun == "verify" and not isinstance(launcher, Engine):
        raise UserError("hydra.sweeper.rerun=verify: takes hydra/launcher=local, slurm or ray")
    plan = make_plan(composer, zipped=options.zip, exclude=options.exclude, impossible=options.impossible,
                     looks=options.looks, search=SearchConfig(**options.search))  # fmt: skip
    if (plan.looks or plan.search) and master.hydra.launcher.get("wait") is False:
        raise UserError("hydra.launcher.wait=false: a sweep with looks or a search waits for its runs")
    if plan.looks or plan.search or plan.analysis != AnalysisConfig():  # the default needs no check: it costs a second
        looks().check(plan)
    return plan


def _launch(launcher: Launcher, jobs: list[Job], options: DictConfig, title: str) -> Sequence[Outcome]:
    """Execute the jobs: as they are by a launcher of ours, as command lines by any other."""
    if isinstance(launcher, Engine):
        epochs, anew = options.verify_epochs if options.rerun == "verify" else None, options.rerun in ANEW
        tasks = [Task(job.config, job.overrides, epochs, anew, job.differing) for job in jobs]
        return launcher.execute(tasks, title=title)
    results = launcher.launch([job.overrides for job in jobs], initial_job_idx=0)
    ended = [(result.status == JobStatus.COMPLETED, result._return_value) for result in results]  # its property raises
    return [Outcome(value) if completed else Outcome(error=value) for completed, value in ended]


def _begin_records(master: DictConfig, plan: Plan, states: States) -> Path:
    """Make `<outputs>/sweeps/<time>/`, where nothing is ever overwritten; write what was asked and is planned."""
    try:
        folder = _new_folder(Path(master.hydra.sweep.dir))
        with read_write(master.hydra.sweep):
            master.hydra.sweep.dir = str(folder)  # for the callbacks: where the sweep's picture goes
        command = {
            "command": shlex.join(sys.argv), "overrides": list(master.hydra.overrides.task), "axes": plan.axes,
            **({"search": plan.search.recorded()} if plan.search else {"runs": len(plan.jobs)}),
            **asdict(plan.analysis), "margins": plan.margins, "looks": plan.looks,
        }  # fmt: skip
        write_whole(folder / "sweep.json", (json.dumps(command, indent=2) + "\n").encode())
        _write_plan(folder, plan, states)
    except (OSError, ValueError) as error:  # ValueError: no name at all
        error = error if isinstance(error, OSError) else OSError(str(error))
        why = f"cannot write to {master.hydra.sweep.dir} ({error.strerror or error}); nothing was run"
        raise RunFailed(why) from error
    return folder


def _write_plan(folder: Path, plan: Plan, states: States) -> None:
    rows = [[job.id, job.arm, job.differing, states[job.id].state, facts(job.config)["parameters"]]
            for job in plan.jobs]  # fmt: skip
    write_csv(folder / "plan.csv", [["id", "arm", "differing", "state", "parameters"], *rows])


def _new_folder(path: Path, number: int = 1) -> Path:
    folder = path if number == 1 else path.with_name(f"{path.name}-{number}")
    try:
        folder.mkdir(parents=True)
        return folder
    except FileExistsError:  # another sweep began in the same second
        return _new_folder(path, number + 1)


def _write_summary(folder: Path, plan: Plan, states: States, needless: Collection[str]) -> None:
    """Write a row a run: what it reached."""
    rows: list[list[object]] = [["id", "differing", "state", "test_accuracy", "seconds"]]
    for job in plan.jobs:
        metrics = []
        with suppress(OSError, ValueError):  # damaged: its state says so
            metrics = job.folder.metrics()
        accuracy, seconds = metrics[-1]["test_accuracy"] if metrics else "", sum(row["seconds"] for row in metrics)
        state = "not needed" if job.id in needless else states[job.id].state
        rows.append([job.id, job.differing, state, accuracy, seconds])
    try:
        write_csv(folder / "summary.csv", rows)
    except OSError as error:  # a full disk: what the sweep has to say comes first
        print(f"cannot write {folder}/summary.csv ({error.strerror or error})", file=sys.stderr)


def _raise_failures(jobs: list[Job], outcomes: Sequence[Outcome], states: States, master: DictConfig) -> None:
    """Group the runs that failed by cause, name the replays that differ; say how to do just those again."""
    verifying, causes = master.hydra.sweeper.rerun == "verify", defaultdict[str, list[Job]](list)
    for job, outcome in zip(jobs, outcomes, strict=True):
        if outcome.failed:
            recorded = states[job.id].why if states[job.id].state == State.FAILED else ""
            said = str(outcome.error).strip().rpartition("\n")[2].replace(job.id, "<id>")
            causes[said if isinstance(outcome.error, UserError) else recorded or said].append(job)
    differing = [f"  {job.id}: {end.value}" for job, end in zip(jobs, outcomes, strict=True) if verifying and end.value]
    if verifying:
        replayed = sum(outcome.error is None for outcome in outcomes)
        print(f"{replayed - len(differing)} of {replayed} replays agree, bit for bit", flush=True)
    text = [f"{len(differing)} runs stay stale, their numbers differ here:", *differing] if differing else []
    if causes:
        text += _failures(causes, outcomes, states, master)
    if causes and {str(outcome.error) for outcome in outcomes if isinstance(outcome.error, UserError)} == set(causes):
        raise UserError("\n".join(text[:-2]))
    if text:
        raise RunFailed("\n".join(text))


def _failures(
    causes: dict[str, list[Job]], outcomes: Sequence[Outcome], states: States, master: DictConfig
) -> list[str]:
    """Return the lines that say what failed, and how to do just that again."""
    stopped = sum(isinstance(outcome.error, CancelledError) for outcome in outcomes)
    also = f", {stopped} not finished" if stopped else ""
    text = [f"{sum(map(len, causes.values()))} of {len(outcomes)} runs failed{also}:"]
    for cause, members in sorted(causes.items(), key=lambda pair: -len(pair[1])):
        names = ", ".join(job.id for job in members[:3]) + (", ..." if len(members) > 3 else "")
        text.append(f"  {len(members)} x {cause}\n      {names}")
    asked = [*master.hydra.overrides.task, *master.hydra.overrides.hydra]
    kept = [part for part in asked if not part.startswith(("hydra.sweeper.rerun=", "hydra.mode="))]
    searching = bool(master.hydra.sweeper.search.trials)  # asks for other runs, if a run's failure is mended
    recorded = not searching and all(
        states[job.id].state == State.FAILED for members in causes.values() for job in members
    )
    rerun = "verify" if master.hydra.sweeper.rerun == "verify" else "failed" if recorded else "missing"
    again = f"{program()} {shlex.join(['-m', *kept, f'hydra.sweeper.rerun={rerun}'])}"
    tracebacks = f"  tracebacks: run.json and run.log in {master.outputs}/runs/<id>"
    last = f"  run {'what is missing' if rerun == 'missing' else 'just those'} again: {again}"
    if all(states[job.id].state == State.INCOMPLETE for members in causes.values() for job in members):
        last = "  what is done stays as it is"  # a replay that gives other numbers will do so again
    return [*text, tracebacks, last]
