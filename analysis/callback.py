"""What an experiment does after its last job."""

import sys
from collections.abc import Sequence
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from weightnet.errors import RunFailed
from weightnet.sweep.mistakes import plainly


class DrawFigures(Callback):
    """Draws figures from the runs of the sweep that has ended, and prints their table."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = names

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Draw each figure by its experiment, with the overrides of this sweep; nothing after a dry run.

        Of several figures, each keeps its own data set and models, and one without runs is named and left out.
        """
        if config.hydra.sweeper.get("dry_run"):
            return
        from analysis.figures import draw  # not above: pandas and seaborn take seconds
        from analysis.load import load_runs, report_skipped
        from analysis.study import gather

        several = len(self.names) > 1
        own = ("experiment", "dataset", "model") if several else ("experiment",)
        overrides = [part for part in config.hydra.overrides.task if part.partition("=")[0] not in own]
        drawn = 0
        with plainly():
            loaded = report_skipped(load_runs(config.outputs))
            for name in self.names:
                try:
                    draw(gather(name, overrides, loaded=loaded, every_seed=False))
                    drawn += 1
                except RunFailed as error:
                    if not several:
                        raise
                    print(error, file=sys.stderr)
            if not drawn:
                raise RunFailed("no figure was drawn")
