"""A search for the best values of keys: one Optuna study an arm, by ask and tell.

What is asked next is a function of what was told, and that is read from run folders: so a search that was killed is
followed again through its finished runs, and goes on. Values are rounded, so that runs have the same ids everywhere.
Neither Optuna nor SciPy is imported before something is searched.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weightnet.errors import UserError
from weightnet.sweep.interval import Interval

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

MOST_TRIALS = 10_000  # of an arm
_MOST_FIRST = 10  # as many as Optuna's TPE draws before it models


@dataclass
class SearchConfig:
    """The keys below `hydra.sweeper.search`."""

    trials: int = 0  # so many values are tried for each arm, with all seeds
    batch: int = 4  # after the first round, so many of them at a time, before their results choose the next ones
    confirm: int = 10  # the best value of each arm is run with so many fresh seeds, and these are compared


def check_options(
    options: SearchConfig, intervals: Mapping[str, Interval], zipped: Sequence[str], others: Mapping[str, object]
) -> None:
    """Refuse what cannot be searched; `others`: what excludes a search, where it is asked for. Raises UserError."""
    if intervals and not options.trials:
        raise UserError(f"{next(iter(intervals))}: an interval is searched, which takes a number of values to try, as "
                        "hydra.sweeper.search.trials=12; else write the values out")  # fmt: skip
    if not intervals and options.trials:
        raise UserError(f"hydra.sweeper.search.trials={options.trials}: takes a key to search, as in "
                        "'train.lr=tag(log,interval(1e-3,1))'")  # fmt: skip
    if not intervals:
        return
    for name, least, most in (("trials", 2, MOST_TRIALS), ("batch", 1, MOST_TRIALS), ("confirm", 1, MOST_TRIALS)):
        if not least <= getattr(options, name) <= most:
            raise UserError(f"hydra.sweeper.search.{name}={getattr(options, name)}: must be from {least} to {most:,}")
    if excluding := [name for name, value in others.items() if value]:
        raise UserError(f"hydra.sweeper.search and {excluding[0]} exclude one another")
    for key in (key.strip() for text in zipped for key in text.split(",")):
        if key in intervals or key.lstrip("+") == "seed":
            raise UserError(f"hydra.sweeper.zip: {key} cannot move together with others in a search")
    optuna_version()


@dataclass(frozen=True, slots=True)
class SearchedArm:
    """What is searched for its own best values."""

    overrides: list[str]
    """Those of its runs, but for the seed and the keys that are searched."""
    name: str
    """The overrides in which it differs from the other arms."""
    keys: list[str]
    """Those of the searched ones that its runs take."""


Values = dict[str, float]
"""Key -> value, of one trial."""

Told = tuple[Values, float | None]
"""What was tried, and what it reached; None: a run has failed."""


@dataclass(frozen=True, slots=True)
class Search:
    """What is searched: the same number of trials for every arm, each with the same seeds."""

    intervals: dict[str, Interval]
    arms: list[SearchedArm]
    seeds: list[int]
    trials: int
    batch: int
    confirm: int

    @property
    def first(self) -> int:
        """How many trials of an arm make the first round."""
        return min(self.trials, max(self.batch, min(_MOST_FIRST, -(-self.trials // 2))))

    @property
    def fresh_seeds(self) -> list[int]:
        """Those with which the best values are confirmed."""
        return [max(self.seeds) + 1 + place for place in range(self.confirm)]

    @property
    def runs(self) -> int:
        """How many runs it takes at most: values may be tried twice."""
        return sum(len(self.seeds) * (self.trials if arm.keys else 1) + self.confirm for arm in self.arms)

    def __str__(self) -> str:
        """Return what is done, in words."""
        arms = "1 arm" if len(self.arms) == 1 else f"each of {len(self.arms)} arms"
        seeds = "1 seed" if len(self.seeds) == 1 else f"{len(self.seeds)} seeds"
        keys = ", ".join(key.lstrip("+") for key in self.intervals)
        return (f"search of {keys}: {self.trials} trials of {arms} with {seeds}, then the best with {self.confirm} "
                f"fresh ones; at most {self.runs} runs")  # fmt: skip

    def recorded(self) -> dict[str, Any]:
        """Return what sweep.json says of it."""
        said = asdict(self) | {"sampler": "Halton, then TPE", "optuna": optuna_version()}
        return {key: value for key, value in said.items() if key != "arms"}

    def ask(self, arm: SearchedArm, told: Sequence[Told]) -> list[Values]:
        """Return what is tried next for an arm, given all values tried and what they reached (None: nothing).

        The first round is spread evenly, and the same for all arms (Halton's sequence); the next ones are Optuna's TPE,
        which takes what is being tried as bad (constant liar). An arm that takes no searched key has one trial.
        """
        if not arm.keys or len(told) >= self.trials:
            return [] if told else [{}]
        if told:
            return self._ask_optuna(arm, told, min(self.batch, self.trials - len(told)))
        from scipy.stats import qmc  # not above: it takes a second

        spread = qmc.Halton(len(arm.keys), scramble=False)
        spread.fast_forward(1)  # its first point lies at the lower ends
        points = spread.random(self.first)
        return [{key: self.intervals[key].at(share) for key, share in zip(arm.keys, point, strict=True)}
                for point in points.tolist()]  # fmt: skip

    def _ask_optuna(self, arm: SearchedArm, told: Sequence[Told], count: int) -> list[Values]:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # of Optuna 4
            sampler = optuna.samplers.TPESampler(
                n_startup_trials=1, multivariate=True, constant_liar=True, seed=len(told)
            )
        study = optuna.create_study(direction="maximize", sampler=sampler)
        space = self._space(arm)
        study.add_trials(_trials(space, told))
        asked = [study.ask(space).params for _ in range(count)]
        return [{key: self.intervals[key].rounded(params[key]) for key in arm.keys} for params in asked]

    def record(self, path: Path, told: Mapping[str, Sequence[Told]]) -> None:
        """Write what was told of each arm, by its name, to a journal for Optuna's dashboard: it is never read here."""
        import optuna
        from optuna.storages.journal import JournalFileBackend

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        storage = optuna.storages.JournalStorage(JournalFileBackend(str(path)))
        for arm in self.arms:
            study = optuna.create_study(
                study_name=arm.name or "search", storage=storage, direction="maximize", load_if_exists=True
            )
            there = len(study.get_trials(deepcopy=False))
            study.add_trials(_trials(self._space(arm), told[arm.name][there:]))

    def _space(self, arm: SearchedArm) -> "dict[str, BaseDistribution]":
        from optuna.distributions import FloatDistribution, IntDistribution

        return {
            key: IntDistribution(int(of.low), int(of.high), log=of.log) if of.whole
            else FloatDistribution(of.low, of.high, log=of.log)
            for key, of in self.intervals.items() if key in arm.keys
        }  # fmt: skip


def _trials(space: "dict[str, BaseDistribution]", told: Sequence[Told]) -> list[Any]:
    from optuna.trial import TrialState, create_trial

    return [
        create_trial(params=values, distributions=space, value=value,
                     state=TrialState.FAIL if value is None else TrialState.COMPLETE)
        for values, value in told
    ]  # fmt: skip


def optuna_version() -> str:
    """Return Optuna's version; UserError: there is none, or an older one than 4."""
    try:
        found = version("optuna")
    except PackageNotFoundError:
        found = ""
    if not found or int(found.partition(".")[0]) < 4:
        raise UserError(f"hydra.sweeper.search: takes Optuna 4 or later{f', not {found}' * bool(found)}: "
                        "pip install 'weightnet[search]'")  # fmt: skip
    return found
