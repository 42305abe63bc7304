"""What a sweep will do: its jobs, each once; and, read afterwards from the run folders, their states."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from weightnet.errors import UserError
from weightnet.experiment import GROUPS, Config, origins, resolve, run_folder, run_id, signature
from weightnet.runs.folder import RunFolder, RunState, State
from weightnet.sweep.compose import Composer
from weightnet.sweep.mistakes import close_match, explain

_UNFINISHED = {State.MISSING, State.INTERRUPTED, State.FAILED, State.RUNNING}
RERUN: dict[str, set[State]] = {
    "missing": _UNFINISHED,
    "stale": {*_UNFINISHED, State.STALE},
    "verify": {State.STALE},
    "failed": {State.FAILED},
    "all": set(State),
    "none": set(),
}
"""`hydra.sweeper.rerun` -> the states that it runs (`verify` replays them). What another process runs is waited for."""


@dataclass(frozen=True, slots=True)
class Job:
    """One run of a sweep."""

    id: str
    overrides: list[str]
    """All of them, in the order of the command line."""
    differing: str
    """Those in which the jobs of the sweep differ."""
    config: Config
    """Resolved."""

    @property
    def folder(self) -> RunFolder:
        """The run's files."""
        return RunFolder(run_folder(self.config))


@dataclass(frozen=True, slots=True)
class Plan:
    """The jobs of a sweep, each once, in the order of its axes."""

    jobs: list[Job]
    merged: int
    """How many combinations of the axes were the same run as another one."""
    excluded: int


def read_states(jobs: Sequence[Job]) -> dict[str, RunState]:
    """Return where each run stands, by its id."""
    now = origins(job.config for job in jobs)
    return {job.id: job.folder.state(origin) for job, origin in zip(jobs, now, strict=True)}


def make_plan(composer: Composer, *, zipped: Sequence[str] = (), exclude: Sequence[str] = ()) -> Plan:
    """Compose and check all jobs of a sweep. It looks at no run folder.

    Args:
        composer: of the sweep.
        zipped: axes that move together, as "key,key".
        exclude: combinations to leave out, as "key=value,key=value".

    Raises:
        UserError: a job is impossible, or `zipped` or `exclude` is; the message has every mistake.
    """
    axes = composer.axes()
    varying = {part for values in axes.values() if len(values) > 1 for part in values}
    rules = [_Rule(text, composer) for text in exclude]
    jobs: dict[str, Job] = {}
    mistakes: dict[str, None] = {}
    merged = excluded = 0
    for parts in combinations(axes, zipped):
        try:
            asked = composer.compose(parts)
            if any([rule.matches(asked) for rule in rules]):
                excluded += 1
                continue
            config = resolve(asked)
        except UserError as error:
            mistakes[str(error)] = None
            continue
        except (HydraException, OmegaConfBaseException) as error:
            mistakes[explain(error)] = None
            continue
        key = signature(config)
        merged += key in jobs
        if key not in jobs:
            differing = " ".join(part for part in parts if part in varying)
            jobs[key] = Job(run_id(config), list(parts), differing, config)
    for rule in rules:
        if not rule.matched and not mistakes:
            mistakes[f"hydra.sweeper.exclude: {rule.text} matches no job of this sweep"] = None
    if mistakes:
        raise UserError("\n  ".join(mistakes))
    return Plan(list(jobs.values()), merged, excluded)


def combinations(axes: dict[str, list[str]], zipped: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Yield the overrides of each job: the axes crossed, but for those that are zipped.

    Raises:
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
        lengths = {key: len(axes[key]) for key in group}
        if len(set(lengths.values())) > 1:
            counts = ", ".join(f"{key} has {length}" for key, length in lengths.items())
            raise UserError(f"hydra.sweeper.zip: axes that move together need as many values: {counts}")
    leaders = {group[0]: group for group in groups}
    steps = [
        list(zip(*(axes[member] for member in leaders.get(key, [key])), strict=True))
        for key in axes
        if key in leaders or key not in keys
    ]
    for chosen in itertools.product(*steps):
        yield tuple(part for parts in chosen for part in parts)


class _Rule:
    """One entry of `hydra.sweeper.exclude`: a partial override, held against the config that a job asks for."""

    def __init__(self, text: str, composer: Composer) -> None:
        self.text, self.matched = text, False
        self.wanted: list[tuple[str, object]] = []
        for part in composer.parser.parse_overrides([part.strip() for part in text.split(",")]):
            self.wanted.append((GROUPS.get(part.key_or_group, part.key_or_group), part.value()))

    def matches(self, config: Config) -> bool:
        found = all(str(self._get(config, key)) == str(value) for key, value in self.wanted)
        self.matched |= found
        return found

    def _get(self, config: Config, key: str) -> object:
        value: object = config
        for name in key.split("."):
            if not hasattr(value, name):
                raise UserError(f"hydra.sweeper.exclude: {self.text}: there is no key {key}")
            value = getattr(value, name)
        return value
