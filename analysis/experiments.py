"""Which runs belong to an experiment: those of its arms, whatever sweep they were run by."""

from collections.abc import Sequence
from dataclasses import dataclass

import yaml

from analysis.arms import Arm, name_arms
from weightnet.identity import arm
from weightnet.sweep.compose import CONF, composer
from weightnet.sweep.plan import make_plan

_SAME_ARMS = ("seed", "device", "threads", "outputs", "data_root", "hydra", "hydra/launcher")


@dataclass(frozen=True, slots=True)
class Experiment:
    """An experiment's arms and seeds."""

    name: str
    arms: dict[str, Arm]
    """Arm (as in run.json) -> how it is shown, in the order of the experiment."""
    variant: list[str]
    """The overrides that make the arms other than the experiment's file does."""
    datasets: list[str]
    seeds: set[int]


def experiment_names() -> list[str]:
    """Return the experiments that are one figure."""
    paths = sorted((CONF / "experiment").glob("*.yaml"))
    hydra = {path.stem: yaml.safe_load(path.read_text(encoding="utf-8"))["hydra"] for path in paths}
    return [name for name in hydra if hydra[name].get("callbacks", {}).get("figures", {}).get("names") == [name]]


def load_experiment(name: str, overrides: Sequence[str] = ()) -> Experiment:
    """Compose the experiment of this file in conf/experiment, with overrides as on the command line of run.py.

    Raises:
        UserError: a value is impossible.
        HydraException: there is no such experiment, or an override is not understood.
    """
    with composer([f"experiment={name}", *overrides, "device=cpu"]) as jobs:  # an arm has no device
        sweeper = jobs.master.hydra.sweeper
        plan = make_plan(jobs, zipped=sweeper.get("zip") or [], exclude=sweeper.get("exclude") or [])
    configs = [job.config for job in plan.jobs]
    arms = {arm(config): config for config in configs}
    return Experiment(
        name=name,
        arms=dict(zip(arms, name_arms(list(arms.values())), strict=True)),
        variant=[override for override in overrides if override.partition("=")[0].split(".")[0] not in _SAME_ARMS],
        datasets=list(dict.fromkeys(config.dataset.name for config in configs)),
        seeds={config.seed for config in configs},
    )
