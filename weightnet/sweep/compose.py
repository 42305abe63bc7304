"""From command-line overrides to resolved configs, for one job and for thousands."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from functools import cache
from pathlib import Path
from typing import Any, cast

from hydra import initialize_config_dir
from hydra.core.config_loader import ConfigLoader
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from weightnet.errors import UserError
from weightnet.experiment import Config, build, resolve

# The types of the config: an unknown key or a wrong type is refused when a config is composed.
ConfigStore.instance().store(name="schema", node=Config, provider="weightnet")

CONF = Path(__file__).resolve().parents[2] / "conf"  # the folder of the YAML files


@contextmanager
def composer(overrides: Sequence[str] = (), *, config_dir: str | None = None) -> "Iterator[Composer]":
    """Yield the composer of a sweep outside of run.py, for overrides and `--config-dir` as on its command line."""
    with config_loader(config_dir) as loader:
        yield Composer(loader, overrides)


@contextmanager
def config_loader(config_dir: str | None = None) -> Iterator[ConfigLoader]:
    """Yield Hydra's loader: the one of run.py where that is what runs, else one with `config_dir` as it takes it.

    UserError: there is no such folder.
    """
    if config_dir is not None and not Path(config_dir).is_dir():
        raise UserError(f"--config-dir={config_dir}: there is no such folder")
    initialized = GlobalHydra.instance().is_initialized()
    with nullcontext() if initialized else initialize_config_dir(str(CONF), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        if config_dir is not None and not initialized:
            path = f"file://{Path(config_dir).resolve()}"
            loader.get_search_path().prepend("command-line", path, SearchPathQuery(provider="schema"))
            loader.repository.initialize_sources(loader.get_search_path())  # type: ignore[attr-defined]
        yield loader


def to_config(cfg: DictConfig) -> Config:
    """Convert a composed config and resolve it.

    UserError: a value is impossible, or the dimensions do not fit. OmegaConfBaseException: the schema has no such key.
    """
    return resolve(build(_plain(cfg)))


class Composer:
    """Composes the jobs of one sweep, each as Hydra would, but Hydra itself only once for each choice of groups.

    Hydra takes 0.05 to 0.2 s for a job. Jobs of a sweep mostly differ in plain values (`seed=3`), which are set here on
    the config of their groups, through OmegaConf's types. Whatever is not plain goes through Hydra: an interpolation,
    a key that one refers to, an added or deleted key.
    """

    def __init__(self, loader: ConfigLoader, overrides: Sequence[str], master: DictConfig | None = None) -> None:
        """Take the overrides of a sweep's command line, or the `master` config that Hydra made of them."""
        self.loader = loader
        self.master = master or loader.load_configuration("config", list(overrides), run_mode=RunMode.MULTIRUN)
        self.parser = OverridesParser.create(config_loader=loader)
        self.groups = set(loader.list_groups(""))
        # Where values are set to give them their type; what else it holds does not matter.
        self.typed = cast(DictConfig, OmegaConf.merge(OmegaConf.structured(Config), _ours(self.master)))
        self._parse = cache(lambda part: self.parser.parse_overrides([part])[0])
        self._value, self._base = cache(self._typed_value), cache(self._compose_base)

    def axes(self) -> dict[str, list[str]]:
        """Return key -> its values as overrides (`["seed=1", "seed=2"]`), in order; fixed keys have one value.

        UserError: a sweep that is no choice, range or glob.
        """
        own = [f"{key}={values}" for key, values in (self.master.hydra.sweeper.params or {}).items()]
        axes: dict[str, list[str]] = {}
        for override in self.parser.parse_overrides([*own, *self.master.hydra.overrides.task]):
            key = override.get_key_element()
            if not override.is_sweep_override():
                axes[key] = [f"{key}={override.get_value_element_as_str()}"]
            elif override.is_discrete_sweep():
                axes[key] = [f"{key}={value}" for value in override.sweep_string_iterator()]
            else:
                raise UserError(f"{override.input_line}: a sweep takes a,b,c or range(a,b) or glob(*), not an interval")
        return axes

    def compose(self, parts: Sequence[str]) -> Config:
        """Return the config of the job with these overrides, not resolved; errors are those of Hydra's composition."""
        choices = tuple(part for part in parts if not self._may_be_plain(part))
        if all(self._parse(part).key_or_group in self.groups for part in choices):
            base, values = self._base(choices), [self._parse(part) for part in parts if part not in choices]
            with suppress(HydraException, OmegaConfBaseException):
                if config := self._with_values(*base, values):
                    return config
        return build(_plain(self.loader.load_sweep_config(self.master, list(parts))))

    def _may_be_plain(self, part: str) -> bool:
        """Tell whether the override gives an existing key a value that needs no resolving."""
        key = part.partition("=")[0]
        needs_hydra = part[:1] in "+~" or "${" in part or "???" in part or "@" in key or "/" in key
        return not needs_hydra and key not in self.groups and key.partition(".")[0] != "hydra"

    def _compose_base(self, choices: tuple[str, ...]) -> tuple[dict[str, Any], list[str]]:
        """Return what the jobs with one choice of groups start from, and the keys that its interpolations refer to."""
        composed = self.loader.load_sweep_config(self.master, list(choices))
        interpolations = re.findall(r"\$\{[^}]*\}", OmegaConf.to_yaml(_ours(composed)))
        return _plain(composed), re.findall(r"[\w.]+", " ".join(interpolations))

    def _with_values(self, base: dict[str, Any], referred: list[str], overrides: Sequence[Override]) -> Config | None:
        """Return the config with plain values set, the last one winning; None where one of them needs Hydra."""
        plain = {key: dict(value) if isinstance(value, dict) else value for key, value in base.items()}
        for override in overrides:
            path = override.key_or_group
            group, _, key = path.rpartition(".")
            target = plain.get(group) if group else plain
            if not isinstance(target, dict) or isinstance(target.get(key, {}), dict):
                return None
            if any(path == word or path.startswith(f"{word}.") or word.startswith(".") for word in referred):
                return None
            target[key] = self._value(override.input_line)
        return build(plain)

    def _typed_value(self, part: str) -> Any:
        override = self._parse(part)
        OmegaConf.update(self.typed, override.key_or_group, override.value(), merge=True)
        value = OmegaConf.select(self.typed, override.key_or_group)
        return OmegaConf.to_container(value) if OmegaConf.is_config(value) else value


def _ours(cfg: DictConfig) -> DictConfig:
    return OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key != "hydra"])


def _plain(cfg: DictConfig) -> dict[str, Any]:
    """Return a composed config as checked and resolved plain values."""
    ours = OmegaConf.to_container(_ours(cfg), resolve=True, throw_on_missing=True)
    return cast(dict[str, Any], OmegaConf.to_container(OmegaConf.merge(OmegaConf.structured(Config), ours)))
