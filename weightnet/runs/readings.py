"""What was read of finished runs, kept in one file beside them, so that thousands are not read again. No torch in here.

`<outputs>/runs/.cache.json` may be deleted at any time. A run is taken from it while inode, size and both times of each
of its files are as they were, else it is read anew. The file holds a digest of itself and of the code that reads runs;
with another one it counts as none. The types of what comes from it are checked as those of a run's folder are.
"""

import hashlib
import json
import os
import time
from contextlib import suppress
from dataclasses import fields
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from weightnet.experiment import Config, read_config
from weightnet.plain import as_mapping, read_text
from weightnet.runs import history
from weightnet.runs.folder import RESULTS, Reading, RunFolder, write_whole
from weightnet.runs.record import Record, record_of

CACHE = ".cache.json"
FEW = 100  # runs: to read fewer takes no longer than to read the file
MOST_BYTES = 256 << 20  # of it
SETTLED = 2  # seconds: what changed later than that might change again without another time of change

_WRONG = (
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    RecursionError,
)  # of what is no such file
_RECORD, _CONFIG = ([item.name for item in fields(kind)] for kind in (Record, Config))
_CODE = ("plain.py", "config.py", "geometry.py", "identity.py",
         *(f"runs/{name}.py" for name in ("folder", "history", "readings", "record")))  # fmt: skip


class Readings:
    """What was read of the finished runs in one folder of run folders."""

    def __init__(self, runs: Path) -> None:
        self.runs, self.opened, self.new = runs, False, 0
        self.read: dict[str, tuple[str, Reading]] = {}  # run's id -> stamp of its files, what they say
        self.values: list[Any] = []  # of the file: each of those that runs have, once
        self.packed: dict[str, tuple[str, list[int]]] = {}  # of the file, run's id -> stamp, numbers of its values
        self.shared: dict[str, Any] = {}  # what many records have in common, once

    def open(self) -> None:
        """Take what the file holds; nothing where there is none, or one that is damaged. Once in a process."""
        if not self.opened:
            self.opened = True
            with suppress(OSError, *_WRONG):
                digest, _, body = read_text(self.runs / CACHE, MOST_BYTES).partition("\n")
                if digest == _digest(body):
                    self.values, runs = json.loads(body)
                    self.packed = {run: (stamp, numbers) for run, (stamp, *numbers) in runs.items()}

    def known(self, folder: RunFolder) -> Reading | None:
        """Return what a finished run's files say, if they have been read and have not changed since."""
        return self._known(folder.path.name, _stamp(folder.path)[0])

    def of(self, folder: RunFolder) -> Reading:
        """Return what a run's files say, read anew unless they are known; the errors of `RunFolder.read`."""
        now, (stamp, changed) = time.time(), _stamp(folder.path)
        if known := self._known(folder.path.name, stamp):
            return known
        reading = folder.read()
        if stamp and reading.record.status == "done" and changed < now - SETTLED:
            for name in ("definitions", "versions"):
                value = getattr(reading.record, name)
                setattr(reading.record, name, self.shared.setdefault(json.dumps(value), value))
            self.read[folder.path.name] = stamp, reading
            self.new += 1
        return reading

    def _known(self, run: str, stamp: str) -> Reading | None:
        kept = self.read.get(run)
        if kept is None and run in self.packed:
            before, numbers = self.packed.pop(run)
            if before == stamp:
                with suppress(*_WRONG):
                    kept = self.read[run] = stamp, _unpack([self.values[number] for number in numbers])
        return kept[1] if kept and stamp and kept[0] == stamp else None

    def save(self) -> None:
        """Write the file, if there is enough that is new to it. A disk that refuses it does no harm."""
        if self.new < max(FEW, (len(self.read) + len(self.packed)) // 10):
            return
        numbers: dict[str, int] = {}  # a value, as JSON -> its number

        def number(value: Any) -> int:
            return numbers.setdefault(json.dumps(value, default=as_mapping), len(numbers))

        with suppress(OSError, *_WRONG):
            there = set(os.listdir(self.runs))
            runs = {run: [stamp, *(number(self.values[old]) for old in olds)]
                    for run, (stamp, olds) in self.packed.items() if run in there}  # fmt: skip
            runs |= {run: [stamp, *map(number, _pack(reading))]
                     for run, (stamp, reading) in self.read.items() if run in there}  # fmt: skip
            body = f"[[{', '.join(numbers)}],\n{json.dumps(runs)}]\n"
            if len(body) < MOST_BYTES:
                write_whole(self.runs / CACHE, f"{_digest(body)}\n{body}".encode())
                self.new = 0


def _pack(reading: Reading) -> list[Any]:
    """Return a reading as a list of values, many of which many runs share."""
    of_record = [getattr(reading.record, name) for name in _RECORD]
    columns = list(reading.metrics[0]) if reading.metrics else []
    rows = [[list(row.values()) for row in table] for table in (reading.metrics, reading.feedback)]
    return [*of_record, *(getattr(reading.config, name) for name in _CONFIG), columns, *rows]


def _unpack(values: list[Any]) -> Reading:
    """Return what `_pack` packed, checked as files of runs are; `_WRONG`: it is none."""
    *plain, columns, metrics, feedback = values
    record = record_of(dict(zip(_RECORD, plain, strict=False)))
    config = read_config(dict(zip(_CONFIG, plain[len(_RECORD) :], strict=True)))
    if not all(type(cell) is float for row in (*metrics, *feedback) for cell in row):
        raise ValueError("what is no number")
    tables = [[dict(zip(names, row, strict=True)) for row in rows]
              for names, rows in ((columns, metrics), (history.FEEDBACK, feedback))]  # fmt: skip
    if record.status != "done" or history.impossible(tables[0], config.train.epochs):
        raise ValueError("no finished run")
    return Reading(record, config, *tables)


def readings(runs: Path, count: int) -> Readings:
    """Return what was read of the runs in a folder; `count`: how many are wanted, for few the file is not read."""
    found = _readings(runs.absolute())
    if count >= FEW:
        found.open()
    return found


_readings = lru_cache(maxsize=16)(Readings)


def _stamp(folder: Path) -> tuple[str, float]:
    """Return what changes whenever a run's files do, and when one last did; "" where that cannot be told."""
    found, changed = list[Any](), 0.0
    try:
        state = os.lstat(folder)  # a folder, not a link to one
        found.append((state.st_mode, state.st_ino))
        for name in ("run.json", *RESULTS):
            with suppress(FileNotFoundError):
                state = os.stat(f"{folder}/{name}")
                found.append((name, state.st_mode, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns))
                changed = max(changed, state.st_ctime)
    except OSError:
        return "", 0.0
    return hashlib.sha256(repr(found).encode()).hexdigest()[:16], changed


def _digest(body: str) -> str:
    return hashlib.sha256((_code() + body).encode()).hexdigest()


@cache
def _code() -> str:
    """Return a digest of the code that reads runs: what other code has read is read anew."""
    package = Path(__file__).parents[1]
    return hashlib.sha256(b"".join((package / name).read_bytes() for name in _CODE)).hexdigest()
