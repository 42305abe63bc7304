"""Which runs belong to an experiment: those of its arms, whatever sweep they were run by."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import yaml
from hydra.core.global_hydra import GlobalHydra

from analysis.load import flat
from cli.compose import CONF, Composer, composer
from cli.plan import make_plan
from weightnet.config import Config, ModelConfig, arm, canonical

MODEL_LABELS = {
    "baseline": "without feedback",
    "rmp": "random projection",
    "wide": "without feedback, wide",
    "fixed_noise": "fixed noise",
    "bias_lr": "bias learning rate",
}


@dataclass(frozen=True, slots=True)
class Experiment:
    """An experiment's arms and seeds."""

    name: str
    labels: dict[str, str]
    """Arm (as in run.json) -> label, in the order of the experiment."""
    models: dict[str, str]
    """Label -> model."""
    colours: dict[str, str]
    """Label -> key of its colour in `analysis.plots.COLOURS`: the model, and the kind of a projection."""
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
    with nullcontext() if GlobalHydra.instance().is_initialized() else composer():
        jobs = Composer(GlobalHydra.instance().config_loader(), [f"experiment={name}", *overrides])
        sweeper = jobs.master.hydra.sweeper
        plan = make_plan(jobs, zipped=sweeper.get("zip") or [], exclude=sweeper.get("exclude") or [])
    configs = [job.config for job in plan.jobs]
    arms = {arm(config): config for config in configs}
    labels = dict(zip(arms, _labels(list(arms.values())), strict=True))
    return Experiment(
        name=name,
        labels=labels,
        models={labels[key]: config.model.name for key, config in arms.items()},
        colours={labels[key]: _colour(config.model) for key, config in arms.items()},
        variant=[override for override in overrides if override.partition("=")[0].split(".")[0] not in _SAME_ARMS],
        datasets=list(dict.fromkeys(config.dataset.name for config in configs)),
        seeds={config.seed for config in configs},
    )


def _colour(model: ModelConfig) -> str:
    """Return the model's name; a projection of the kind `dense` is `rmp`, whichever way it was asked for."""
    if model.name != "projection" or model.kind == "sparse":
        return model.name
    return "rmp" if model.kind == "dense" else f"projection {model.kind}"


def _labels(configs: list[Config]) -> list[str]:
    """Return each arm's model, and the keys in which it differs from the other arms of that model."""
    forms = [flat(canonical(config)) for config in configs]
    labels = []
    for form in forms:
        same_model = [other for other in forms if other["model.name"] == form["model.name"]]
        differing = [key for key in form if any(other.get(key) != form[key] for other in same_model)]
        parts = [f"{key.rpartition('.')[2] if key != 'dataset.name' else 'dataset'}={form[key]}"
                 for key in differing if key not in ("seed", *_FOLLOWS_DATASET)]  # fmt: skip
        labels.append(", ".join([MODEL_LABELS.get(form["model.name"], form["model.name"]), *parts]))
    return labels


_FOLLOWS_DATASET = ("dataset.shape", "dataset.mean", "dataset.std", "dataset.channels")
_SAME_ARMS = ("seed", "device", "threads", "outputs", "data_root", "hydra", "hydra/launcher")
