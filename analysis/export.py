"""Runs to trackers: once, or while a sweep runs. A run is known by its id: what has not changed is not touched."""

import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stderr
from dataclasses import asdict
from datetime import UTC, datetime
from io import StringIO
from itertools import accumulate
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.arms import flat
from analysis.experiments import Experiment, arms_of, file_name
from analysis.load import Runs, count_runs
from analysis.selection import belonging, report_other_seeds
from analysis.study import Options, gather
from analysis.trackers import Tracked, Tracker, open_tracker
from weightnet.errors import Held, RunFailed, UserError
from weightnet.geometry import fed_back
from weightnet.plain import printable
from weightnet.runs.history import METRICS
from weightnet.runs.lease import Lease

EVERY = 5.0
"""Seconds between two looks at the runs."""

QUIET = 60.0
"""Seconds without a running run after which nothing is expected any more of what does not say that it has ended."""

MOST_SIGNS = 500  # of a tag

Asked = tuple[Runs, Sequence[Experiment]]
"""Runs, and whose they are; of no experiment: all of them."""


def export(
    kind: str, into: Path, asked: Callable[[], Asked], options: Options, *, sweep: Path | None, watch: bool
) -> None:
    """Export what is asked for, with its pictures where the tracker takes some, and say what that was.

    `watch`: again and again, until nothing runs any more, in a sweep until it has written its summary. The pictures are
    drawn once, at the end.

    Raises:
        UserError: the tracker's library is not installed, or the folder cannot be used.
        RunFailed: there is no run, and nobody waits for one.
    """
    if into.exists() and not into.is_dir():
        raise UserError(f"--into={into}: is no folder")
    tracker = open_tracker(kind, into)
    into.mkdir(parents=True, exist_ok=True)
    lease = Lease(into / ".lock")
    try:
        lease.acquire(wait=False)
        with lease:
            loaded, experiments = _follow(tracker, asked, sweep, watch=watch)
            if kind not in ("csv", "parquet"):
                drawn = [pictures for one in experiments for pictures in _pictures(one, loaded, options)]
                _write(tracker, drawn)  # drawing says what is left out
            else:
                for one in experiments:
                    report_other_seeds(one, loaded.runs)
    except Held:
        raise UserError(f"--into={into}: another export writes there") from None
    except tracker.refusals as error:
        first, _, _ = str(error).partition("\n")
        raise UserError(f"--into={into}: {printable(first)}") from None
    print(f"{'nothing runs any more; ' * watch}look at it with: {tracker.look}")


def _follow(tracker: Tracker, asked: Callable[[], Asked], sweep: Path | None, *, watch: bool) -> Asked:
    """Export runs, again and again if asked to; return the last ones. Nothing is said twice."""
    said, quiet = set[str](), 0.0
    while True:
        told = StringIO()
        try:
            with redirect_stderr(told):
                loaded, experiments = asked()
        finally:
            lines = [line for line in told.getvalue().splitlines() if line not in said]
            sys.stderr.writelines(f"{line}\n" for line in lines)
        runs = tracked(loaded, experiments, sweep.name if sweep else "")
        if not (runs or watch):
            raise RunFailed(f"no run to export in {loaded.outputs}/runs")
        if (line := _write(tracker, runs)) not in said:
            print(line, flush=True)
        said |= {line, *lines}
        quiet = 0 if any(run.tags["state"] == "running" for run in runs) else quiet + EVERY
        ended = sweep is not None and (sweep / "summary.csv").exists()
        if not watch or (quiet and ended) or quiet > QUIET:
            return loaded, experiments
        time.sleep(EVERY)


def tracked(loaded: Runs, experiments: Sequence[Experiment], sweep: str = "") -> list[Tracked]:
    """Return the runs of these experiments, in whatever state; of none: all runs."""
    curves = {str(run): epochs for run, epochs in loaded.epochs.groupby("run")}
    found: dict[str, Tracked] = {}
    asked = [(one.name, one.arms, belonging(one, loaded.runs)) for one in experiments]
    for name, arms, rows in asked or [("all runs", arms_of(loaded.configs.values(), []), loaded.runs)]:
        names = {"experiment": name, "sweep": sweep}
        for row in rows.drop(columns=["origin", "age"]).to_dict("records"):
            state = "diverged" if row["diverged"] and row["status"] == "done" else row["status"]
            tags = {**names, "arm": arms[row["arm"]].label, "code": row["code"], "state": state, "why": row["why"]}
            config, run = loaded.configs[row["run"]], row["run"]
            epochs = _epochs(curves[run], loaded.own) if run in curves else []
            if state not in ("done", "diverged") and fed_back(config):  # feedback.csv is written after metrics.csv
                epochs = [epoch for epoch in epochs if "me_norm" in epoch]
            times = accumulate((epoch["seconds"] for epoch in epochs), initial=_begin(row))
            found[run] = found.get(run) or Tracked(
                id=run,
                tags={name: printable(value)[:MOST_SIGNS] for name, value in tags.items() if value},
                times=[min(when, row["written"]) for when in times],
                config={_name(key): value for key, value in flat(asdict(config)).items()
                        if value is not None and key not in ("outputs", "data_root")},
                epochs=epochs,
                row={str(column): value for column, value in row.items()} | names | {"label": tags["arm"]},
            )  # fmt: skip
    return list(found.values())


def _epochs(curve: pd.DataFrame, own: Sequence[str]) -> list[dict[str, float]]:
    """Return the numbers of each epoch. A loss may be no number (NaN); of what else is none, nothing was measured."""
    columns = [*METRICS[2:], "accuracy", "me_norm", "me_change", *own]
    return [{_name(name): float(value) for name, value in epoch.items() if pd.notna(value) or name in METRICS}
            for epoch in curve[columns].to_dict("records")]  # fmt: skip


def _name(key: Any) -> str:
    """Return a name that every tracker takes: that of a file may be anything."""
    return re.sub(r"[^\w.-]+", "_", str(key)).lstrip(".")[:200] or "_"


def _begin(row: Mapping[Any, Any]) -> float:
    """Return when a run began, in seconds since 1970; where its record does not say, when it was written last."""
    try:
        when = datetime.fromisoformat(row["started"])
        return max(0.0, (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp())
    except (ValueError, OverflowError):
        return float(row["written"])


def _pictures(experiment: Experiment, loaded: Runs, options: Options) -> list[Tracked]:
    """Return an experiment's figures; none, and say so, where they cannot be drawn."""
    from analysis.figures import figures_of, image  # not above: seaborn takes a second

    try:
        study = gather(experiment, loaded, options)
        drawn = {f"figure{suffix}": figure for suffix, (figure, _) in figures_of(study).items()}
    except (UserError, RunFailed) as error:
        print(f"no picture: {error}", file=sys.stderr)
        return []
    runs, tags = study.runs, {"experiment": experiment.name, "state": "done"}
    pictures = {name: image(figure, "png", list(runs["run"])) for name, figure in drawn.items()}
    key, times = f"figures-{file_name([experiment.name])}", [float(runs["written"].max())]
    return [Tracked(id=key, tags=tags, times=times, pictures=pictures)]


def _write(tracker: Tracker, runs: Sequence[Tracked]) -> str:
    """Write what is new or has changed; say how many runs are what."""
    marks = tracker.marks()
    changes = {run.id: _change(run, marks.get(run.id)) for run in runs}
    tracker.write(runs, {run: epochs for run, (what, epochs) in changes.items() if what != "as before"})
    counts = Counter(what for what, _ in changes.values())
    words = [f"{counts[what]} {what}" for what in ("new", "grown", "replaced", "changed", "as before") if counts[what]]
    epochs = sum(len(run.epochs) for run in runs)
    return f"{count_runs(len(runs))}, {epochs} epoch{'' if epochs == 1 else 's'}: {', '.join(words) or 'nothing yet'}"


def _change(run: Tracked, before: str | None) -> tuple[str, int | None]:
    """Return what became of a run since it got its mark; and how many epochs it had then, if these are as they were."""
    if before is None:
        return "new", None
    if before == run.mark():
        return "as before", len(run.epochs)
    found = re.fullmatch(r"(\d{1,9})-(\w+)-\w+", before)
    if not found or int(found[1]) > len(run.epochs) or run.content(int(found[1])) != found[2]:
        return "replaced", None
    return "grown" if len(run.epochs) > int(found[1]) else "changed", int(found[1])
