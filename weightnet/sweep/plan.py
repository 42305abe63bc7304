"""What a sweep will do: its jobs, each once. It looks at no run folder; `weightnet.sweep.states` does, afterwards."""

import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import reduce
from typing import Any

from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from weightnet.errors import Misfit, UserError
from weightnet.experiment import (
    GROUPS,
    AnalysisConfig,
    Config,
    arm,
    resolve,
    run_folder,
    run_id,
    signature,
    untaken,
)
from weightnet.runs.folder import RunFolder
from weightnet.sweep.compose import MOST_JOBS, Composer
from weightnet.sweep.interval import Interval
from weightnet.sweep.mistakes import close_match, explain
from weightnet.sweep.search import Search, SearchConfig, SearchedArm, Values, check_options
from weightnet.waiting import waiting

IMPOSSIBLE = ("refuse", "skip")
"""`hydra.sweeper.impossible`: what is done with combinations whose dimensions do not fit."""


@dataclass(frozen=True, slots=True)
class Job:
    """One run of a sweep."""

    id: str
    overrides: list[str]  # all of them, in the order of the command line
    differing: str  # those in which the jobs of the sweep differ
    config: Config  # resolved

    @property
    def folder(self) -> RunFolder:
        """The run's files."""
        return RunFolder(run_folder(self.config, self.id))

    @property
    def arm(self) -> str:
        """What its seeds are replicates of."""
        return arm(self.config)


@dataclass(frozen=True, slots=True)
class Plan:
    """The jobs of a sweep, each once, in the order of its axes."""

    jobs: list[Job]
    axes: list[list[str]]  # what is swept: the keys with several values, those that move together side by side
    merged: int  # how many combinations of the axes were the same run as another one
    excluded: int
    impossible: int  # whose dimensions do not fit, left out
    analysis: AnalysisConfig
    looks: list[list[int]]  # the seeds that have run at each look, the last one that of all; empty: no looks
    search: Search | None = None  # the jobs are those of its first round

    @property
    def margins(self) -> dict[str, float | None]:
        """The margin of each of its data sets."""
        return {job.config.dataset.name: job.config.dataset.margin for job in self.jobs}


def make_plan(
    composer: Composer, *, zipped: Sequence[str] = (), exclude: Sequence[str] = (), impossible: str = "refuse",
    looks: Sequence[int] = (), search: SearchConfig | None = None,
) -> Plan:  # fmt: skip
    """Compose and check all jobs of a sweep; of a search those of its first round.

    `zipped` are axes that move together, as "key,key"; `exclude` combinations to leave out, as "key=value,key=value";
    `impossible`: `skip` leaves out combinations whose dimensions do not fit; `looks` are the numbers of seeds after
    which arms may be decided, the last one that of all.

    Raises:
        UserError: a job is impossible, or an option is; the message has every mistake.
    """
    if impossible not in IMPOSSIBLE:
        raise UserError(f"hydra.sweeper.impossible={impossible}: must be one of {', '.join(IMPOSSIBLE)}")
    axes, intervals, analysis = composer.axes(), composer.intervals(), composer.analysis()
    if len(axes.get("experiment", ())) > 1:
        raise UserError(f"experiment={','.join(part.partition('=')[2] for part in axes['experiment'])}: an experiment "
                        "is a sweep of its own; give one a command")  # fmt: skip
    search = search or SearchConfig()
    check_options(search, intervals, zipped, {"hydra.sweeper.looks": looks, "analysis.choose": analysis.choose})
    moving = [keys for keys in together(axes, zipped) if len(axes[keys[0]]) > 1]
    jobs, merged, excluded, left_out = _compose_all(composer, axes, zipped, exclude, impossible)
    seeds = list(dict.fromkeys(job.config.seed for job in jobs))
    plan = Plan(jobs, moving, merged, excluded, left_out, analysis, _looks(looks, seeds))
    return _begin_search(composer, plan, search, intervals) if intervals else plan


def _compose_all(
    composer: Composer, axes: dict[str, list[str]], zipped: Sequence[str], exclude: Sequence[str], impossible: str
) -> tuple[list[Job], int, int, int]:
    """Return the jobs that axes ask for, each once; and how many were merged, excluded, left out.

    UserError: every mistake in them.
    """
    varying = {part for values in axes.values() if len(values) > 1 for part in values}
    rules = {text: _rule(composer, text) for text in exclude}
    matched: set[str] = set()
    untried: dict[str, Config] = {}  # what some model does not take -> a config that asks for it
    jobs: dict[str, Job] = {}
    mistakes: list[str] = []
    misfits: list[Misfit] = []
    merged = excluded = 0
    count = math.prod(len(axes[keys[0]]) for keys in together(axes, zipped))
    for parts in waiting(combinations(axes, zipped), "planning", count):
        try:
            asked = composer.compose(parts)
            if found := {text for text, wanted in rules.items() if _matches(asked, text, wanted)}:
                matched |= found
                excluded += 1
                continue
            config = resolve(asked)
        except Misfit as error:
            misfits.append(error)
            continue
        except (UserError, HydraException, OmegaConfBaseException) as error:
            mistakes.append(explain(error))
            continue
        untried |= {wrong: asked} if (wrong := untaken(asked, [config])) else {}
        key = signature(config)
        merged += key in jobs
        if key not in jobs:
            differing = " ".join(_as_typed(part) for part in parts if part in varying)
            jobs[key] = Job(run_id(config), list(parts), differing, config)
    mistakes += [_misfits(misfits, list(jobs.values()))] if misfits and (impossible == "refuse" or not jobs) else []
    planned = [job.config for job in jobs.values()]
    mistakes += [wrong for asked in untried.values() if (wrong := untaken(asked, planned))]
    unused = [f"hydra.sweeper.exclude: {text} matches no job of this sweep" for text in rules if text not in matched]
    if not jobs and not mistakes:
        unused.append("hydra.sweeper.exclude leaves nothing to run")
    if mistakes or unused:
        raise UserError("\n  ".join(dict.fromkeys(mistakes or unused)))
    return list(jobs.values()), merged, excluded, len(misfits)


def _begin_search(composer: Composer, ends: Plan, options: SearchConfig, intervals: dict[str, Interval]) -> Plan:
    """Return the plan of a search, given that of all ends of its intervals: its first round."""
    seeds = list(dict.fromkeys(job.config.seed for job in ends.jobs))
    search = Search(intervals, _searched_arms(ends, intervals, seeds), seeds, **asdict(options))
    if search.runs > MOST_JOBS:
        raise UserError(f"hydra.sweeper.{search}: a sweep has at most {MOST_JOBS:,}")
    first = [job for arm in search.arms for values in search.ask(arm, []) for job in
             trial_jobs(composer, arm, values, seeds)]  # fmt: skip
    return replace(ends, jobs=first, merged=0, search=search)


def _searched_arms(ends: Plan, intervals: dict[str, Interval], seeds: Sequence[int]) -> list[SearchedArm]:
    """Return the arms of a search: a key at whose other end an arm has the very same run is none of its keys."""
    varying, found = {key for keys in ends.axes for key in keys}, dict[tuple[str, ...], list[Job]]()
    for job in ends.jobs:
        own = tuple(part for part in job.overrides if _key(part) not in intervals and _key(part).lstrip("+") != "seed")
        found.setdefault(own, []).append(job)
    arms = []
    for own, jobs in found.items():
        name = " ".join(_as_typed(part) for part in own if _key(part) in varying)
        if {job.config.seed for job in jobs} != set(seeds):
            raise UserError(f"hydra.sweeper.search: all arms have the same seeds, and {name} lacks some")
        asked = {part for job in jobs for part in job.overrides}
        keys = [key for key, interval in intervals.items() if f"{key}={interval.high!r}" in asked]
        arms.append(SearchedArm(list(own), name, keys))
    if idle := [key for key in intervals if not any(key in arm.keys for arm in arms)]:
        raise UserError(f"{idle[0]}: no run of this sweep changes with it, so there is nothing to search")
    return arms


def _key(part: str) -> str:
    return part.partition("=")[0]


def trial_jobs(composer: Composer, arm: SearchedArm, values: Values, seeds: Sequence[int]) -> list[Job]:
    """Return the jobs of one trial, a seed each; UserError: a value is impossible."""
    jobs = []
    for seed in seeds:
        own = [*(f"{key}={value!r}" for key, value in values.items()), f"seed={seed}"]
        config = resolve(composer.compose([*arm.overrides, *own]))
        jobs.append(Job(run_id(config), [*arm.overrides, *own], " ".join(filter(None, [arm.name, *own])), config))
    return jobs


def _looks(sizes: Sequence[int], seeds: list[int]) -> list[list[int]]:
    """Return the seeds of each look at so many of them."""
    if sizes and ([*sizes] != sorted(set(sizes)) or sizes[0] < 1 or sizes[-1] != len(seeds)):
        raise UserError(f"hydra.sweeper.looks={[*sizes]}: must be numbers of seeds, each greater than the one before, "
                        f"the last one that of all seeds of this sweep, {len(seeds)} (or [], for none)")  # fmt: skip
    return [seeds[:size] for size in sizes]


def _as_typed(part: str) -> str:
    """Return an override without the backslashes that Hydra puts before what needs none."""
    return part if "='" in part or '="' in part else re.sub(r"\\([: ])", r"\1", part)


def _rule(composer: Composer, text: str) -> list[Override]:
    try:
        return composer.parser.parse_overrides([part.strip() for part in text.split(",")])
    except HydraException:
        raise UserError(f"hydra.sweeper.exclude: {text}: must be as key=value,key=value, each one value") from None


def _misfits(misfits: Sequence[Misfit], jobs: Sequence[Job]) -> str:
    """Say how many combinations do not fit, and which do."""
    kernels = [job.differing.split(" ") for job in jobs if len(job.config.model.uses or ()) > 1]
    error, count = misfits[0], len(misfits) + len(kernels)
    if count == 1:
        return str(error)
    fitting = [" ".join(part for part in parts if part.startswith("dims.")) for parts in kernels]
    these = ", ".join(dict.fromkeys(filter(None, fitting)))
    text = f"{len(misfits)} of {count} combinations do not fit; {f'these do: {these}' if these else 'none does'}"
    how = "hydra.sweeper.impossible=skip leaves out what does not fit; the first: " if jobs else "the first: "
    return f"{text if len(text) < 400 else text[:400] + ' ...'}\n  {how}{error}"


def combinations(axes: dict[str, list[str]], zipped: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Yield the overrides of each job: the axes crossed, but for those that are zipped; the errors of `together`."""
    steps = [list(zip(*(axes[key] for key in keys), strict=True)) for keys in together(axes, zipped)]
    for chosen in itertools.product(*steps):
        yield tuple(part for parts in chosen for part in parts)


def together(axes: dict[str, list[str]], zipped: Sequence[str]) -> list[list[str]]:
    """Return the keys of the axes, in order, those that move together in one list.

    UserError: a zipped key is no axis, is zipped twice, or its axis has another length.
    """
    groups = [[key.strip() for key in text.split(",")] for text in zipped]
    keys = [key for group in groups for key in group]
    for key in keys:
        if key not in axes:
            raise UserError(f"hydra.sweeper.zip: {key} is no key of this sweep{close_match(key, axes)}")
        if keys.count(key) > 1:
            raise UserError(f"hydra.sweeper.zip: {key} is named twice")
    for group in groups:
        if len(group) == 1:
            raise UserError(f'hydra.sweeper.zip: {group[0]} alone: name the keys that move together, as in "key,key"')
        if len({len(axes[key]) for key in group}) > 1:
            counts = ", ".join(f"{key} has {len(axes[key])}" for key in group)
            raise UserError(f"hydra.sweeper.zip: axes that move together need as many values: {counts}")
    leaders = {group[0]: group for group in groups}
    return [leaders.get(key, [key]) for key in axes if key in leaders or key not in keys]


def _matches(config: Config, text: str, wanted: Sequence[Override]) -> bool:
    """Tell whether a job asks for all that an entry of `hydra.sweeper.exclude` wants, a partial override."""
    for part in wanted:
        key = GROUPS.get(part.key_or_group, part.key_or_group)
        try:
            given = reduce(_member, key.split("."), config)
        except AttributeError:
            raise UserError(f"hydra.sweeper.exclude: {text}: there is no key {key}") from None
        if not is_meant(given, part.value()):
            return False
    return True


def is_meant(given: Any, wanted: Any) -> bool:
    """Tell whether a config's value is that of an override: 1 is 1.0, a quoted word is the word."""
    return bool(given == wanted) or str(given) == str(wanted)


def _member(owner: Any, name: str) -> Any:
    """Return what a config, or a mapping in it, has by this name; of a mapping None where it is not set."""
    return owner.get(name) if isinstance(owner, Mapping) else getattr(owner, name)
