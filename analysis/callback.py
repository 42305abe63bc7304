"""What an experiment does after its last job."""

from collections.abc import Sequence
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from cli.mistakes import plainly


class DrawFigures(Callback):
    """Draws figures from the runs of the sweep that has ended, and prints their table."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = names

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Draw each figure by its experiment, with the overrides of this sweep; nothing after a dry run."""
        if config.hydra.sweeper.get("dry_run"):
            return
        from analysis.figures import draw  # not above: pandas and seaborn take seconds

        overrides = [part for part in config.hydra.overrides.task if not part.startswith("experiment=")]
        with plainly():
            for name in self.names:
                draw(name, overrides, outputs=config.outputs, only_seeds_asked_for=True)
