"""Where the runs of a sweep stand, as their folders say; and which of them `hydra.sweeper.rerun` runs."""

from collections.abc import Sequence

from weightnet.experiment import Origin, origins, products
from weightnet.runs.folder import RunState, State
from weightnet.runs.readings import readings
from weightnet.sweep.plan import Job
from weightnet.waiting import waiting

_UNFINISHED = {State.MISSING, State.INCOMPLETE, State.INTERRUPTED, State.FAILED, State.RUNNING}
ANEW = ("all", "stale")
"""Of `RERUN`: what executes runs though they are done."""

RERUN: dict[str, set[State]] = {
    "missing": {*_UNFINISHED, State.DAMAGED},
    "stale": {*_UNFINISHED, State.DAMAGED, State.STALE},
    "verify": {State.STALE},
    "failed": {State.FAILED},
    "all": set(State),
    "none": set(),
}
"""`hydra.sweeper.rerun` -> the states that it runs (`verify` replays them). What another process runs is waited for."""


States = dict[str, RunState]
"""A job's id -> where its run stands."""


def read_states(jobs: Sequence[Job]) -> States:
    """Return where each run stands, by its id."""
    now = origins(job.config for job in jobs)
    looked_at = waiting(zip(jobs, now, strict=True), "reading the runs that there are", len(jobs))
    states = {job.id: _state(job, origin, len(jobs)) for job, origin in looked_at}
    for root in {job.folder.path.parent for job in jobs}:
        readings(root, len(jobs)).save()
    return states


def _state(job: Job, now: Origin, count: int) -> RunState:
    """Return where a run stands: a finished one that lacks a file which the config asks for is incomplete."""
    folder = job.folder
    try:
        known = readings(folder.path.parent, count).of(folder)  # all of it: who looks at the sweep wants it as well
        state = folder.state_of(known.record, now, whole=True)
    except (OSError, ValueError, TypeError, ArithmeticError):
        state = folder.state(now)
    lacking = folder.lacks(products(job.config)) if state.state == State.DONE else []
    return RunState(State.INCOMPLETE, f"no {' and no '.join(lacking)}") if lacking else state
