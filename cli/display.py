"""The one display of a sweep: a live table on a terminal, a line a run elsewhere. It reads the run folders."""

import sys
import time
from collections.abc import Sequence
from types import TracebackType

from hydra.core.utils import JobReturn, JobStatus
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from weightnet.config import Config, run_folder, run_id
from weightnet.estimate import work
from weightnet.store import RunFolder


class Display:
    """Shows how far the runs of a sweep are."""

    def __init__(self, configs: Sequence[Config]) -> None:
        """Show these runs, all of them still to be executed."""
        self.open = {run_id(config): config for config in configs}
        self.total, self.done, self.failed = len(self.open), 0, 0
        self.finished_work, self.all_work = 0.0, sum(work(config) for config in configs)
        self.start = time.monotonic()
        self.start_time = time.time()
        self.live = Live(console=Console(stderr=True), auto_refresh=False, transient=True) if _on_terminal() else None

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

    def ended(self, config: Config, outcome: JobReturn) -> None:
        """Count a run that has ended, and say so."""
        name = run_id(config)
        self.open.pop(name, None)
        self.finished_work += work(config)
        if outcome.status == JobStatus.COMPLETED:
            self.done += 1
            line = f"{name}: done, accuracy {outcome.return_value:.2%}"
        elif RunFolder(run_folder(config)).record().get("status") == "failed":
            self.failed += 1
            line = f"{name}: failed"
        else:
            line = f"{name}: not finished"
        number = self.total - len(self.open)
        print(f"[{number}/{self.total}] {line}; {self._left()}", flush=True)
        self.update()

    def update(self) -> None:
        """Draw the terminal's table anew."""
        if self.live:
            self.live.update(self._table(), refresh=True)

    def _table(self) -> Group:
        running = [(name, rows) for name, config in self.open.items() if (rows := self._running(config)) is not None]
        counts = f"{self.done} done, {self.failed} failed, {len(running)} running, {len(self.open) - len(running)} left"
        table = Table("run", "epoch", "accuracy", box=None, pad_edge=False)
        for name, rows in running:
            accuracy = f"{rows[-1]['test_accuracy']:.2%}" if rows else ""
            table.add_row(Text(name), f"{len(rows)}/{self.open[name].train.epochs}", accuracy)
        return Group(table, Text(f"{counts}; {self._left()}"))

    def _running(self, config: Config) -> list[dict[str, float]] | None:
        """Return the epochs of a run that is executed now, None for others."""
        folder = RunFolder(run_folder(config))
        if not folder.path.exists() or folder.record().get("status") != "running" or not folder.is_held():
            return None
        return folder.metrics()

    def _left(self) -> str:
        elapsed, share = time.monotonic() - self.start, self.finished_work / self.all_work
        if not share:
            return "time left unknown"
        seconds = round(elapsed * (1 - share) / share)
        return f"about {seconds // 60}:{seconds % 60:02} left"


def _on_terminal() -> bool:
    return sys.stderr.isatty()
