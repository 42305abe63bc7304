"""From command-line overrides to resolved configs, for one job and for thousands."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, cast

from hydra import initialize_config_dir
from hydra.core.config_loader import ConfigLoader
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

CONF = Path(__file__).resolve().parents[2] / "conf"
"""The folder of the YAML files."""


@contextmanager
def composer(overrides: Sequence[str] = ()) -> "Iterator[Composer]":
    """Yield the composer of a sweep outside of run.py, for overrides as on its command line."""
    with (
        nullcontext()
        if GlobalHydra.instance().is_initialized()
        else initialize_config_dir(str(CONF), version_base="1.3")
    ):
        yield Composer(GlobalHydra.instance().config_loader(), overrides)


def to_config(cfg: DictConfig) -> Config:
    """Convert a composed config and resolve it.

    Raises:
        UserError: a value is impossible, or the dimensions do not fit.
        OmegaConfBaseException: a key was added that the schema does not have.
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
        self.parsed: dict[str, Override] = {}
        self.bases: dict[tuple[str, ...], _Base] = {}

    def axes(self) -> dict[str, list[str]]:
        """Return key -> its values as overrides (`["seed=1", "seed=2"]`), in order; fixed keys have one value.

        Raises:
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
        """Return the config of the job with these overrides, not resolved.

        Raises:
            HydraException, OmegaConfBaseException: as Hydra's own composition.
        """
        choices = tuple(part for part in parts if not self._may_be_plain(part))
        if any(self._parse(part).key_or_group not in self.groups for part in choices):
            return build(_plain(self._by_hydra(parts)))
        base = self.bases.get(choices)
        if base is None:
            base = self.bases[choices] = _Base(self._by_hydra(choices))
        values = [self._parse(part) for part in parts if part not in choices]
        try:
            return base.with_values(values)
        except (HydraException, OmegaConfBaseException, _NotPlain):
            return build(_plain(self._by_hydra(parts)))

    def _by_hydra(self, parts: Sequence[str]) -> DictConfig:
        return self.loader.load_sweep_config(self.master, list(parts))

    def _parse(self, part: str) -> Override:
        if part not in self.parsed:
            (self.parsed[part],) = self.parser.parse_overrides([part])
        return self.parsed[part]

    def _may_be_plain(self, part: str) -> bool:
        """Tell whether the override gives an existing key a value that needs no resolving."""
        if part[0] in "+~" or "${" in part or "???" in part or "@" in part.partition("=")[0]:
            return False
        key = part.partition("=")[0]
        return key not in self.groups and key.partition(".")[0] != "hydra" and "/" not in key


class _NotPlain(Exception):
    """The override needs Hydra."""


class _Base:
    """What the jobs with one choice of groups start from."""

    def __init__(self, composed: DictConfig) -> None:
        self.plain = _plain(composed)
        # Where values are set to give them their type; what else it holds does not matter.
        self.typed = cast(DictConfig, OmegaConf.merge(OmegaConf.structured(Config), _ours(composed)))
        unresolved = OmegaConf.to_yaml(_ours(composed), resolve=False)
        interpolations = re.findall(r"\$\{[^}]*\}", unresolved)
        self.referred = [word for text in interpolations for word in re.findall(r"[\w.]+", text)]
        self.converted: dict[str, Any] = {}  # override -> its value with its type

    def with_values(self, overrides: Sequence[Override]) -> Config:
        """Return the config with plain values set, the last one winning."""
        plain = {key: dict(value) if isinstance(value, dict) else value for key, value in self.plain.items()}
        for override in overrides:
            group, _, key = override.key_or_group.rpartition(".")
            target = plain.get(group) if group else plain
            if not isinstance(target, dict) or isinstance(target.get(key, {}), dict):
                raise _NotPlain
            target[key] = self._convert(override)
        return build(plain)

    def _convert(self, override: Override) -> Any:
        text, key = cast(str, override.input_line), override.key_or_group
        if text not in self.converted:
            if any(key == word or key.startswith(f"{word}.") or word.startswith(".") for word in self.referred):
                raise _NotPlain
            OmegaConf.update(self.typed, key, override.value(), merge=True)
            value = OmegaConf.select(self.typed, key)
            self.converted[text] = OmegaConf.to_container(value) if OmegaConf.is_config(value) else value
        return self.converted[text]


def _ours(cfg: DictConfig) -> DictConfig:
    return OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key != "hydra"])


def _plain(cfg: DictConfig) -> dict[str, Any]:
    """Return a composed config as checked and resolved plain values."""
    ours = OmegaConf.to_container(_ours(cfg), resolve=True, throw_on_missing=True)
    return cast(dict[str, Any], OmegaConf.to_container(OmegaConf.merge(OmegaConf.structured(Config), ours)))
