"""Sweeps as a user meets them: real processes, and what they leave on disk."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def start(folder: Path, *arguments: str) -> "subprocess.Popen[str]":
    env = {key: value for key, value in os.environ.items() if key not in ("HYDRA_FULL_ERROR", "WEIGHTNET_DATA")}
    command = [sys.executable, "run.py", "-m", "dataset=digits", "device=cpu", *arguments]
    return subprocess.Popen(
        command, cwd=folder, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),  # nohup's children ignore it
    )  # fmt: skip


def sweep(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    process = start(folder, *arguments)
    out, err = process.communicate(timeout=240)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def records(outputs: Path) -> dict[str, dict[str, Any]]:
    """Return run.json by run, for those that are whole."""
    found = {}
    for path in (outputs / "runs").glob("*/run.json"):
        found[path.parent.name] = json.loads(path.read_text())
    return found


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def wait_until(condition: Callable[[], object], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)
