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
import errno
import hashlib
import io
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

import yaml

from weightnet.experiment import Config, EpochResult, Origin, arm, read_config, run_id, signature
from weightnet.plain import as_mapping, open_file, printable, read_text, read_yaml
from weightnet.runs import history
from weightnet.runs.lease import Lease, is_held
from weightnet.runs.record import Record, read_record, record_text, utc_now

RESULTS = ("config.yaml", "metrics.csv", "steps.csv", "feedback.csv", "model.pt", "predictions.npz")
"""A run's files that run.json holds the digests of, once it is done."""

LOCKS = ".locks"  # the folder of the leases, beside the run folders


class State(StrEnum):
    """Where a run stands."""

    MISSING = "missing"
    DONE = "done"
    DAMAGED = "damaged"  # done, but its files are not those that it left
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


@dataclass(frozen=True, slots=True)
class Reading:
    """What the files of a run say."""

    record: Record
    config: Config
    metrics: history.Rows
    feedback: history.Rows


class RunFolder:
    """One run's files."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def record(self) -> Record | None:
        """Return the contents of run.json, or None where there is none that can be read."""
        try:
            return read_record(self.path / "run.json")
        except (OSError, ValueError):
            return None

    def stamp(self) -> str:
        """Return what changes whenever run.json does, "" where there is none: 16 hex digits of its content."""
        try:
            return hashlib.sha256(read_text(self.path / "run.json").encode()).hexdigest()[:16]
        except (OSError, ValueError):
            return ""

    def config(self) -> Config:
        """Return what config.yaml says. OSError: it cannot be read; ValueError: it is no config."""
        try:
            return read_config(read_yaml(self.path / "config.yaml"))
        except TypeError as error:
            raise ValueError(f"config.yaml: {error}") from None

    def read(self) -> Reading:
        """Return what the files say. OSError, ValueError: what is wrong with them, or with where they are."""
        if not self.path.is_dir():
            raise ValueError("is no folder")
        record, config = read_record(self.path / "run.json"), self.config()
        if self.path.is_symlink():
            raise ValueError("is a symbolic link")
        its = (name := run_id(config)), signature(config), arm(config)
        if its != (self.path.name, record.signature, record.arm):
            raise ValueError(f"is not the run that its config.yaml says ({name}), or its run.json")
        # ValueError: JSON knows more signs
        json.dumps([record, config], ensure_ascii=False, default=as_mapping).encode()
        done = record.status == "done"
        if done and (damage := self.damage(record)):
            raise ValueError(damage)
        metrics = self.metrics(config.train.epochs)
        if metrics and (wrong := history.impossible(metrics, config.train.epochs if done else None)):
            raise ValueError(wrong)
        return Reading(record, config, metrics, self.feedback(len(metrics)))

    def lock(self) -> Lease:
        """Return the run's lease: whoever executes the run holds it, and it ends with its process, however that ends.

        OSError: the folder of the locks cannot be made.
        """
        locks = self.path.parent / LOCKS
        locks.mkdir(parents=True, exist_ok=True)
        return Lease(locks / self.path.name)

    def is_held(self) -> bool:
        """Tell whether a live process executes the run."""
        return is_held(self.path.parent / LOCKS / self.path.name)

    def state(self, origin: Origin) -> RunState:
        """Return where the run stands; its numbers would come from `origin`, if it were run now."""
        return self.state_of(self.record(), origin)

    def state_of(self, record: Record | None, origin: Origin, *, whole: bool = False) -> RunState:
        """Return where the run stands, given what its run.json says; `whole`: its files are known to be undamaged."""
        if not whole and (record is None or record.status == "done") and (damage := self.damage(record)):
            return RunState(State.DAMAGED, damage)
        if record and record.status == "done":
            why = record.origin(origin).difference(origin)
            return RunState(State.STALE if why else State.DONE, why)
        if self.is_held():
            return RunState(State.RUNNING)
        if record and record.status == "failed":
            return RunState(State.FAILED, printable((record.error or "").strip().rpartition("\n")[2]))
        return RunState(State.INTERRUPTED if record else State.MISSING)

    def lacks(self, files: Sequence[str]) -> list[str]:
        """Return which of these files are not there."""
        return [name for name in files if not (self.path / name).exists()]

    def _without_record(self) -> str:
        """Say why there is no record; nothing ("") where there is no run.json."""
        try:
            read_record(self.path / "run.json")
        except FileNotFoundError:
            return "run.json is a broken link" if os.path.lexists(self.path / "run.json") else ""
        except (OSError, ValueError) as error:
            said = str(error.strerror or error) if isinstance(error, OSError) else str(error)
            return printable(said if said.startswith("run.json") else f"run.json: {said}")
        return ""

    def damage(self, record: Record | None) -> str:
        """Say what is wrong with the files of a run that is done; nothing ("") where they are as it left them.

        None: of one whose run.json cannot be read, or that has none.

        Runs recorded before 2026-11-25 have no digests: of them, it is known only whether metrics.csv can be read.
        """
        if self.path.is_symlink():
            return "is a symbolic link"
        if os.path.lexists(self.path) and not self.path.is_dir():
            return "is no folder"
        if record is None:
            return self._without_record()
        if not self.path.name.endswith(f"-{record.signature[:8]}"):
            return "run.json is that of another run"
        if lacking := self.lacks(["metrics.csv"]):
            return f"no {lacking[0]}"
        try:
            for name, digest in record.files.items():
                if self._digest(name) != digest:
                    return f"{name} is not what the run left"
            if not record.files:
                return history.impossible(self.metrics(record.epochs), record.epochs)
        except OSError as error:
            return f"{Path(error.filename or '').name}: {error.strerror or error}"
        except ValueError as error:
            return str(error)
        return ""

    def digests(self) -> dict[str, str]:
        """Return the SHA-256 of each of the run's files of results that is there."""
        return {name: self._digest(name) for name in RESULTS if (self.path / name).exists()}

    def _digest(self, name: str) -> str:
        with open_file(self.path / Path(name).name) as file:
            digest = hashlib.sha256()
            while part := file.read(1 << 20):  # hashlib.file_digest takes twice as long for small files
                digest.update(part)
        return digest.hexdigest()

    def attic(self) -> Path:
        """Return the folder where finished runs lie whose successors are done. OSError: it cannot be made."""
        old = self.path.parent / ".old"
        old.mkdir(exist_ok=True)
        return old

    def successor(self) -> "RunFolder":
        """Return where a finished run is executed anew: it counts until that is done too (`give_way`)."""
        return RunFolder(self.path.parent / ".new" / self.path.name)

    def give_way(self) -> None:
        """Put a successor that is done in this run's place; what was there moves to `.old/`, where nothing reads it."""
        successor = self.successor()
        record = successor.record()
        if record and record.status == "done":
            if self.path.exists() or self.path.is_symlink():
                self.path.rename(self.attic() / f"{self.path.name}-{datetime.now(UTC):%Y%m%dT%H%M%S%f}")
            successor.path.rename(self.path)

    def write_death(self, why: str) -> None:
        """Write into run.json that the process that executed the run died, unless another has taken the run over."""
        record = self.record()
        if record and record.status == "running" and not self.is_held():
            record.status, record.finished, record.error = "failed", utc_now(), why
            self.write_record(record)

    def holder(self) -> str:
        """Say who executes the run, by its run.json."""
        record = self.record()
        who = f"process {record.pid} on {record.host}, since {record.started}" if record else "another process"
        return f"{self.path.name} is executed by {who}"

    def write_record(self, record: Record) -> None:
        """Write run.json."""
        write_whole(self.path / "run.json", record_text(record).encode())

    def write_config(self, config: Config) -> None:
        """Write config.yaml."""
        write_whole(self.path / "config.yaml", yaml.safe_dump(asdict(config), sort_keys=False).encode())

    def write_history(self, epochs: Sequence[EpochResult]) -> None:
        """Write metrics.csv, steps.csv and feedback.csv, each as a whole."""
        for name, rows in history.tables(epochs).items():
            write_csv(self.path / name, rows)

    def write_products(self, contents: dict[str, bytes]) -> None:
        """Write files that the config asks for: name -> content."""
        for name, content in contents.items():
            write_whole(self.path / name, content)

    def metrics(self, epochs: int | None = None) -> list[dict[str, float]]:
        """Return the rows of metrics.csv: `history.read_metrics`."""
        return history.read_metrics(self.path / "metrics.csv", epochs)

    def feedback(self, epochs: int) -> list[dict[str, float]]:
        """Return the rows of feedback.csv: `history.read_feedback`."""
        return history.read_feedback(self.path / "feedback.csv", epochs)

    def difference(self, epochs: Sequence[EpochResult]) -> tuple[list[str], str]:
        """Compare the first epochs in the run's files with these: `history.difference`."""
        return history.difference(self.path, epochs)


def write_whole(path: Path, content: bytes | memoryview) -> None:
    """Write a file beside and rename it, so that no reader ever meets half of it; after an OSError it is as before."""
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "is a folder", str(path))
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
