"""Run folders: files, lease and state. The only module that writes results. No torch in here.

    <outputs>/runs/<run_id>/
        config.yaml    the resolved config
        metrics.csv    one row an epoch
        steps.csv      loss every `train.log_interval` steps
        feedback.csv   size and change of the feedback vector, one row an epoch; only with feedback
        run.json       status, identity, versions, times, error
        checkpoint.pt  while the run is unfinished
        run.log

A file is either absent or whole: it is written beside and renamed.
"""

import csv
import io
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

import yaml
from filelock import FileLock, Timeout

from weightnet.experiment import METRICS, Config, EpochResult, Origin
from weightnet.runs.record import Record, now, read_record, to_json

__all__ = ["METRICS", "Record", "RunFolder", "RunState", "State", "write_whole"]


class State(StrEnum):
    """Where a run stands."""

    MISSING = "missing"
    DONE = "done"
    STALE = "stale"
    """Done, but what it was made with is not what a run would be made with now."""
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
        disk supports such locks (NFS 4, Lustre with flock, GPFS).

        Raises:
            OSError: the folder of the locks cannot be made.
        """
        locks = self.path.parent / ".locks"
        locks.mkdir(parents=True, exist_ok=True)
        return FileLock(locks / self.path.name)

    def is_held(self) -> bool:
        """Tell whether a live process executes the run."""
        if not (self.path.parent / ".locks" / self.path.name).exists():
            return False
        lock = self.lock()
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return True
        lock.release()
        return False

    def state(self, origin: Origin) -> RunState:
        """Return where the run stands.

        Args:
            origin: what its numbers would come from, if it were run now.
        """
        return self.state_of(self.record(), origin)

    def state_of(self, record: Record | None, origin: Origin) -> RunState:
        """Return where the run stands, given what its run.json says."""
        if record and record.status == "done":
            why = record.origin().difference(origin)
            return RunState(State.STALE, why) if why else RunState(State.DONE)
        if self.is_held():
            return RunState(State.RUNNING)
        if record is None:
            return RunState(State.MISSING)
        if record.status == "failed":
            return RunState(State.FAILED, (record.error or "").strip().rpartition("\n")[2])
        return RunState(State.INTERRUPTED)

    def set_aside(self) -> None:
        """Move a finished run's files to `.old/`, where nothing reads them, so that it can be executed again.

        A run that another process has begun to execute meanwhile is left alone.
        """
        lock = self.lock()
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return
        try:
            record = self.record()
            if record and record.status == "done":
                old = self.path.parent / ".old" / f"{self.path.name}-{datetime.now(UTC):%Y%m%dT%H%M%S%f}"
                old.parent.mkdir(exist_ok=True)
                self.path.rename(old)
        finally:
            lock.release()

    def write_death(self, why: str) -> None:
        """Write into run.json that the process that executed the run died, unless another has taken the run over."""
        record = self.record()
        if record and record.status == "running" and not self.is_held():
            record.status, record.finished, record.error = "failed", now(), why
            self.write_record(record)

    def write_record(self, record: Record) -> None:
        """Write run.json."""
        write_whole(self.path / "run.json", to_json(record).encode())

    def write_config(self, config: Config) -> None:
        """Write config.yaml."""
        write_whole(self.path / "config.yaml", yaml.safe_dump(asdict(config), sort_keys=False).encode())

    def write_history(self, history: Sequence[EpochResult]) -> None:
        """Write metrics.csv, steps.csv and feedback.csv, each as a whole."""
        for name, rows in tables(history).items():
            text = io.StringIO()
            csv.writer(text, lineterminator="\n").writerows(rows)
            write_whole(self.path / name, text.getvalue().encode())

    def metrics(self) -> list[dict[str, float]]:
        """Return the rows of metrics.csv; none where there is no such file.

        Raises:
            ValueError: it has other columns, or something that is no number.
        """
        return self.table("metrics.csv", METRICS)

    def table(self, name: str, columns: Sequence[str]) -> list[dict[str, float]]:
        """Return the rows of one of the run's CSV files, which has these columns; none where there is no such file.

        Raises:
            ValueError: it has others, or something that is no number.
        """
        path = self.path / name
        if not path.exists():
            return []
        with path.open(newline="", encoding="utf-8") as file:
            header, *rows = list(csv.reader(file)) or [[]]
        if header != list(columns):
            raise ValueError(f"{name} has the columns {header}")
        return [dict(zip(columns, map(float, row), strict=True)) for row in rows]

    def difference(self, history: Sequence[EpochResult]) -> tuple[list[str], str]:
        """Compare the first epochs in the run's files with these, bit for bit, but for seconds.

        Returns:
            The names of the files that are there, and the first number that differs ("" where none does).

        Raises:
            OSError: metrics.csv cannot be read.
        """
        compared = []
        for name, expected in tables(history).items():
            path = self.path / name
            if name != "metrics.csv" and not path.exists():
                continue
            compared.append(name)
            with path.open(newline="", encoding="utf-8") as file:
                found = list(csv.reader(file))
            for place, row in enumerate(expected):
                there = found[place] if place < len(found) else []
                for column, value in enumerate(row):
                    was = there[column] if column < len(there) else "nothing"
                    if expected[0][column] != "seconds" and was != str(value):
                        at = f"{expected[0][0]} {row[0]}" if place else "header"
                        return compared, f"{name}, {at}: {expected[0][column]} was {was}, now {value}"
        return compared, ""


def write_whole(path: Path, content: bytes | memoryview) -> None:
    """Write a file beside and rename it, so that a reader, or a crash, never meets half of it.

    Raises:
        OSError: as the file system says; the file is then as it was before.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with beside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def tables(history: Sequence[EpochResult]) -> dict[str, list[Sequence[object]]]:
    """Return the rows, header first, of each file that a run's epochs are written to."""
    written: dict[str, list[Sequence[object]]] = {
        "metrics.csv": [METRICS, *([getattr(result, column) for column in METRICS] for result in history)],
        "steps.csv": [("step", "loss"), *(row for result in history for row in result.step_losses)],
    }
    feedback = [(result.epoch, *result.feedback) for result in history if result.feedback is not None]
    if feedback:
        written["feedback.csv"] = [("epoch", "norm", "change"), *feedback]
    return written
