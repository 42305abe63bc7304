"""Run folders -> tidy data frames."""

import math
import re
import sys
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.arms import flat
from analysis.metrics import VALIDATION
from weightnet.config import Config
from weightnet.dose import dose, filler_share
from weightnet.errors import UserError
from weightnet.fingerprint import Origin, origins
from weightnet.geometry import fed_back
from weightnet.plain import printable
from weightnet.runs.folder import Reading, RunFolder, State
from weightnet.runs.history import METRICS
from weightnet.runs.readings import readings
from weightnet.runs.record import Record
from weightnet.waiting import waiting

RECORD = ["arm", "signature", "code", "started", "finished", "parameters", "dw", "host"]
"""Fields of run.json that are columns."""

MOST_NAMED = 5
"""So many of the folders that could not be read are named; and so many of the reasons why others could not."""

MOST_SAID = 300  # signs of a reason, which may quote the file

_FEEDBACK = ("me_norm", "me_change")

_Read = tuple[RunFolder, Record, Config, list[dict[str, float]]]
"""One run's files; of each epoch the columns of metrics.csv, `me_norm` and `me_change`."""


@dataclass(frozen=True, slots=True)
class Runs:
    """Runs below an output root."""

    outputs: Path
    runs: pd.DataFrame
    """One row a run: `run`, `path`, `status` (its state, but a stale run is `done`), `why` (what makes it stale, or the
    last line of its error), `origin`, run.json's fields, every key of config.yaml ("model.name"), `dose` and
    `filler_share` (`weightnet.dose`), the last epoch's metrics, `accuracy` (on the test set, in %), `diverged` (whether
    a loss was not finite), `digests` (whether run.json has those of its files), and `age`, seconds since the last
    write."""
    epochs: pd.DataFrame
    """Tidy: one row an epoch of a run, with the columns of metrics.csv, `me_norm` and `me_change`
    (of feedback.csv), `accuracy`, and those of `runs` but its metrics."""
    own: list[str]
    """The runs' own metrics: columns of metrics.csv, and of both frames (there, validation_accuracy is in %)."""
    configs: dict[str, Config]
    """Of each run, by its id."""
    skipped: list[str]
    """The folders that could not be read, and why: they are in neither frame."""

    def skipped_in_short(self) -> list[str]:
        """Return what is to be said of these folders: the first ones, and how many more there are of each reason."""
        lines, more = self.skipped[:MOST_NAMED], self.skipped[MOST_NAMED:]
        reasons = Counter(line.partition(": ")[2] for line in more).most_common()
        counts = ", ".join(f"{count} x {why}" for why, count in reasons[:MOST_NAMED]) + ", ..." * (
            len(reasons) > MOST_NAMED
        )
        return [f"skipped {line}" for line in (*lines, *([f"{len(more)} more: {counts}"] if more else []))]


def load_runs(outputs: str | Path, ids: Iterable[str] | None = None) -> Runs:
    """Read every run folder below `<outputs>/runs`, or those of these ids that are there, in this order.

    Those that are broken or half-written are named.
    """
    found, skipped, root = [], [], Path(outputs) / "runs"
    there = sorted(root.glob("[!.]*")) if ids is None else [root / run for run in ids]
    known = readings(root, len(there))
    folders = [path for path in there if path.is_dir() or path.is_symlink() or _in_place_of_a_run(path)]
    for folder in waiting(folders, "reading runs"):
        try:
            found.append(_joined(run := RunFolder(folder), known.of(run)))
        except (OSError, ValueError, TypeError, ArithmeticError) as error:
            why = f"no {error.filename}" if isinstance(error, FileNotFoundError) else str(error)
            why = why.replace(f"{folder}/", "")[:MOST_SAID] or type(error).__name__
            skipped.append(printable(f"{folder}: {why}"))
    known.save()
    now = origins(config for _, _, config, _ in found)
    rows = [_row(*run, origin) for run, origin in zip(found, now, strict=True)]
    empty = [
        "run",
        "path",
        "status",
        "why",
        "origin",
        "seed",
        "dataset.name",
        *RECORD,
        *METRICS,
        "written",
        "digests",
        "diverged",
    ]
    runs = pd.DataFrame(rows, columns=None if rows else empty)
    runs["age"] = (time.time() - runs["written"]).clip(lower=0)  # another machine's clock may be ahead
    curves = [{"run": run.path.name, **epoch} for run, _, _, curve in found for epoch in curve]
    written = dict.fromkeys(column for *_, curve in found for epoch in curve[-1:] for column in epoch)
    own = [column for column in written if column not in {*runs.columns, "accuracy", *_FEEDBACK}]
    last = pd.DataFrame([curve[-1] if curve else {} for *_, curve in found], index=runs.index, columns=own, dtype=float)
    runs = pd.concat([runs, last], axis="columns")
    points = pd.DataFrame(curves, columns=["run", *METRICS, *_FEEDBACK, *own])
    runs["accuracy"], points["accuracy"] = (100 * frame["test_accuracy"].astype(float) for frame in (runs, points))
    if VALIDATION.column in own:
        for frame in (runs, points):
            frame[VALIDATION.column] *= 100
    epochs = points.astype({"epoch": int, "step": int}).merge(runs.drop(columns=[*METRICS, "accuracy", *own]), on="run")
    configs = {run.path.name: config for run, _, config, _ in found}
    return Runs(Path(outputs), runs, epochs, own, configs, skipped)


def report_skipped(loaded: Runs) -> Runs:
    """Name on stderr the folders that could not be read; return what was given."""
    for line in loaded.skipped_in_short():
        print(line, file=sys.stderr)
    return loaded


def refuse_mixture(runs: pd.DataFrame) -> None:
    """Refuse runs that were made by different code, data or versions: their numbers need not be comparable.

    Raises:
        UserError: names what differs, and how to go on.
    """
    if mixed := _mixture(runs):
        raise UserError(
            f"these runs differ in {'; '.join(mixed)}: the same sweep with hydra.sweeper.rerun=verify proves that "
            "older ones still hold, with rerun=stale runs them again; --mixed compares them all the same"
        )


def report_stale(runs: pd.DataFrame, name: str) -> None:
    """Say on stderr how many of an experiment's finished runs are stale, and why."""
    for why, count in runs.loc[(runs["status"] == "done") & (runs["why"] != ""), "why"].value_counts().items():
        print(f"{name}: {count_runs(count)} stale: {why}; the same sweep with hydra.sweeper.rerun=verify proves that "
              "they still hold, with rerun=stale runs them again", file=sys.stderr)  # fmt: skip


def report_doubts(runs: pd.DataFrame, name: str) -> None:
    """Say on stderr which of an experiment's runs diverged, and how many are known by no digest: they count as well."""
    if old := int(((runs["status"] == "done") & ~runs["digests"].astype(bool)).sum()):
        print(f"{name}: {count_runs(old)} recorded before there were digests of a run's files (2026-11-25)",
              file=sys.stderr)  # fmt: skip
    if diverged := list(runs.loc[runs["diverged"], "run"]):
        names = ", ".join(diverged[:3]) + ", ..." * (len(diverged) > 3)
        print(f"{name}: {count_runs(len(diverged))} of {len(runs)} diverged (a loss is not finite): {names}",
              file=sys.stderr)  # fmt: skip


def _mixture(runs: pd.DataFrame) -> list[str]:
    """Say in what the origins of runs differ, where they have the same kind of thing."""
    made: list[Origin] = list(runs["origin"])
    names = sorted({name for origin in made for name in origin.definitions})
    values: list[tuple[str, list[str | None]]] = [
        ("code", ["by definition" if origin.definitions else origin.code for origin in made]),
        *((name, [origin.definitions.get(name) for origin in made]) for name in names),
        *((f"data of {name}", [one.data for one in group]) for name, group in runs.groupby("dataset.name")["origin"]),
        ("torch", [origin.torch for origin in made]),
        ("convolutions", [origin.convolutions for origin in made]),
    ]
    for _, group in runs.groupby("arm")["origin"]:  # an arm whose name has come to mean another definition
        reached = [set(origin.definitions) for origin in group if origin.definitions]
        for name in set().union(*reached).difference(*(set.intersection(*reached),) if reached else ()):
            values.append((name, ["reached" if name in names else "not reached" for names in reached]))
    mixed = []
    for what, each in values:
        counts = Counter(value for value in each if value is not None)
        if len(counts) > 1:
            mixed.append(f"{what} {', '.join(f'{value} ({count_runs(count)})' for value, count in counts.items())}")
    return mixed if len(mixed) <= 5 else [*mixed[:4], f"{len(mixed) - 4} more"]


def count_runs(count: int) -> str:
    """Return "1 run", "2 runs"."""
    return f"{count} run{'' if count == 1 else 's'}"


def _in_place_of_a_run(path: Path) -> bool:
    """Tell whether a file that is no folder has the name of a run: others are nobody's business."""
    return path.exists() and bool(re.search(r"-s\d+-[0-9a-f]{8}$", path.name))


def _joined(run: RunFolder, reading: Reading) -> _Read:
    """Return a run with what its files say, metrics and feedback side by side."""
    dose(reading.config)  # of parameters that are none it cannot be told
    feedback = {
        row["epoch"]: dict(zip(_FEEDBACK, (row["norm"], row["change"]), strict=True)) for row in reading.feedback
    }
    curve = [epoch | feedback.get(epoch["epoch"], {}) for epoch in reading.metrics]
    return run, reading.record, reading.config, curve


def _row(run: RunFolder, record: Record, config: Config, curve: list[dict[str, float]], now: Origin) -> dict[str, Any]:
    """Return a run's columns; `now` is what it would be made with now."""
    state, last = run.state_of(record, now, whole=True), curve[-1] if curve else {}
    files = [run.path / name for name in ("run.json", "metrics.csv")]
    return {
        "run": run.path.name,
        "path": str(run.path),
        "status": str(State.DONE if state.state == State.STALE else state.state),
        "why": state.why,
        "origin": record.origin(now),
        **{field: getattr(record, field) for field in RECORD},
        **{f"version.{package}": version for package, version in record.versions.items()},
        **flat(config),
        "train.init": config.train.init if fed_back(config) else None,  # else it says nothing
        "dose": dose(config),
        "filler_share": filler_share(config),
        "written": max(path.stat().st_mtime for path in files if path.exists()),
        **{column: last.get(column) for column in METRICS},
        "epoch": len(curve),
        "step": int(last["step"]) if curve else None,
        "seconds": sum((epoch["seconds"] for epoch in curve), 0.0),
        "digests": bool(record.files),
        "diverged": not all(math.isfinite(epoch[loss]) for epoch in curve for loss in ("train_loss", "test_loss")),
    }
