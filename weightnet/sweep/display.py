"""The one display of a sweep: a live table on a terminal, a line a run elsewhere. It reads the run folders."""

import sys
import time
from collections.abc import Sequence
from concurrent.futures import CancelledError
from contextlib import suppress
from io import StringIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from weightnet.experiment import run_folder, run_id, work
from weightnet.runs.folder import RunFolder
from weightnet.sweep.engine import Outcome, Task

MOST_ROWS = 1000  # of a table: rich takes a millisecond for each
LOOK = 0.25  # seconds between two looks at the folders of the runs that are executed


class Display:
    """Shows how far the tasks of a sweep are."""

    MOST_FAILURES = 5  # that the table shows

    def __init__(self, tasks: Sequence[Task], title: str = "") -> None:
        """Show these tasks, all of them still to be executed, under a title."""
        self.title, self.failures = title, list[str]()
        self.total, self.done, self.failed, self.ended_count = len(tasks), 0, 0, 0
        self.running: dict[str, Task] = {}
        self.waiting: set[str] = set()  # whose runs others execute, or did
        self.ended_work, self.all_work = 0.0, sum(work(task.config) for task in tasks)
        self.seen, self.looked = dict[str, list[dict[str, float]]](), -LOOK  # epochs of those that run, and when
        self.start: float | None = None  # of the first task, by the monotonic clock
        self.live: Live | _Cell | None = None
        if in_notebook():
            self.live = _Cell()
        elif sys.stderr.isatty():
            self.live = Live(console=Console(stderr=True), auto_refresh=False, transient=True)

    def __enter__(self) -> "Display":
        if self.live:
            self.live.start()
        self.update()
        return self

    def __exit__(self, *error: object) -> None:
        if self.live:
            self.live.stop()

    def started(self, task: Task) -> None:
        """Show the task as one that is executed."""
        self.start = self.start or time.monotonic()
        self.running[run_id(task.config)] = task

    def paused(self, task: Task) -> None:
        """Show the task as one that waits: another process executes its run. Says so once."""
        name = run_id(task.config)
        self.running.pop(name, None)
        if name not in self.waiting:
            self.waiting.add(name)
            holder = RunFolder(run_folder(task.config)).holder()
            print(f"{holder}; this sweep waits for it (if that hangs: end it there, and this goes on)", flush=True)

    def stopped(self, task: Task) -> None:
        """Show the task as one that is still to be executed."""
        self.running.pop(run_id(task.config), None)

    def ended(self, task: Task, outcome: Outcome) -> None:
        """Count a task that has ended, and say so."""
        name = run_id(task.config)
        begun = self.running.pop(name, None)
        if isinstance(outcome.error, CancelledError):  # the sweep was stopped: of what was not begun there is no word
            if begun:
                print(f"{name}: {words(outcome)}", flush=True)
            return self.update()
        self.ended_work += work(task.config)
        self.ended_count += 1
        if outcome.failed:
            self.failed += 1
            self.failures.append(f"{_name(task)}: {' '.join(str(outcome.error).split())[:200]}")
        self.done += outcome.error is None
        if not isinstance(self.live, _Cell):  # a notebook keeps all lines
            print(
                f"[{self.ended_count}/{self.total}] {name}: {words(outcome)}; {self._left(self._epochs())}", flush=True
            )
        self.update()

    def update(self) -> None:
        """Draw the terminal's table anew."""
        if self.live:
            self.live.update(self.table(), refresh=True)

    def table(self) -> Group:
        """Return what a terminal shows: each run that is executed, what failed last, the counts, the time left."""
        epochs = self._epochs()
        table = Table("run", "epoch", "accuracy", box=None, pad_edge=False)
        for name, rows in epochs.items():
            accuracy = f"{rows[-1]['test_accuracy']:.2%}" if rows else ""
            table.add_row(
                Text(_name(self.running[name])), f"{len(rows)}/{self.running[name].config.train.epochs}", accuracy
            )
        left = self.total - self.ended_count - len(self.running)
        counts = f"{self.done} done, {self.failed} failed, {len(self.running)} running, {left} left"
        failures = [Text(f"failed: {line}", "red") for line in self.failures[-self.MOST_FAILURES :]]
        title = [Text(self.title, "bold")] if self.title else []
        return Group(*title, table, *failures, Text(f"{counts}; {self._left(epochs)}"))

    def _epochs(self) -> dict[str, list[dict[str, float]]]:
        """Return the epochs so far of each run that is executed; none of one that is replayed."""
        if time.monotonic() > self.looked + LOOK:
            self.seen = {name: self._epochs_of(name) for name in self.running}
            self.looked = time.monotonic()
        return {name: self.seen.get(name, []) for name in self.running}

    def _epochs_of(self, name: str) -> list[dict[str, float]]:
        folder = RunFolder(run_folder(self.running[name].config, name))
        with suppress(OSError, ValueError):  # a damaged file of another time: its run will write it anew
            folder = folder.successor() if folder.successor().path.exists() else folder
            return folder.metrics() if self.running[name].verify_epochs is None else []
        return []

    def _left(self, epochs: dict[str, list[dict[str, float]]]) -> str:
        """Return the time left, at the pace so far; unfinished runs count by their epochs."""
        running = [(self.running[name].config, len(rows)) for name, rows in epochs.items()]
        partly = sum(work(config) * done / config.train.epochs for config, done in running)
        share = (self.ended_work + partly) / self.all_work if self.all_work else 1.0
        if not share or self.start is None:
            return "time left unknown"
        seconds = round((time.monotonic() - self.start) * (1 - share) / share)
        return f"about {seconds // 60}:{seconds % 60:02} left"


def in_notebook() -> bool:
    """Tell whether a notebook shows what this process prints."""
    return Console().is_jupyter


class _Cell:
    """What `Live` is on a terminal, in a notebook: one output that is drawn anew in its place. Needs no widgets."""

    def start(self) -> None:
        """Make room."""
        from IPython.display import display  # there, since this is a notebook

        self.handle = display({"text/plain": ""}, raw=True, display_id=True)  # type: ignore[no-untyped-call, unused-ignore]

    def update(self, shown: Group, *, refresh: bool) -> None:
        """Draw."""
        console = Console(file=StringIO(), width=100, force_jupyter=False, force_terminal=False, color_system=None)
        with console.capture() as text:
            console.print(shown)
        self.lines = text.get().splitlines()
        self._show(self.lines)

    def stop(self) -> None:
        """Leave the counts."""
        self._show(self.lines[-1:])

    def _show(self, lines: Sequence[str]) -> None:
        self.handle.update({"text/plain": "\n".join(lines)}, raw=True)


def as_table(columns: Sequence[str], rows: Sequence[Sequence[str | Text]]) -> RenderableType:
    """Return a table that fits itself to the terminal; of more than `MOST_ROWS`, plain lines."""
    if len(rows) <= MOST_ROWS:
        table = Table(*columns, box=None, pad_edge=False)
        for row in rows:
            table.add_row(*row)
        return table
    cells = [[str(cell) for cell in row] for row in (columns, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return Group(*(Text("  ".join(map(str.ljust, row, widths)).rstrip(), no_wrap=True) for row in cells))


def _name(task: Task) -> str:
    """Return what tells a run from the sweep's others."""
    return task.differing or run_id(task.config)


def words(outcome: Outcome) -> str:
    """Say how a task ended."""
    if outcome.failed:
        return "failed"
    if outcome.error is not None:
        return "not finished"
    if isinstance(outcome.value, str):
        return f"differs: {outcome.value}" if outcome.value else "verified"
    return f"done, accuracy {outcome.value:.2%}"
