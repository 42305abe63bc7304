"""The state of each run, once or as a live view."""

import time
from pathlib import Path

import pandas as pd
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from analysis.load import Runs, load_runs

STYLES = {"done": "green", "stale": "magenta", "running": "cyan", "interrupted": "yellow", "failed": "red"}


def show(outputs: str | Path, *, watch: bool, console: Console | None = None) -> None:
    """Print a row for each run: state, epoch, accuracy, time since its last write.

    Args:
        outputs: root of all output.
        watch: go on until Ctrl-C, every two seconds.
        console: where to; standard output if not given.
    """
    console = console or Console()
    if not watch:
        console.print(_view(load_runs(outputs), limit=None))
        return
    try:
        with Live(console=console, auto_refresh=False) as live:
            while True:
                live.update(_view(load_runs(outputs), limit=max(5, console.height - 8)), refresh=True)
                time.sleep(2)
    except KeyboardInterrupt:
        pass


def _view(loaded: Runs, *, limit: int | None) -> Group:
    runs = loaded.runs
    if not len(runs) and not loaded.skipped:
        return Group(Text("no runs yet"))
    table = Table("run", "state", "epoch", "accuracy", "age", "why", box=None, pad_edge=False)
    stale = (runs["status"] == "done") & (runs["why"] != "")
    runs = runs.assign(status=runs["status"].mask(stale, "stale"))
    ranks = runs["status"].map(list(STYLES).index) if len(runs) else pd.Series(dtype=int)
    ordered = runs.assign(rank=ranks).sort_values(["rank", "age"], ascending=[True, False], kind="stable")
    for _, run in ordered.tail(limit).iterrows() if limit else ordered.iterrows():
        accuracy = f"{run['test_accuracy']:.2%}" if run["epoch"] else ""
        state = Text(run["status"], STYLES[run["status"]])
        epochs, why = f"{run['epoch']}/{run['train.epochs']}", Text(run["why"])
        table.add_row(Text(run["run"]), state, epochs, accuracy, _ago(run["age"]), why)
    counts = ", ".join(f"{(runs['status'] == status).sum()} {status}" for status in STYLES)
    skipped = [Text(f"skipped {line}", "red") for line in loaded.skipped]
    return Group(table, *skipped, Text(f"{len(runs)} runs: {counts}; {len(loaded.skipped)} folders skipped"))


def _ago(seconds: float) -> str:
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
