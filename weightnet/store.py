"""Run folders: the only module that writes results.

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
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
import yaml
from filelock import FileLock, Timeout

from weightnet.config import Config
from weightnet.training import EpochResult

METRICS = ("epoch", "step", "train_loss", "test_loss", "test_accuracy", "seconds")
"""The columns of metrics.csv: losses in nats, accuracy in [0, 1], seconds of wall time for the epoch."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """An unfinished run after its last whole epoch."""

    origin: dict[str, str]
    """What a run that goes on from here must share: signature, code fingerprint, versions."""
    model: dict[str, Any]
    optimizer: dict[str, Any]
    history: list[EpochResult]


class RunFolder:
    """One run's files."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def record(self) -> dict[str, Any]:
        """Return the contents of run.json; empty where there is none that can be read."""
        try:
            record = json.loads((self.path / "run.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return record if isinstance(record, dict) else {}

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

    def state(self, code: str) -> str:
        """Return the run's state: missing, done, stale, failed, interrupted or running.

        Args:
            code: fingerprint of the code of today; a run that other code finished is stale.
        """
        record = self.record()
        status = record.get("status", "missing")
        if status == "done":
            return "done" if record.get("code") == code else "stale"
        if self.is_held():
            return "running"
        return "interrupted" if status == "running" else str(status)

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
            if self.record().get("status") == "done":
                old = self.path.parent / ".old" / f"{self.path.name}-{datetime.now(UTC):%Y%m%dT%H%M%S%f}"
                old.parent.mkdir(exist_ok=True)
                self.path.rename(old)
        finally:
            lock.release()

    def write_record(self, record: dict[str, Any]) -> None:
        """Write run.json."""
        write_whole(self.path / "run.json", (json.dumps(record, indent=2) + "\n").encode())

    def write_config(self, config: Config) -> None:
        """Write config.yaml."""
        write_whole(self.path / "config.yaml", yaml.safe_dump(asdict(config), sort_keys=False).encode())

    def write_history(self, history: Iterable[EpochResult]) -> None:
        """Write metrics.csv, steps.csv and feedback.csv, each as a whole."""
        history = list(history)
        metrics = [[getattr(result, column) for column in METRICS] for result in history]
        _write_csv(self.path / "metrics.csv", METRICS, metrics)
        _write_csv(
            self.path / "steps.csv",
            ("step", "loss"),
            [row for result in history for row in result.step_losses],
        )
        feedback = [(result.epoch, *result.feedback) for result in history if result.feedback is not None]
        if feedback:
            _write_csv(self.path / "feedback.csv", ("epoch", "norm", "change"), feedback)

    def metrics(self) -> list[dict[str, float]]:
        """Return the rows of metrics.csv; none where there is no such file."""
        path = self.path / "metrics.csv"
        if not path.exists():
            return []
        with path.open(newline="", encoding="utf-8") as file:
            return [{column: float(value) for column, value in row.items()} for row in csv.DictReader(file)]

    def save_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Write checkpoint.pt: tensors, numbers and strings only."""
        buffer = io.BytesIO()
        torch.save(
            {
                "origin": checkpoint.origin,
                "model": checkpoint.model,
                "optimizer": checkpoint.optimizer,
                "history": [asdict(result) for result in checkpoint.history],
            },
            buffer,
        )
        write_whole(self.path / "checkpoint.pt", buffer.getbuffer())

    def load_checkpoint(self, device: str) -> Checkpoint | None:
        """Return the checkpoint, or None where there is none that can be read."""
        try:
            state = torch.load(self.path / "checkpoint.pt", map_location=device, weights_only=True)
            history = [
                EpochResult(**{**result, "step_losses": [tuple(row) for row in result["step_losses"]]})
                for result in state["history"]
            ]
            return Checkpoint(state["origin"], state["model"], state["optimizer"], history)
        except FileNotFoundError:
            return None
        except Exception:  # torch.load raises a dozen kinds on a damaged file: the run starts anew
            return None

    def remove_checkpoint(self) -> None:
        """Remove checkpoint.pt."""
        (self.path / "checkpoint.pt").unlink(missing_ok=True)


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


def _write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[float]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    write_whole(path, text.getvalue().encode())
