"""What analysis does for a sweep: before the first job and after the last one."""

import logging
import sys
from collections.abc import Sequence
from contextlib import nullcontext, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from analysis.metrics import read_outcome
from weightnet.errors import RunFailed, UserError
from weightnet.sweep.display import in_notebook
from weightnet.sweep.mistakes import explain, plainly


class DrawFigures(Callback):
    """Draws what was swept, from the sweep's runs alone, and prints their table."""

    def __init__(self, names: Sequence[str] = ()) -> None:
        """Take the experiments that are drawn; none: the sweep itself."""
        self.names = names

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Refuse a primary outcome that nobody could look at afterwards."""
        with plainly():
            read_outcome(str(config.analysis.primary), "analysis.primary")

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Draw; nothing after a dry run. What cannot be drawn is said in a line; the exit status stays the sweep's."""
        folder = Path(config.hydra.sweep.dir)
        if config.hydra.sweeper.get("dry_run") or not (folder / "plan.csv").exists():  # it could not even begin
            return
        # matplotlib's on its first use, at the level of our own words
        logging.getLogger("matplotlib.font_manager").addFilter(lambda line: line.msg != "generated new fontManager")
        # in a notebook the table and the picture are the value of the cell
        with plainly(), redirect_stdout(StringIO()) if in_notebook() else nullcontext():
            from analysis.load import load_runs, report_skipped  # not above: pandas and seaborn take seconds
            from analysis.records import read_sweep
            from analysis.sweeps import draw_sweep, studies_of

            try:
                sweep = read_sweep(folder)
                loaded = report_skipped(load_runs(config.outputs, sweep.runs))
                if loaded.runs.empty:  # none has begun: the sweep says why
                    return
                draw_sweep(sweep, studies_of(sweep, loaded, self.names))
            except (UserError, RunFailed, HydraException, OmegaConfBaseException, OSError) as error:
                print(f"no picture: {explain(error)}", file=sys.stderr)
