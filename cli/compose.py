"""From command-line overrides to resolved configs."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import cast

from hydra import initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from weightnet.config import Config
from weightnet.errors import UserError
from weightnet.resolve import resolve

# The types of the config: an unknown key or a wrong type is refused when a config is composed.
ConfigStore.instance().store(name="schema", node=Config, provider="weightnet")

CONF = Path(__file__).resolve().parents[1] / "conf"
"""The folder of the YAML files."""


def to_config(cfg: DictConfig) -> Config:
    """Convert a composed config and resolve it.

    Raises:
        UserError: a value is impossible, or the dimensions do not fit.
        OmegaConfBaseException: a key was added that the schema does not have.
    """
    ours = OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key != "hydra"])
    plain = OmegaConf.to_container(ours, resolve=True)
    return resolve(cast(Config, OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(Config), plain))))


@contextmanager
def composer() -> Iterator[None]:
    """Make `expand` work outside of run.py."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        yield


def expand(overrides: Sequence[str]) -> list[Config]:
    """Return the resolved config of every job of a sweep, in its order but for the seeds, which vary fastest.

    Args:
        overrides: as on the command line of run.py, an experiment's own axes included by `experiment=NAME`.

    Raises:
        UserError: one or more jobs are impossible; the message has every mistake.
        HydraException: an override is not understood.
    """
    loader = GlobalHydra.instance().config_loader()
    master = loader.load_configuration("config", list(overrides), run_mode=RunMode.MULTIRUN)
    axes = [f"{key}={values}" for key, values in (master.hydra.sweeper.params or {}).items()]
    parsed = OverridesParser.create(config_loader=loader).parse_overrides([*axes, *master.hydra.overrides.task])
    jobs = BasicSweeper.split_arguments(parsed, None)[0]
    configs, wrong = [], []
    by_job: dict[tuple[str, ...], list[str]] = {}
    for parts in jobs:  # seeds differ in nothing else: compose once for all of them
        seeds = by_job.setdefault(tuple(part for part in parts if not part.startswith("seed=")), [])
        seeds += [part.removeprefix("seed=") for part in parts if part.startswith("seed=")]
    for job, seeds in by_job.items():
        try:
            config = to_config(loader.load_sweep_config(master, [*job, *(f"seed={seed}" for seed in seeds[:1])]))
            configs += [_with_seed(config, seed) for seed in seeds] or [config]
        except UserError as error:
            wrong.append(str(error))
    if wrong:
        raise UserError("\n  ".join(dict.fromkeys(wrong)))
    return configs


def _with_seed(config: Config, seed: str) -> Config:
    if not seed.isdecimal():
        raise UserError(f"seed={seed}: must be a whole number, at least 0")
    return replace(config, seed=int(seed))
