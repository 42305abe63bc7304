"""Which runs belong to an experiment: those of its arms, whatever sweep they were run by."""

from collections.abc import Sequence
from dataclasses import dataclass

import yaml

from analysis.arms import Arm, name_arms
from weightnet.identity import arm
from weightnet.sweep.compose import CONF, composer
from weightnet.sweep.plan import make_plan


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
    names = []
    for path in sorted((CONF / "experiment").glob("*.yaml")):
        callbacks = yaml.safe_load(path.read_text(encoding="utf-8"))["hydra"].get("callbacks", {})
        if callbacks.get("figures", {}).get("names") == [path.stem]:
            names.append(path.stem)
    return names


def load_experiment(name: str, overrides: Sequence[str] = ()) -> Experiment:
    """Compose an experiment.

    Args:
        name: of a file in conf/experiment.
        overrides: of its keys, as on the command line of run.py.

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


_SAME_ARMS = ("seed", "device", "threads", "outputs", "data_root", "hydra", "hydra/launcher")
