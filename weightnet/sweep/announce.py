"""What a sweep says of itself before it runs: what is planned, where it stands, and the table of a dry run."""

import sys
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from rich import filesize
from rich.console import Console

from weightnet.experiment import facts
from weightnet.runs.folder import State
from weightnet.sweep.display import as_table
from weightnet.sweep.estimate import estimate
from weightnet.sweep.plan import Job, Plan
from weightnet.sweep.states import States

_EXPLAINED = (State.STALE, State.DAMAGED, State.INCOMPLETE)


def counts(jobs: Sequence[Job], states: States, needless: Collection[str] = ()) -> str:
    """Return how many jobs there are, and in which states, in words; `needless`: what looks have made so."""
    counted = Counter("not needed" if job.id in needless else states[job.id].state for job in jobs)
    runs = "run" if len(jobs) == 1 else "runs"
    return f"{len(jobs)} {runs}: {', '.join(f'{number} {state}' for state, number in counted.items())}"


def say_plan(plan: Plan, states: States, count: int, rerun: str) -> None:
    """Print what is planned, of which so many runs are executed (`rerun`), and why what is there does not do."""
    merged = f", {plan.merged} of the combinations equal to another" if plan.merged else ""
    excluded = f", {plan.excluded} excluded" if plan.excluded else ""
    excluded += f", {plan.impossible} that do not fit left out" if plan.impossible else ""
    todo = "verify" if rerun == "verify" else "run"
    looks = f", less what looks at {', '.join(str(len(seeds)) for seeds in plan.looks[:-1])} seeds make needless"
    looks *= bool(plan.looks[1:] and count)
    first = " at first" if plan.search else ""
    print(f"{counts(plan.jobs, states)}{merged}{excluded}; {count} to {todo}{first}{looks}", flush=True)
    if plan.search:
        print(f"  {plan.search}", flush=True)
    reasons = Counter((state.state, state.why) for state in states.values() if state.state in _EXPLAINED)
    for (state, why), number in reasons.most_common(5):
        print(f"  {number} {state}: {why}", flush=True)
    if rerun == "missing" and any(state == State.STALE for state, _ in reasons):
        beside = ", and cannot be compared with those that run now" if count else ""
        print(f"  stale runs stay as they are{beside}; hydra.sweeper.rerun=verify proves that they still hold, "
              "rerun=stale runs them again", flush=True)  # fmt: skip


def print_plan(plan: Plan, states: States, to_run: list[Job], outputs: Path, options: DictConfig) -> None:
    """Print a row a job, then what `say_plan` does, and how long it would take; `options`: `hydra.sweeper`."""
    replayed = options.verify_epochs if options.rerun == "verify" else None
    seconds = estimate([job.config for job in plan.jobs], outputs, probing=[job.config for job in to_run])
    running = {job.id for job in to_run}
    columns = ("id", "differs in", "state", "runs", "parameters", "dx", "dw/dx", "|me|^2", "filler", "map", "time")
    rows, total = list[tuple[str, ...]](), 0.0
    for job, duration in zip(plan.jobs, seconds, strict=True):
        known = facts(job.config)
        dx, runs = known["dx"], job.id in running
        duration *= 1 if replayed is None else min(1, replayed / job.config.train.epochs)
        size = filesize.decimal(known["map"], precision=2) if known["map"] >= 1000 else ""
        total += duration if runs else 0
        rows.append((
            job.id, job.differing, states[job.id].state, "yes" if runs else "", f"{known['parameters']:,}",
            str(dx or ""), f"{(known['dw'] or 0) / dx:.0%}" if dx else "", *_length(known), size, _duration(duration),
        ))  # fmt: skip
    Console(width=None if sys.stdout.isatty() else 400, markup=False).print(as_table(columns, rows))
    say_plan(plan, states, len(to_run), options.rerun)
    if plan.search:
        total = sum(seconds) / len(seconds) * plan.search.runs
    print(f"in all {'at most ' * bool(plan.search)}about {_duration(total)} of one worker's time; nothing was run")


def _length(known: dict[str, Any]) -> tuple[str, str]:
    """Return |me|^2 at the start, and the share of the filler in it."""
    dose, share = known["dose"], known["filler_share"]
    return "" if dose in (None, 1) else f"{dose - 1:.3g}", "" if share is None else f"{share:.1%}"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02} min" if minutes >= 60 else f"{seconds / 60:.1f} min"
