"""Run folders: files, lease and state. The only module that writes results. No torch in here.

    <outputs>/runs/<run_id>/
        config.yaml    the resolved config
        metrics.csv    one row an epoch: `METRICS`, then own metrics
        steps.csv      loss every `train.log_interval` steps
        feedback.csv   size and change of the feedback vector, one row an epoch; only with feedback
        run.json       status, identity, versions, times, error
        checkpoint.pt  while the run is unfinished
        run.log
        model.pt       state dict of the trained network; only if asked for
        predictions.npz   class of each test example; only if asked for

A file is either absent or whole: it is written beside and renamed.
"""

import csv
import fcntl
import io
import json
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from itertools import chain, repeat
from pathlib import Path

import yaml
from filelock import FileLock, Timeout

from weightnet.experiment import METRICS, Config, EpochResult, Origin
from weightnet.runs.record import Record, read_record, utc_now

__all__ = ["METRICS", "RunFolder", "RunState", "State", "write_csv", "write_whole"]


class State(StrEnum):
    """Where a run stands."""

    MISSING = "missing"
    DONE = "done"
    INCOMPLETE = "incomplete"  # done, but without a file that is asked for
    STALE = "stale"  # done, but what it was made with is not what a run would be made with now
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    RUNNING = "running"


@dataclass(frozen=True, slots=True)
class RunState:
    """Where a run stands, and why: what makes it stale, or the last line of its error."""

    state: State
    why: str = ""


class RunFolder:
    """One run's files."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def record(self) -> Record | None:
        """Return the contents of run.json, or None where there is none that can be read."""
        try:
            return read_record(self.path / "run.json")
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def lock(self) -> FileLock:
        """Return the run's lease: whoever executes the run holds it, and it ends with its process, however that ends.

        It is a lock of the operating system (flock), so it also works between machines that share a disk, where that
        disk supports such locks (NFS 4, Lustre with flock, GPFS). OSError: the folder of the locks cannot be made.
        """
        locks = self.path.parent / ".locks"
        locks.mkdir(parents=True, exist_ok=True)
        return FileLock(locks / self.path.name)

    def is_held(self) -> bool:
        """Tell whether a live process executes the run. It asks for a shared lock: that takes no right to write."""
        try:
            with (self.path.parent / ".locks" / self.path.name).open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False

    def state(self, origin: Origin) -> RunState:
        """Return where the run stands; its numbers would come from `origin`, if it were run now."""
        return self.state_of(self.record(), origin)

    def state_of(self, record: Record | None, origin: Origin) -> RunState:
        """Return where the run stands, given what its run.json says."""
        if record and record.status == "done":
            why = record.origin(origin).difference(origin)
            return RunState(State.STALE if why else State.DONE, why)
        if self.is_held():
            return RunState(State.RUNNING)
        if record and record.status == "failed":
            return RunState(State.FAILED, (record.error or "").strip().rpartition("\n")[2])
        return RunState(State.INTERRUPTED if record else State.MISSING)

    def lacks(self, files: Sequence[str]) -> list[str]:
        """Return which of these files are not there."""
        return [name for name in files if not (self.path / name).exists()]

    def set_aside(self) -> None:
        """Move a finished run to `.old/`, where nothing reads it, unless a process has begun to execute it again."""
        with suppress(Timeout), self.lock().acquire(timeout=0):
            record = self.record()
            if record and record.status == "done":
                old = self.path.parent / ".old" / f"{self.path.name}-{datetime.now(UTC):%Y%m%dT%H%M%S%f}"
                old.parent.mkdir(exist_ok=True)
                self.path.rename(old)

    def write_death(self, why: str) -> None:
        """Write into run.json that the process that executed the run died, unless another has taken the run over."""
        record = self.record()
        if record and record.status == "running" and not self.is_held():
            record.status, record.finished, record.error = "failed", utc_now(), why
            self.write_record(record)

    def write_record(self, record: Record) -> None:
        """Write run.json."""
        write_whole(self.path / "run.json", (json.dumps(asdict(record), indent=2) + "\n").encode())

    def write_config(self, config: Config) -> None:
        """Write config.yaml."""
        write_whole(self.path / "config.yaml", yaml.safe_dump(asdict(config), sort_keys=False).encode())

    def write_history(self, history: Sequence[EpochResult]) -> None:
        """Write metrics.csv, steps.csv and feedback.csv, each as a whole."""
        for name, rows in tables(history).items():
            write_csv(self.path / name, rows)

    def write_products(self, contents: dict[str, bytes]) -> None:
        """Write files that the config asks for: name -> content."""
        for name, content in contents.items():
            write_whole(self.path / name, content)

    def metrics(self) -> list[dict[str, float]]:
        """Return the rows of metrics.csv, as `table` does: `METRICS`, then the run's own metrics."""
        return self.table("metrics.csv", METRICS, own=True)

    def table(self, name: str, columns: Sequence[str], *, own: bool = False) -> list[dict[str, float]]:
        """Return the rows of one of the run's CSV files; none where there is no such file.

        ValueError: it has other columns (`own`: than these, and any after them), or something that is no number.
        """
        path = self.path / name
        if not path.exists():
            return []
        header, *rows = list(csv.reader(path.read_text(encoding="utf-8").splitlines())) or [[]]
        if header[: len(columns) if own else None] != list(columns):
            raise ValueError(f"{name} has the columns {header}")
        return [dict(zip(header, map(float, row), strict=True)) for row in rows]

    def difference(self, history: Sequence[EpochResult]) -> tuple[list[str], str]:
        """Compare the first epochs in the run's files with these, bit for bit, but for seconds.

        Return the names of the files that are there, and the first number that differs ("" where none does). OSError:
        metrics.csv cannot be read.
        """
        compared = []
        for name, expected in tables(history).items():
            if name != "metrics.csv" and not (self.path / name).exists():
                continue
            compared.append(name)
            header, lines = expected[0], (self.path / name).read_text(encoding="utf-8").splitlines()
            for row, found in zip(expected, chain(csv.reader(lines), repeat([])), strict=False):
                for column, value, was in zip(header, row, chain(found, repeat("nothing")), strict=False):
                    if column != "seconds" and was != str(value):
                        at = "header" if row is header else f"{header[0]} {row[0]}"
                        return compared, f"{name}, {at}: {column} was {was}, now {value}"
        return compared, ""


def write_whole(path: Path, content: bytes | memoryview) -> None:
    """Write a file beside and rename it, so that no reader ever meets half of it; after an OSError it is as before."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with beside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def write_csv(path: Path, rows: Sequence[Sequence[object]]) -> None:
    """Write the rows, header first, as `write_whole` does."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    write_whole(path, text.getvalue().encode())


def tables(history: Sequence[EpochResult]) -> dict[str, list[Sequence[object]]]:
    """Return the rows, header first, of each file that a run's epochs are written to."""
    rows = [[*(getattr(result, column) for column in METRICS), *result.own.values()] for result in history]
    own = list(history[0].own) if history else []
    written: dict[str, list[Sequence[object]]] = {
        "metrics.csv": [[*METRICS, *own], *rows],
        "steps.csv": [("step", "loss"), *(row for result in history for row in result.step_losses)],
    }
    feedback = [(result.epoch, *result.feedback) for result in history if result.feedback is not None]
    if feedback:
        written["feedback.csv"] = [("epoch", "norm", "change"), *feedback]
    return written
