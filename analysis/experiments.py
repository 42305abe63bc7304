"""Which runs are looked at: those of an experiment's arms, or those that a command line would run."""

import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, cast

import yaml
from hydra.core.config_loader import ConfigLoader
from hydra.errors import HydraException
from omegaconf import Container, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from analysis.arms import Arm, columns, labels, name_arms
from analysis.metrics import ACCURACY, DEFAULT, Outcome, read_outcome
from weightnet.config import Config
from weightnet.errors import UserError
from weightnet.identity import arm
from weightnet.sweep.compose import composer, schema
from weightnet.sweep.conf_folders import config_loader, extra_folders
from weightnet.sweep.interval import Interval
from weightnet.sweep.mistakes import close_match, explain, program
from weightnet.sweep.plan import Plan, make_plan

_SAME_ARMS = ("seed", "device", "threads", "outputs", "data_root", "hydra", "hydra/launcher")
"""Groups and keys that are no part of an arm."""


@dataclass(frozen=True, slots=True)
class Trials:
    """What was searched, and found."""

    intervals: dict[str, Interval]
    """Of the keys that were searched."""
    seeds: set[int]
    chosen: frozenset[str] = frozenset()
    """The arms that were the best, each of those that differ from it in these keys alone."""


@dataclass(frozen=True, slots=True)
class Experiment:
    """What is looked at: arms, and what was swept to make them."""

    name: str
    arms: dict[str, Arm]
    """Arm (as in run.json) -> how it is shown, in the order of the experiment."""
    axes: list[list[str]]
    """What is swept, as `weightnet.sweep.plan.Plan` has it."""
    seeds: set[int]
    runs: dict[str, str]
    """The ids of the runs that it asks for, each with its arm."""
    exact: bool
    """These runs alone are looked at; else its arms' runs of its seeds, whatever the device."""
    command: list[str]
    """The words of the command line that runs it."""
    selection: list[str]
    """The words that select it after `python -m analysis figures`."""
    primary: Outcome
    """The outcome that was chosen before the runs."""
    margin: float | None
    """The smallest difference in it worth having. None: that of the data set, if it is an accuracy."""
    margins: Mapping[str, float | None]
    """Of accuracy, by data set."""
    choose: str | None
    """The swept key of which each arm is compared at its best value (`analysis.choice`)."""
    looks: list[list[int]]
    """The seeds of each look, as `weightnet.sweep.plan.Plan` has it."""
    files: list[Path]
    """Where its figures go, below the root of all output: each a path to which what a figure shows is added."""
    trials: Trials | None = None
    """Its runs are the trials of a search, of which validation alone is looked at."""
    search: "Experiment | None" = None
    """The search by which the values of its arms were chosen, on seeds of its own."""

    @property
    def any_seed(self) -> bool:
        """Whether its arms' runs of all seeds are looked at: one seed stands for any, unless it was asked for."""
        return not self.exact and len(self.seeds) == 1 and not self.names_seeds

    @property
    def names_seeds(self) -> bool:
        """Whether the seeds were asked for."""
        return any(word.lstrip("+").startswith("seed=") for word in self.selection)

    @property
    def swept(self) -> list[str]:
        """The keys of a config that are swept."""
        arms = list(self.arms.values())
        return [column for keys in self.axes for key in keys for column in columns(key, arms)]

    def labels(self, axes: Sequence[str] = ()) -> dict[str, str]:
        """Return arm -> what it is called beside the others of its data set, without the keys that are axes."""
        told = labels(list(self.arms.values()), self.swept, off=["dataset.name", *axes])
        return dict(zip(self.arms, told, strict=True))

    def outcome(self, asked: str | None = None) -> Outcome:
        """Return the outcome that is looked at: what is asked for (`--outcome`), else the primary one."""
        outcome = self.primary if asked is None else read_outcome(asked, "--outcome")
        return replace(outcome, exploratory=outcome != self.primary)

    def margins_of(self, outcome: Outcome, asked: float | None = None) -> Mapping[str, float | None]:
        """Return the margin of an outcome by data set: what is asked for, else the experiment's, else the set's."""
        margin = self.margin if asked is None and not outcome.exploratory else asked
        if margin is None:
            return self.margins if outcome.metric == ACCURACY else {}
        return dict.fromkeys(self.margins, margin)


def experiment_names(config_dir: str | None = None, *, asked: Sequence[str] = ()) -> list[str]:
    """Return the experiments that Hydra finds and that are one figure; name on stderr those that are broken.

    Of those that were asked for, whoever loads them says what is wrong.
    """
    names = []
    with config_loader(config_dir) as loader:
        for name in loader.get_group_options("experiment"):
            try:
                names += [name] * (_drawn(loader, name) in ([], [name]))
            except UserError as error:
                if name not in asked:
                    print(error, file=sys.stderr)
    return names


def drawn_names(name: str, config_dir: str | None = None) -> list[str]:
    """Return the experiments whose figures this one draws: its own, or those of `hydra.callbacks.figures.names`.

    UserError: there is no such experiment, or it is broken.
    """
    with config_loader(config_dir) as loader:
        return _drawn(loader, name) or [name]


def _plans_seeds(name: str, config_dir: str | None) -> bool:
    """Tell whether an experiment names its seeds; not where it has gone, or is broken."""
    with suppress(UserError), config_loader(config_dir) as loader:
        return OmegaConf.select(_read(loader, name), "hydra.sweeper.params.seed") is not None
    return False


def _drawn(loader: ConfigLoader, name: str) -> list[str]:
    names = OmegaConf.select(_read(loader, name), "hydra.callbacks.figures.names") or []
    return [str(other) for other in names]


def _read(loader: ConfigLoader, name: str) -> Container:
    """Return an experiment's YAML, checked; UserError: there is none, or it is broken."""
    repository: Any = loader.repository  # type: ignore[attr-defined]
    try:
        found = repository.load_config(f"experiment/{name}")
        if found is None or name.endswith((".yaml", ".yml")):  # Hydra takes a file's name too
            names, stem = loader.get_group_options("experiment"), name.partition(".")[0]
            known = f"{close_match(stem, names)} Choices: {', '.join(names)}"
            more = "" if extra_folders else "; with --config-dir=FOLDER also those of FOLDER/experiment"
            raise UserError(f"experiment={name}: there is no such experiment{known}{more}")
        if found.header["package"] != "_global_":
            raise UserError(f"experiment={name} is broken: its first line must be '# @package _global_'")
        ours = OmegaConf.masked_copy(found.config, [key for key in found.config if key != "hydra"])
        OmegaConf.merge(schema(), ours)
    except (HydraException, OmegaConfBaseException, yaml.YAMLError, ValueError, TypeError, OSError) as error:
        said = str(error) if isinstance(error, yaml.YAMLError) else explain(error)
        raise UserError(f"experiment={name} is broken: {' '.join(said.split())}") from None
    return cast(Container, found.config)


def load_experiment(name: str, overrides: Sequence[str] = (), *, config_dir: str | None = None) -> Experiment:
    """Compose the experiment of this name, with overrides as on the command line of run.py.

    Raises:
        UserError: there is no such experiment, it is broken, or a value is impossible.
        HydraException: an override is not understood.
    """
    drawn_names(name, config_dir)
    words = [f"experiment={name}", *overrides]
    plan = _plan([*words, "device=cpu"], config_dir)  # an arm has no device
    swept = {key for keys in plan.axes for key in keys}
    many = any(word.partition("=")[0] in swept for word in overrides)  # else the experiment's own mode will do
    command = [*_run(config_dir), *["-m"] * many, *words]
    return _experiment(plan, name, [name, *overrides], command, published(name, overrides, config_dir))


def load_drawn(
    name: str, overrides: Sequence[str] = (), *, names: Sequence[str] | None = None, config_dir: str | None = None
) -> list[Experiment]:
    """Return the experiments that this one draws, which are `names` where they are known, with these overrides.

    Of several, each keeps its own data set and models. The errors are those of `load_experiment`.
    """
    names = names or drawn_names(name, config_dir)
    own = ("dataset", "model") if len(names) > 1 else ()
    kept = [part for part in overrides if part.partition("=")[0] not in own]
    return [load_experiment(drawn, kept, config_dir=config_dir) for drawn in names]


def published(name: str, overrides: Sequence[str], config_dir: str | None = None) -> Path:
    """Return where an experiment's figures go; with overrides that make another comparison, beside those of its own.

    Other arms make one; and other seeds, where the experiment names its own: else they are more of the same.
    """
    given = {override: override.partition("=")[0].split(".")[0] for override in overrides}
    same = set(_SAME_ARMS)
    if "seed" in given.values() and _plans_seeds(name, config_dir):
        same.remove("seed")
    variant = [override for override, key in given.items() if key not in same]
    return Path("figures", file_name([name, *variant]))


def asked_for(overrides: Sequence[str], *, config_dir: str | None = None) -> Experiment:
    """Return exactly the runs of `run.py -m` with these overrides; the errors are those of `load_experiment`."""
    plan, command = _plan(overrides, config_dir), [*_run(config_dir), "-m", *overrides]
    file = Path("figures", file_name(overrides))
    return replace(of_plan(plan), name=" ".join(overrides), selection=list(overrides), command=command, files=[file])


def _run(config_dir: str | None) -> list[str]:
    return [*program().split(), *([f"--config-dir={config_dir}"] if config_dir else [])]


def _plan(words: Sequence[str], config_dir: str | None) -> Plan:
    with composer(words, config_dir=config_dir) as jobs:
        asked = jobs.master.hydra.sweeper
        if jobs.intervals():
            raise UserError("a search is looked at as it was run, the last sweep: python -m analysis figures")
        return make_plan(jobs, zipped=asked.get("zip") or [], exclude=asked.get("exclude") or [],
                         impossible=asked.get("impossible") or "refuse", looks=asked.get("looks") or [])  # fmt: skip


def of_plan(plan: Plan) -> Experiment:
    """Return exactly the runs of a plan."""
    return replace(_experiment(plan, "the sweep", [], [], Path()), exact=True)


def of_configs(name: str, configs: Mapping[str, Config]) -> Experiment:
    """Return the runs of these resolved configs, by id, whatever asked for them: as if nothing had been swept."""
    arms = {run: arm(config) for run, config in configs.items()}
    margins = {config.dataset.name: config.dataset.margin for config in configs.values()}
    seeds = {config.seed for config in configs.values()}
    return Experiment(name, arms_of(configs.values(), []), [], seeds, arms, True, _run(None), [], DEFAULT, None,
                      margins, None, [], [])  # fmt: skip


def _experiment(plan: Plan, name: str, selection: list[str], command: list[str], file: Path) -> Experiment:
    configs = [job.config for job in plan.jobs]
    seeds = {config.seed for config in configs}
    primary, margin = read_outcome(plan.analysis.primary, "analysis.primary"), plan.analysis.margin
    runs = {job.id: job.arm for job in plan.jobs}
    return Experiment(name, arms_of(configs, plan.axes), plan.axes, seeds, runs, False, command, selection, primary,
                      margin, plan.margins, plan.analysis.choose, plan.looks, [file])  # fmt: skip


def arms_of(configs: Iterable[Config], axes: list[list[str]]) -> dict[str, Arm]:
    """Return the arms of these resolved configs, in their order; `axes`: what was swept."""
    first: dict[str, Config] = {}
    for config in configs:
        first.setdefault(arm(config), config)
    return dict(zip(first, name_arms(list(first.values()), axes), strict=True))


def file_name(words: Sequence[str]) -> str:
    """Return what files are called that are made of these words: readable, and no longer than a file system takes."""
    name = re.sub(r"[^\w.,=-]+", "_", "-".join(words))
    return name if len(name) <= 150 else f"{name[:140]}-{sha256(name.encode()).hexdigest()[:8]}"
