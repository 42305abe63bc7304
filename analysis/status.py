"""The state of each run. `analysis.live` shows it again and again."""

import sys
from pathlib import Path

import pandas as pd
from rich.console import Console, Group, RenderableType
from rich.text import Text

from analysis.load import Runs, count_runs, load_runs
from weightnet.sweep.display import as_table

STYLES = {"done": "green", "stale": "magenta", "running": "cyan", "interrupted": "yellow", "failed": "red"}


def show(outputs: str | Path, console: Console | None = None) -> None:
    """Print a row for each run: state, epoch, accuracy, time since its last write."""
    console = console or Console(width=None if sys.stdout.isatty() else 400)
    console.print(view(load_runs(outputs)))


def in_order(runs: pd.DataFrame) -> pd.DataFrame:
    """Return runs as `load_runs` has them by state, the latest at the end; what is done and stale is `stale`."""
    stale = (runs["status"] == "done") & (runs["why"] != "")
    runs = runs.assign(status=runs["status"].mask(stale, "stale")).sort_values("age", ascending=False, kind="stable")
    return runs.sort_values("status", key=lambda status: status.map(list(STYLES).index), kind="stable")


def view(loaded: Runs, limit: int | None = None) -> Group:
    """Return the rows of the runs, at most `limit` of them; what is wrong with some; how many are in which state."""
    if not len(loaded.runs) and not loaded.skipped:
        return Group(Text("no runs yet"))
    runs = in_order(loaded.runs)
    lines = [*reasons(runs), *(Text(line, "red") for line in loaded.skipped_in_short())]
    skipped = f"{len(loaded.skipped)} folder{'' if len(loaded.skipped) == 1 else 's'}"
    old = int((runs["status"].isin(["done", "stale"]) & ~runs["digests"].astype(bool)).sum())
    lines += [Text(f"{count_runs(old)} recorded before there were digests of a run's files")] if old else []
    counts = ", ".join(f"{(runs['status'] == status).sum()} {status}" for status in STYLES)
    return Group(table(runs, limit), *lines, Text(f"{count_runs(len(runs))}: {counts}; {skipped} skipped"))


def table(runs: pd.DataFrame, limit: int | None = None, name: str = "run") -> RenderableType:
    """Return a row for each run, called by the column `name`; where they are too many, of the last ones."""
    rows = list[tuple[str | Text, ...]]()
    columns = [name, "status", "epoch", "train.epochs", "test_accuracy", "diverged", "age"]
    for run in runs.tail(limit or len(runs))[columns].to_dict("records"):
        label, epochs = Text(run["status"], STYLES[run["status"]]), f"{run['epoch']}/{run['train.epochs']}"
        known = run["epoch"] and run["status"] not in ("interrupted", "failed")  # no digest holds their numbers
        accuracy = f"{run['test_accuracy']:.2%}{', diverged' if run['diverged'] else ''}" if known else ""
        rows.append((Text(run[name], no_wrap=True), label, epochs, accuracy, _ago(run["age"])))
    return as_table(["run", "state", "epoch", "accuracy", "age"], rows)


def reasons(runs: pd.DataFrame) -> list[Text]:
    """Return a line for each reason why runs are as they are, with an example."""
    lines = []
    for (state, why), group in runs[runs["why"] != ""].groupby(["status", "why"], sort=False)["run"]:
        examples = group.iloc[0] + ", ..." * (len(group) > 1)
        lines.append(Text(f"{len(group)} {state}: {why} ({examples})", STYLES[str(state)]))
    return lines


def _ago(seconds: float) -> str:
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
