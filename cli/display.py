"""The one display of a sweep: a live table on a terminal, a line a run elsewhere. It reads the run folders."""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from weightnet.config import Config, run_folder, run_id
from weightnet.estimate import work
from weightnet.store import RunFolder


@dataclass(frozen=True, slots=True)
class _Run:
    epochs: int
    work: float
    folder: RunFolder

    def rows(self) -> list[dict[str, float]] | None:
        """Return the epochs so far if the run is executed now, else None."""
        if not self.folder.path.exists() or self.folder.record().get("status") != "running":
            return None
        return self.folder.metrics() if self.folder.is_held() else None


class Display:
    """Shows how far the runs of a sweep are."""

    def __init__(self, configs: Sequence[Config]) -> None:
        """Show these runs, all of them still to be executed."""
        self.open = {
            run_id(config): _Run(config.train.epochs, work(config), RunFolder(run_folder(config))) for config in configs
        }
        self.total, self.done, self.failed = len(self.open), 0, 0
        self.finished_work, self.all_work = 0.0, sum(run.work for run in self.open.values())
        self.start = time.monotonic()
        self.live = (
            Live(console=Console(stderr=True), auto_refresh=False, transient=True) if sys.stderr.isatty() else None
        )

    def __enter__(self) -> "Display":
        if self.live:
            self.live.start()
        self.update()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.live:
            self.live.stop()

    def ended(self, config: Config, accuracy: float | None, *, failed: bool) -> None:
        """Count a run that has ended, and say so; without an accuracy it failed, or the sweep stopped before."""
        name = run_id(config)
        self.finished_work += self.open.pop(name).work
        if accuracy is not None:
            self.done += 1
            line = f"{name}: done, accuracy {accuracy:.2%}"
        elif failed:
            self.failed += 1
            line = f"{name}: failed"
        else:
            line = f"{name}: not finished"
        print(f"[{self.total - len(self.open)}/{self.total}] {line}; {self._left(self._running())}", flush=True)
        self.update()

    def update(self) -> None:
        """Draw the terminal's table anew."""
        if self.live:
            self.live.update(self.table(), refresh=True)

    def table(self) -> Group:
        """Return what a terminal shows: each run that is executed, then the counts and the time left."""
        running = self._running()
        table = Table("run", "epoch", "accuracy", box=None, pad_edge=False)
        for name, rows in running.items():
            accuracy = f"{rows[-1]['test_accuracy']:.2%}" if rows else ""
            table.add_row(Text(name), f"{len(rows)}/{self.open[name].epochs}", accuracy)
        counts = f"{self.done} done, {self.failed} failed, {len(running)} running, {len(self.open) - len(running)} left"
        return Group(table, Text(f"{counts}; {self._left(running)}"))

    def _running(self) -> dict[str, list[dict[str, float]]]:
        return {name: rows for name, run in self.open.items() if (rows := run.rows()) is not None}

    def _left(self, running: dict[str, list[dict[str, float]]]) -> str:
        """Return the time left, at the pace so far; unfinished runs count by their epochs."""
        partly = sum(self.open[name].work * len(rows) / self.open[name].epochs for name, rows in running.items())
        share = (self.finished_work + partly) / self.all_work
        if not share:
            return "time left unknown"
        seconds = round((time.monotonic() - self.start) * (1 - share) / share)
        return f"about {seconds // 60}:{seconds % 60:02} left"
