"""run.json: who executed a run, with what, and how it ended. Its fields, and their one reader. No torch in here."""

import json
import logging
import os
import platform
import socket
import traceback
from collections.abc import Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from weightnet.experiment import (
    Config,
    EpochResult,
    Origin,
    arm,
    device_name,
    facts,
    origins,
    shape,
    signature,
)

log = logging.getLogger("weightnet")

STATUSES = ("running", "done", "interrupted", "failed")


@dataclass(kw_only=True, slots=True)
class Verification:
    """The evidence that other code, data or versions than a run was made with give its numbers, bit for bit."""

    origin: Origin
    """With what its first epochs were replayed."""
    epochs: int
    """How many."""
    files: list[str]
    """Those that were compared, column by column but for seconds."""
    when: str
    host: str
    against: str = "its own files"
    """What the replayed numbers equal."""


@dataclass(kw_only=True, slots=True)
class Record:
    """The fields of run.json. Times are UTC, in ISO 8601."""

    status: str
    """One of `STATUSES`: what the process that executed the run said last. (Its state: `RunFolder.state`.)"""
    signature: str
    arm: str
    code: str
    """12 hex digits of the code that the run reaches."""
    versions: dict[str, str]
    host: str
    pid: int
    started: str
    finished: str | None
    parameters: int
    dw: int | None
    """Numbers of the feedback vector that are made of weights."""
    shape: str | None = None
    """Equal for runs whose epochs take the same time on one machine."""
    epochs: int | None = None
    """How many the config asks for."""
    overrides: list[str] = field(default_factory=list)
    definitions: dict[str, str] = field(default_factory=dict)
    """Definition that the run reaches -> 8 hex digits."""
    data: str | None = None
    """12 hex digits of the content of the data set's files, where they are known."""
    device: str | None = None
    seconds: float | None = None
    """Of all epochs."""
    error: str | None = None
    """Traceback, or the cause of death."""
    verified: Verification | None = None

    def origin(self) -> Origin:
        """Return what the run's numbers come from: as it was made, or as it was verified since."""
        if self.verified:
            return self.verified.origin
        return Origin(self.code, self.definitions, self.data, self.versions.get("torch"))


def read_record(path: Path) -> Record:
    """Return what a run.json says.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no such record; says why.
    """
    plain = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(plain, dict):
        raise ValueError("run.json is not a mapping")
    known = {item.name: item for item in fields(Record)}
    required = [name for name, item in known.items() if item.default is MISSING and item.default_factory is MISSING]
    if missing := [name for name in required if name not in plain]:
        raise ValueError(f"run.json has no {', '.join(missing)}")
    if plain["status"] not in STATUSES:
        raise ValueError(f"run.json has the status {plain['status']!r}")
    if verified := plain.get("verified"):
        plain["verified"] = Verification(**verified | {"origin": Origin(**verified["origin"])})
    return Record(**{name: value for name, value in plain.items() if name in known})


def to_json(record: Record) -> str:
    """Return the text of run.json."""
    return json.dumps(asdict(record), indent=2) + "\n"


def new_record(config: Config, overrides: list[str], before: Record | None) -> Record:
    """Return the record at the start of an execution; a resumed run keeps its first start."""
    (origin,) = origins([config])
    known = facts(config)
    return Record(
        status="running",
        signature=signature(config),
        shape=shape(config),
        epochs=config.train.epochs,
        arm=arm(config),
        overrides=overrides,
        code=origin.code,
        definitions=origin.definitions,
        data=origin.data,
        versions={
            "python": platform.python_version(),
            **{package: version(package) for package in ("torch", "torchvision", "numpy", "hydra-core")},
        },
        device=device_name(config),
        host=socket.gethostname(),
        pid=os.getpid(),
        started=before.started if before else now(),
        finished=None,
        parameters=known["parameters"],
        dw=known["dw"],
    )


def ended(record: Record, history: Sequence[EpochResult]) -> None:
    """Note that the run is done."""
    record.status, record.finished = "done", now()
    record.seconds = sum(result.seconds for result in history)


def stopped(record: Record, name: str, error: BaseException) -> None:
    """Note, in the log as well, that the run ended early, and why."""
    record.finished = now()
    if isinstance(error, KeyboardInterrupt):
        record.status = "interrupted"
        log.info("%s: interrupted", name)
    else:
        record.status, record.error = "failed", traceback.format_exc()
        log.error("%s: failed: %s", name, error if isinstance(error, OSError) else record.error)


def verification(origin: Origin, **evidence: Any) -> Verification:
    """Return the evidence of a replay that has just been made here with the code, data and versions of `origin`."""
    return Verification(origin=origin, when=now(), host=socket.gethostname(), **evidence)


def now() -> str:
    """Return the time."""
    return datetime.now(UTC).isoformat(timespec="seconds")
