"""What a sweep does after its last job."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from weightnet.errors import RunFailed
from weightnet.sweep.mistakes import plainly


class DrawFigures(Callback):
    """Draws what was swept, from the sweep's runs alone, and prints their table."""

    def __init__(self, names: Sequence[str] = ()) -> None:
        """Take the experiments that are drawn; none: the sweep itself."""
        self.names = names

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Draw; nothing after a dry run. Where nothing has finished, say so, which is no failure of its own."""
        if config.hydra.sweeper.get("dry_run"):
            return
        from analysis.load import load_runs  # not above: pandas and seaborn take seconds
        from analysis.sweeps import draw_sweep, read_sweep

        with plainly():
            sweep = read_sweep(Path(config.hydra.sweep.dir))
            try:
                draw_sweep(sweep, load_runs(config.outputs, sweep.runs), self.names)
            except RunFailed as error:
                print(error, file=sys.stderr)
