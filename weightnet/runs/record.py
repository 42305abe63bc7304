"""run.json: who executed a run, with what, and how it ended. Its fields, and their one reader. No torch in here."""

import hashlib
import json
import os
import platform
import socket
from dataclasses import MISSING, asdict, dataclass, field, fields
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from weightnet.experiment import Config, Origin, arm, device_name, facts, origins, shape, signature
from weightnet.plain import fits, read_json

STATUSES = ("running", "done", "interrupted", "failed")


@dataclass(kw_only=True, slots=True)
class Verification:
    """The evidence that other code, data or versions than a run was made with give its numbers, bit for bit.

    Its first `epochs` were replayed with `origin`; `files` were compared `against` that, but for columns of seconds.
    """

    origin: Origin
    epochs: int
    files: list[str]
    when: str
    host: str
    against: str = "its own files"


@dataclass(kw_only=True, slots=True)
class Record:
    """The fields of run.json. Times are UTC, in ISO 8601."""

    status: str  # one of `STATUSES`: what the process that executed the run said last (its state: `RunFolder.state`)
    signature: str
    arm: str
    code: str  # 12 hex digits of the code that the run reaches
    versions: dict[str, str]
    host: str
    pid: int
    started: str
    finished: str | None
    parameters: int
    dw: int | None  # numbers of the feedback vector that are made of weights
    shape: str | None = None  # equal for runs whose epochs take the same time on one machine
    epochs: int | None = None  # how many the config asks for
    overrides: list[str] = field(default_factory=list)
    definitions: dict[str, str] = field(default_factory=dict)  # definition that the run reaches -> 8 hex digits
    data: str | None = None  # 12 hex digits of the content of the data set's files, where they are known
    device: str | None = None
    convolutions: str | None = None  # "native" or "torch", which round otherwise; None: no choice, or before 2026-11-27
    seconds: float | None = None  # of all epochs
    error: str | None = None  # traceback, or the cause of death
    verified: Verification | None = None
    files: dict[str, str] = field(default_factory=dict)  # of a run that is done: name -> SHA-256, 64 hex digits

    def origin(self, now: Origin) -> Origin:
        """Return what the run's numbers come from: as it was made if that is as `now`, else as it was verified last."""
        made = Origin(self.code, self.definitions, self.data, self.versions.get("torch"), self.convolutions)
        return self.verified.origin if self.verified and made.difference(now) else made

    @property
    def seconds_per_epoch(self) -> float | None:
        """How long an epoch took; None of a run that is not done, or whose record does not say."""
        if self.status != "done" or not self.epochs or not self.seconds:
            return None
        return self.seconds / self.epochs


_REQUIRED = [item.name for item in fields(Record) if item.default is MISSING and item.default_factory is MISSING]
_KINDS = {item.name: item.type for item in fields(Record)} | {"verified": dict[str, Any] | None}  # as JSON has it


def read_record(path: Path) -> Record:
    """Return what a run.json says. OSError: it cannot be read; ValueError: it is no such record, and why."""
    plain = read_json(path)
    old = "files" not in plain  # recorded before there were digests
    if plain.pop("digest", None) not in (_digest(plain), *([None] if old else [])):
        raise ValueError("run.json is not what the run left")
    return record_of(plain)


def record_of(plain: dict[str, Any]) -> Record:
    """Return the record that the plain values of a run.json stand for. ValueError: they stand for none, and why."""
    if missing := [name for name in _REQUIRED if name not in plain]:
        raise ValueError(f"run.json has no {', '.join(missing)}")
    if plain["status"] not in STATUSES:
        raise ValueError(f"run.json has the status {plain['status']!r}")
    known = {name: plain[name] for name in _KINDS if name in plain}
    if wrong := [name for name, value in known.items() if not fits(value, _KINDS[name])]:
        raise ValueError(f"run.json has {wrong[0]}={str(known[wrong[0]])[:50]}")
    if verified := known.get("verified"):
        try:
            origin = Origin(**verified["origin"])
            if not all(fits(getattr(origin, item.name), item.type) for item in fields(Origin)):
                raise TypeError("origin")
            known["verified"] = Verification(**verified | {"origin": origin})
        except (TypeError, KeyError) as error:
            raise ValueError("run.json has evidence (verified) that is none") from error
    return Record(**known)


def record_text(record: Record) -> str:
    """Return the text of run.json, which holds a digest of the rest of it (runs before 2026-11-25: none)."""
    plain = asdict(record)
    return json.dumps(plain | {"digest": _digest(plain)}, indent=2) + "\n"


def _digest(plain: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def new_record(config: Config, overrides: list[str], before: Record | None) -> Record:
    """Return the record at the start of an execution; a resumed run keeps its first start."""
    (origin,) = origins([config])
    known, packages = facts(config), ("torch", "torchvision", "numpy", "hydra-core")
    return Record(
        status="running", started=before.started if before else utc_now(), finished=None, overrides=overrides,
        signature=signature(config), arm=arm(config), shape=shape(config), epochs=config.train.epochs,
        parameters=known["parameters"], dw=known["dw"],
        code=origin.code, definitions=origin.definitions, data=origin.data,
        versions={"python": platform.python_version(), **{package: version(package) for package in packages}},
        device=device_name(config), convolutions=origin.convolutions, host=socket.gethostname(), pid=os.getpid(),
    )  # fmt: skip


def verification(origin: Origin, **evidence: Any) -> Verification:
    """Return the evidence of a replay that has just been made here with the code, data and versions of `origin`."""
    return Verification(origin=origin, when=utc_now(), host=socket.gethostname(), **evidence)


def utc_now() -> str:
    """Return the time."""
    return datetime.now(UTC).isoformat(timespec="seconds")
