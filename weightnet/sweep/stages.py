"""A sweep runs in stages: all at once, or what each look at its arms has left open, or the rounds of a search."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from weightnet.runs.folder import State
from weightnet.sweep.compose import Composer
from weightnet.sweep.plan import Job, Plan, trial_jobs
from weightnet.sweep.search import Search, SearchedArm, Told, Values
from weightnet.sweep.states import read_states

_ENDED = {State.DONE, State.STALE, State.INCOMPLETE, State.FAILED}


class Looks(Protocol):
    """What a sweep asks of whoever knows how runs are compared (`analysis.stages`)."""

    def check(self, plan: Plan) -> None:
        """Refuse what cannot be looked at as the plan says, by a UserError."""

    def decided(self, plan: Plan, seeds: Sequence[int], outputs: Path) -> dict[str, str]:
        """Return which arms the runs of these seeds, below a root of all output, have decided, and how, in words."""

    def reached(self, plan: Plan, jobs: Sequence[Job], outputs: Path) -> dict[str, float]:
        """Return arm -> validation accuracy in %, the mean of its jobs, of the arms all of whose jobs here are done."""


@dataclass(frozen=True, slots=True)
class Stage:
    """What runs before the next question is asked, and what does not any more."""

    jobs: list[Job]
    needless: Sequence[Job] = ()
    words: str = ""
    """What jobs are these that the plan did not have."""


def stages(plan: Plan, composer: Composer, looks: Callable[[], Looks], outputs: Path, journal: Path) -> Iterator[Stage]:
    """Yield the stages of a sweep, each when the one before has run.

    `looks` imports what is asked between two of them; a search is recorded in a `journal` (`Search.record`).
    """
    if plan.search:

        def reached(jobs: Sequence[Job]) -> dict[str, float] | None:
            lacking = sum(state.state not in _ENDED for state in read_states(jobs).values())
            if lacking:
                print(f"the search stops here: {lacking} of its runs have no result", file=sys.stderr)
            return None if lacking else looks().reached(plan, jobs, outputs)

        yield from search_stages(plan.search, partial(trial_jobs, composer), reached, journal)
    elif plan.looks:
        yield from look_stages(plan, lambda seeds: looks().decided(plan, seeds, outputs))
    else:
        yield Stage(plan.jobs)


def look_stages(plan: Plan, look: Callable[[Sequence[int]], dict[str, str]]) -> Iterator[Stage]:
    """Yield what to run up to each look of a plan; say what each has decided."""
    known: dict[str, str] = {}
    before: list[int] = []
    for seeds in plan.looks:
        stage = [job for job in plan.jobs if job.config.seed in seeds and job.config.seed not in before]
        if before:
            decided = look(before)
            new = [words for arm, words in decided.items() if arm not in known]
            print(f"look at {len(before)} seeds: {'; '.join(new) or 'nothing is decided'}", flush=True)
            known = decided
        yield Stage([job for job in stage if job.arm not in known], [job for job in stage if job.arm in known])
        before = seeds


def search_stages(
    search: Search,
    make: Callable[[SearchedArm, Values, Sequence[int]], list[Job]],
    reached: Callable[[Sequence[Job]], Mapping[str, float] | None],
    journal: Path,
) -> Iterator[Stage]:
    """Yield the rounds of a search, all arms at once, then the best of each arm with fresh seeds; say what was found.

    `make` returns the jobs of a trial, a seed each; `reached` what those of all trials reached, by arm as `Looks` has
    it, or None: there is no going on.
    """
    tried: dict[str, list[tuple[Values, list[Job]]]] = {arm.name: [] for arm in search.arms}
    told: dict[str, list[Told]] = {arm.name: [] for arm in search.arms}
    jobs: dict[str, Job] = {}
    while any(asked := [search.ask(arm, told[arm.name]) for arm in search.arms]):
        before, known = max(map(len, tried.values())), set(jobs)
        for arm, several in zip(search.arms, asked, strict=True):
            tried[arm.name] += [(values, make(arm, values, search.seeds)) for values in several]
        jobs |= {job.id: job for trials in tried.values() for _, seeds in trials for job in seeds}
        words = f"trials {before + 1} to {max(map(len, tried.values()))} of {search.trials}"
        yield Stage([job for run, job in jobs.items() if run not in known], words=words)
        scores = reached(list(jobs.values()))
        if scores is None:
            return
        for name, trials in tried.items():
            told[name] = [(values, scores.get(seeds[0].arm)) for values, seeds in trials]
        search.record(journal, told)
    best = [(arm, found) for arm in search.arms if (found := _best(search, arm, told[arm.name])) is not None]
    confirming = [job for arm, values in best for job in make(arm, values, search.fresh_seeds)]
    if confirming:
        yield Stage(confirming, words=f"the best of each arm, with {search.confirm} fresh seeds")


def _best(search: Search, arm: SearchedArm, told: Sequence[Told]) -> Values | None:
    """Return the best values of an arm, the first ones of several, and say them; None: no trial has a result."""
    done = [(score, values) for values, score in told if score is not None]
    name = arm.name or "search"
    if not done:
        print(f"{name}: none of {len(told)} trials has a result with every seed", file=sys.stderr)
        return None
    score, values = max(done, key=lambda pair: pair[0])
    chosen = " ".join(f"{key.lstrip('+')}={value}" for key, value in values.items())
    how = f"{chosen}, the best of {len(told)} by" if values else "takes no key that is searched;"
    print(f"{name}: {how} validation accuracy, {score:.2f}%", flush=True)
    for key, value in values.items():
        interval = search.intervals[key]
        if end := interval.end_near(value):
            print(f"{name}: {key.lstrip('+')}={value} lies at the {end} end of the interval from {interval.low} to "
                  f"{interval.high}; a wider one may hold a better value", file=sys.stderr)  # fmt: skip
    return values
