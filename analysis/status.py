"""The state of each run, once or as a live view."""

import sys
import time
from contextlib import suppress
from pathlib import Path

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from analysis.load import Runs, count_runs, load_runs

STYLES = {"done": "green", "stale": "magenta", "running": "cyan", "interrupted": "yellow", "failed": "red"}


def show(outputs: str | Path, *, watch: bool, console: Console | None = None) -> None:
    """Print a row for each run: state, epoch, accuracy, time since its last write.

    `watch`: again and again until Ctrl-C, every two seconds.
    """
    console = console or Console(width=None if sys.stdout.isatty() else 400)
    if not watch:
        console.print(_view(load_runs(outputs), limit=None))
        return
    with suppress(KeyboardInterrupt), Live(console=console, auto_refresh=False) as live:
        while True:
            live.update(_view(load_runs(outputs), limit=max(5, console.height - 8)), refresh=True)
            time.sleep(2)


def _view(loaded: Runs, *, limit: int | None) -> Group:
    runs = loaded.runs
    if not len(runs) and not loaded.skipped:
        return Group(Text("no runs yet"))
    table = Table("run", "state", "epoch", "accuracy", "age", box=None, pad_edge=False)
    stale = (runs["status"] == "done") & (runs["why"] != "")
    runs = runs.assign(status=runs["status"].mask(stale, "stale")).sort_values("age", ascending=False, kind="stable")
    runs = runs.sort_values("status", key=lambda status: status.map(list(STYLES).index), kind="stable")
    for _, run in runs.tail(limit or len(runs)).iterrows():
        label, epochs = Text(run["status"], STYLES[run["status"]]), f"{run['epoch']}/{run['train.epochs']}"
        known = run["epoch"] and run["status"] not in ("interrupted", "failed")  # no digest holds their numbers
        accuracy = f"{run['test_accuracy']:.2%}{', diverged' if run['diverged'] else ''}" if known else ""
        table.add_row(Text(run["run"], no_wrap=True), label, epochs, accuracy, _ago(run["age"]))
    counts = ", ".join(f"{(runs['status'] == status).sum()} {status}" for status in STYLES)
    lines = []
    for (state, why), group in runs[runs["why"] != ""].groupby(["status", "why"], sort=False)["run"]:
        examples = group.iloc[0] + ", ..." * (len(group) > 1)
        lines.append(Text(f"{len(group)} {state}: {why} ({examples})", STYLES[str(state)]))
    lines += [Text(line, "red") for line in loaded.skipped_in_short()]
    skipped = f"{len(loaded.skipped)} folder{'' if len(loaded.skipped) == 1 else 's'}"
    old = int((runs["status"].isin(["done", "stale"]) & ~runs["digests"].astype(bool)).sum())
    lines += [Text(f"{count_runs(old)} recorded before there were digests of a run's files")] if old else []
    return Group(table, *lines, Text(f"{count_runs(len(runs))}: {counts}; {skipped} skipped"))


def _ago(seconds: float) -> str:
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
