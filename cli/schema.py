"""Gives Hydra the types of the config: an unknown key or a wrong type is refused when a config is composed."""

from hydra.core.config_store import ConfigStore

from weightnet.config import Config

ConfigStore.instance().store(name="schema", node=Config, provider="weightnet")
