"""`status --watch`: a sweep as it runs: how far it is, what runs, what failed and why, how long it will take."""

import os
import shlex
import sys
import termios
import time
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, suppress
from io import StringIO
from pathlib import Path
from select import select

import pandas as pd
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from analysis.load import count_runs, load_runs
from analysis.records import Sweep, sweeps
from analysis.status import STYLES, in_order, reasons, table, view
from weightnet.plain import printable

KEYS = {"r": "running", "f": "failed", "i": "interrupted", "s": "stale", "d": "done", "a": ""}
"""Key -> the runs that it shows; "": all."""
HINT = (
    "keys: r running  f failed  i interrupted  s stale  d done  a all  n next sweep (after the last: all runs)  q ends"
)
PAUSE = 2.0  # seconds


def watch(outputs: str | Path, console: Console | None = None) -> None:
    """Show the newest sweep, or all runs where there is none, again and again until `q` or Ctrl-C."""
    console = console or Console(width=None if sys.stdout.isatty() else 400)
    only, place = "", 0
    list(sweeps(Path(outputs)))  # says which are damaged
    with suppress(KeyboardInterrupt), _keyboard() as pressed, Live(console=console, auto_refresh=False) as live:
        while True:
            with redirect_stderr(StringIO()):  # which are damaged has been said
                there = list(sweeps(Path(outputs)))
            place %= len(there) + 1
            limit = max(5, console.height - 10)
            whole = place == len(there)
            live.update(
                view(load_runs(outputs), limit) if whole else _view(there[place], outputs, only, limit), refresh=True
            )
            key = pressed(PAUSE)
            if key == "q":
                return
            only, place = KEYS.get(key, only), place + (key == "n")


def _view(sweep: Sweep, outputs: str | Path, only: str, limit: int) -> RenderableType:
    """Return one sweep: its command, a bar, counts and time left, a row a run by what it differs in, reasons."""
    loaded = load_runs(outputs, sweep.runs)
    runs = in_order(loaded.runs)
    runs = runs.assign(differing=runs["run"].map(lambda run: printable(sweep.differing[run]) or run))
    counts = runs["status"].value_counts()
    missing = len(sweep.runs) - len(runs) - len(loaded.skipped)
    said = [Text(f"{counts[status]} {status}", STYLES[status]) for status in STYLES if status in counts]
    said += [Text(f"{missing} not begun")] * bool(missing)
    ended = int(counts.reindex(["done", "stale"]).sum())
    head, bar = Table.grid(padding=(0, 2)), ProgressBar(total=len(sweep.runs), completed=ended, width=30)
    of_all = f"{ended}/{count_runs(len(sweep.runs))}"
    head.add_row(bar, of_all, Text(", ").join(said), _left(runs, len(sweep.runs)))
    shown = runs[runs["status"] == only] if only else runs
    return Group(Text(printable(f"{sweep.folder.name}: {shlex.join(sweep.overrides)}")), head,
                 table(shown, limit, "differing"), *reasons(runs),
                 *(Text(line, "red") for line in loaded.skipped_in_short()), Text(HINT, "dim"))  # fmt: skip


def _left(runs: pd.DataFrame, count: int) -> str:
    """Say how long the rest of so many runs will take, from the seconds of an epoch so far; "" where nothing runs."""
    begun, running = runs[runs["epoch"] > 0], int((runs["status"] == "running").sum())
    if not running or begun.empty:
        return ""
    of_epoch = begun["seconds"].sum() / begun["epoch"].sum()
    waiting = runs["status"].isin(["running", "interrupted", "failed"])
    epochs = (runs["train.epochs"] - runs["epoch"])[waiting].sum() + (count - len(runs)) * runs["train.epochs"].mean()
    minutes = round(of_epoch * epochs / running / 60)
    return f"about {minutes // 60}:{minutes % 60:02} h left" if minutes else "under a minute left"


@contextmanager
def _keyboard() -> Iterator[Callable[[float], str]]:
    """Give a function that waits so many seconds for a key, and returns it; "" where none was pressed."""
    if not sys.stdin.isatty():
        yield _none
        return
    before = termios.tcgetattr(sys.stdin)

    def pressed(seconds: float) -> str:
        ready = select([sys.stdin], [], [], seconds)[0]
        return os.read(sys.stdin.fileno(), 1).decode(errors="ignore") if ready else ""  # sys.stdin would read ahead

    try:
        tty.setcbreak(sys.stdin)
        yield pressed
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


def _none(seconds: float) -> str:
    time.sleep(seconds)
    return ""
