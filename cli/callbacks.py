"""What a command does before its first job."""

from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from cli.compose import to_config
from cli.mistakes import plainly


class CheckRun(Callback):
    """Refuses a mistake before the run begins. (A sweep's sweeper does the same for all its jobs.)"""

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Check the one run."""
        with plainly():
            to_config(config)
