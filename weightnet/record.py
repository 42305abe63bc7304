"""run.json: who executed a run, with what, and how it ended."""

import hashlib
import logging
import os
import platform
import socket
import traceback
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from weightnet.config import Config, arm, parameter_count, run_folder, shape, signature
from weightnet.feedback import carried
from weightnet.store import RunFolder
from weightnet.training import EpochResult

log = logging.getLogger("weightnet")


def _code_fingerprint() -> str:
    """Return 12 hex digits that change with any line of this package."""
    sources = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in sources)).hexdigest()[:12]


CODE = _code_fingerprint()  # at import: of the code that runs, should a file change meanwhile


def new_record(config: Config, folder: RunFolder, overrides: list[str]) -> dict[str, Any]:
    """Return run.json at the start of an execution; a resumed run keeps its first start."""
    return {
        "status": "running",
        "signature": signature(config),
        "shape": shape(config),
        "epochs": config.train.epochs,
        "arm": arm(config),
        "overrides": overrides,
        "code": CODE,
        "versions": {
            "python": platform.python_version(),
            **{package: version(package) for package in ("torch", "torchvision", "numpy", "hydra-core")},
        },
        "device": torch.cuda.get_device_name() if config.device == "cuda" else f"cpu ({platform.machine()})",
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "started": folder.record().get("started", _now()),
        "finished": None,
        "seconds": None,
        "parameters": parameter_count(config),
        "dw": carried(config),
        "error": None,
    }


def record_end(folder: RunFolder, record: dict[str, Any], history: list[EpochResult]) -> None:
    """Write into run.json that the run is done."""
    record |= {"status": "done", "finished": _now(), "seconds": sum(result.seconds for result in history)}
    folder.write_record(record)


def record_stop(folder: RunFolder, record: dict[str, Any], error: BaseException) -> None:
    """Write into run.json and the log that the run ended early, and why."""
    if isinstance(error, KeyboardInterrupt):
        record |= {"status": "interrupted", "finished": _now()}
        log.info("%s: interrupted", folder.path.name)
    else:
        record |= {"status": "failed", "finished": _now(), "error": traceback.format_exc()}
        shown = error if isinstance(error, OSError) else traceback.format_exc()
        log.error("%s: failed: %s", folder.path.name, shown)
    with suppress(OSError):  # a full disk: the run then looks like one that was killed, and resumes as well
        folder.write_record(record)


def record_death(config: Config, why: str) -> None:
    """Write into run.json that the process that executed the run died, unless another has taken the run over."""
    folder = RunFolder(run_folder(config))
    record = folder.record()
    if record.get("status") == "running" and not folder.is_held():
        folder.write_record(record | {"status": "failed", "finished": _now(), "error": why})


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
