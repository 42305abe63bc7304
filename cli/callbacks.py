"""What a command does before its first job."""

from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from cli.compose import expand, to_config
from cli.mistakes import plainly


class CheckJobs(Callback):
    """Refuses a mistake before anything runs: in a sweep, before any job does."""

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Check the one job."""
        with plainly():
            to_config(config)

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Check every job."""
        with plainly():
            expand(config.hydra.overrides.task)
