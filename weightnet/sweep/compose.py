"""From command-line overrides to resolved configs, for one job and for thousands."""

import itertools
import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import fields, is_dataclass, replace
from functools import cache
from typing import Any, cast, get_type_hints

from hydra.core.config_loader import ConfigLoader
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Glob, IntervalSweep, Override, Sweep
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from weightnet.errors import UserError
from weightnet.experiment import AnalysisConfig, Config, build, resolve, untaken
from weightnet.sweep.conf_folders import config_loader, offer_own_models
from weightnet.sweep.interval import Interval, read_interval
from weightnet.sweep.mistakes import refuse

MOST_VALUES, MOST_JOBS = 100_000, 1_000_000  # of a key, of a sweep's combinations

FREE = ("model.params", "eval.metrics")  # keys whose own keys are the user's

_OF_THE_SWEEP = ("hydra", "analysis")  # keys that are part of no run
_NUMBER = re.compile(
    r"(?P<key>[a-z_]+(\.[a-z_]+)*)=(?P<value>(0|[1-9]\d{0,14})(?P<fraction>\.\d+(e-?\d+)?)?)", re.ASCII
)  # given to a key, as Hydra reads it


def schema() -> DictConfig:
    """Return the types of the config: an unknown key or a wrong type is refused when a config is composed."""
    schema: DictConfig = OmegaConf.structured(Config)
    with open_dict(schema):
        schema.analysis = OmegaConf.structured(AnalysisConfig)
    for group, key in (path.split(".") for path in FREE):
        schema[group] = OmegaConf.structured(get_type_hints(Config)[group])
        OmegaConf.set_struct(schema[group][key], False)
    return schema


ConfigStore.instance().store(name="schema", node=schema(), provider="weightnet")


@contextmanager
def composer(overrides: Sequence[str] = (), *, config_dir: str | None = None) -> "Iterator[Composer]":
    """Yield the composer of a sweep outside of run.py, for overrides and `--config-dir` as on its command line."""
    refuse(overrides)
    offer_own_models(overrides)
    with config_loader(config_dir) as loader:
        yield Composer(loader, overrides)


def to_config(cfg: DictConfig) -> Config:
    """Convert a composed config and resolve it.

    UserError: a value is impossible, or the dimensions do not fit. OmegaConfBaseException: the schema has no such key.
    """
    asked = build(_plain(cfg))
    config = resolve(asked)
    if wrong := untaken(asked, [config]):
        raise UserError(wrong)
    return config


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
        self._parse, self._kind = cache(self._parsed), cache(self._kind_of)
        self._value, self._base = cache(self._typed_value), cache(self._compose_base)

    def analysis(self) -> AnalysisConfig:
        """Return how the sweep's runs are compared; UserError: there is no such key, or the margin is impossible."""
        given = cast(dict[str, Any], OmegaConf.to_container(self.master.analysis, resolve=True))
        try:
            config = AnalysisConfig(**given)
        except TypeError:
            keys = ", ".join(field.name for field in fields(AnalysisConfig))
            raise UserError(f"analysis: has the keys {keys}, not {', '.join(given)}") from None
        if config.margin is not None and not 0 < config.margin < math.inf:
            raise UserError(f"analysis.margin={config.margin:g}: must be greater than 0, and finite")
        return config

    def axes(self) -> dict[str, list[str]]:
        """Return key -> its values as overrides (`["seed=1", "seed=2"]`), in order; fixed keys have one value.

        Of an interval these are its ends. Keys of `analysis`, which are part of no run, are left out.

        UserError: a sweep that is no choice, range, glob or possible interval, has no value or too many; or a key that
        is given twice.
        """
        self._refuse_repeated()
        axes, intervals = dict[str, list[str]](), self.intervals()
        for key, override in self._asked().items():
            line = override.input_line
            if override.is_delete():
                raise UserError(f"{line}: nothing can be taken out of the config")
            if key.lstrip("+").startswith("analysis."):
                if override.is_sweep_override():
                    raise UserError(f"{line}: the runs of a sweep are compared in one way; give one value")
                continue
            if not override.is_sweep_override():
                axes[key] = [f"{key}={override.get_value_element_as_str()}"]
                continue
            if key in intervals:
                axes[key] = [f"{key}={end!r}" for end in (intervals[key].low, intervals[key].high)]
                continue
            if isinstance(sweep := override.value(), ChoiceSweep) and any(
                isinstance(v, Sweep | Glob) for v in sweep.list
            ):
                raise UserError(f"{line}: a range, glob or interval stands alone; else write all values out, as in "
                                "1,2,3,7")  # fmt: skip
            # a range may have any number of values: as many as are too many
            try:
                values = list(itertools.islice(override.sweep_string_iterator(), MOST_VALUES + 1))
            except ValueError as error:
                raise UserError(f"{line}: {error}") from None
            if not values:
                raise UserError(f"{line}: has no value")
            if len(values) > MOST_VALUES:
                raise UserError(f"{line}: has more than {MOST_VALUES:,} values")
            axes[key] = [f"{key}={value}" for value in values]
        if math.prod(map(len, axes.values())) > MOST_JOBS:
            counts = " x ".join(f"{len(values):,} {key}" for key, values in axes.items() if len(values) > 1)
            raise UserError(f"{counts}: a sweep has at most {MOST_JOBS:,} combinations")
        return axes

    def intervals(self) -> dict[str, Interval]:
        """Return the keys that are asked for as intervals; UserError: one of them is impossible."""
        found = {key: override for key, override in self._asked().items() if not override.is_delete()}
        return {key: read_interval(key, value, str(override.input_line), whole=_is_whole(key))
                for key, override in found.items() if isinstance(value := override.value(), IntervalSweep)}  # fmt: skip

    def _asked(self) -> dict[str, Override]:
        """Return key -> what is asked of it, by the command line or else `hydra.sweeper.params`."""
        own = [f"{key}={values}" for key, values in (self.master.hydra.sweeper.params or {}).items()]
        offer_own_models(own)
        asked = self.parser.parse_overrides([*own, *self.master.hydra.overrides.task])
        return {override.get_key_element(): override for override in asked}

    def _refuse_repeated(self) -> None:
        """Refuse a key that the command line sweeps and gives a second time: one of the two would not be seen."""
        given: dict[str, Override] = {}
        for override in self.parser.parse_overrides(list(self.master.hydra.overrides.task)):
            before = given.setdefault(override.get_key_element(), override)
            if before is not override and (before.is_sweep_override() or override.is_sweep_override()):
                raise UserError(f"{before.input_line} {override.input_line}: give the key once, with all its values")

    def compose(self, parts: Sequence[str]) -> Config:
        """Return the config of the job with these overrides, not resolved; errors are those of Hydra's composition."""
        choices = tuple(part for part in parts if not self._may_be_plain(part))
        if all(self._is_choice(self._parse(part)) for part in choices):
            base, values = self._base(choices), [self._parse(part) for part in parts if part not in choices]
            with suppress(HydraException, OmegaConfBaseException):
                if config := self._with_values(*base, values):
                    return config
        return build(_plain(self.loader.load_sweep_config(self.master, list(parts))))

    def _is_choice(self, override: Override) -> bool:
        """Tell whether the override chooses of a group; `train={lr: 0.5}` sets values, in the order of all others."""
        return override.key_or_group in self.groups and not isinstance(override.value(), dict)

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
        plain = _copy(base)
        for override in overrides:
            path = override.key_or_group
            *groups, key = path.split(".")
            target = plain
            for group in groups:
                target = target.get(group, {}) if isinstance(target, dict) else None
            if not isinstance(target, dict) or isinstance(target.get(key), dict):
                return None
            if key not in target and ".".join(groups) not in FREE:
                return None
            if any(path == word or path.startswith(f"{word}.") or word.startswith(".") for word in referred):
                return None
            target[key] = self._value(override.input_line)
        return build(plain)

    def _parsed(self, part: str) -> Override:
        """Return the override, of a plain number without Hydra's parser: that takes a millisecond."""
        if (found := _NUMBER.fullmatch(part)) and found["value"] != "0":
            value = float(found["value"]) if found["fraction"] else int(found["value"])
            return replace(self._parse(f"{found['key']}=0"), _value=value, input_line=part)
        return self.parser.parse_overrides([part])[0]

    def _kind_of(self, key: str, kind: type) -> type:
        """Return what a number of this kind becomes as the value of a key."""
        return type(self._through_omegaconf(key, kind(1)))

    def _typed_value(self, part: str) -> Any:
        override = self._parse(part)
        key, value = override.key_or_group, override.value()
        if isinstance(value, int | float) and not isinstance(value, bool):
            given: Any = type(value)
            kind = self._kind(key, given)
            if kind in (float, given):
                return kind(value)
        return self._through_omegaconf(key, value)

    def _through_omegaconf(self, key: str, value: Any) -> Any:
        OmegaConf.update(self.typed, key, value, merge=True)
        value = OmegaConf.select(self.typed, key)
        return OmegaConf.to_container(value) if OmegaConf.is_config(value) else value


def _is_whole(key: str) -> bool:
    """Tell whether a key takes whole numbers alone."""
    group, _, name = key.partition(".")
    kind = get_type_hints(Config).get(group)
    return is_dataclass(kind) and get_type_hints(kind).get(name) in (int, int | None)


def _copy(plain: dict[str, Any]) -> dict[str, Any]:
    return {key: _copy(value) if isinstance(value, dict) else value for key, value in plain.items()}


def _ours(cfg: DictConfig) -> DictConfig:
    return OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key not in _OF_THE_SWEEP])


def _plain(cfg: DictConfig) -> dict[str, Any]:
    """Return a composed config as checked and resolved plain values."""
    ours = OmegaConf.to_container(_ours(cfg), resolve=True, throw_on_missing=True)
    return cast(dict[str, Any], OmegaConf.to_container(OmegaConf.merge(OmegaConf.structured(Config), ours)))
