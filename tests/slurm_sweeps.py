"""What tests of `hydra/launcher=slurm` share: a sweep that is started, and what is left of it and of its workers."""

import csv
import os
import subprocess
import sys
from pathlib import Path

from conftest import ROOT, metrics

SHORT = ("train.epochs=1", "train.subset=64")


def slurm(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout


def start(outputs: Path, *arguments: str, cwd: Path = ROOT) -> "subprocess.Popen[str]":
    env = {key: value for key, value in os.environ.items() if key not in ("HYDRA_FULL_ERROR", "WEIGHTNET_DATA")}
    command = [
        sys.executable, str(ROOT / "run.py"), "-m", "dataset=digits", "device=cpu", f"outputs={outputs}",
        "hydra/launcher=slurm", *arguments,
    ]  # fmt: skip
    return subprocess.Popen(
        command, cwd=cwd, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )


def end(process: "subprocess.Popen[str]", status: int = 0) -> tuple[str, str]:
    out, err = process.communicate(timeout=300)
    assert process.returncode == status, f"{out}\n{err}"
    return out, err


def sweep(outputs: Path, *arguments: str, cwd: Path = ROOT, status: int = 0) -> tuple[str, str]:
    return end(start(outputs, *arguments, cwd=cwd), status)


def states(outputs: Path) -> list[str]:
    """Return the states in the last summary."""
    last = sorted((outputs / "sweeps").iterdir(), key=lambda path: path.stat().st_mtime_ns)[-1]
    with (last / "summary.csv").open(newline="") as file:
        return [row["state"] for row in csv.DictReader(file)]


def logs(outputs: Path) -> str:
    return "".join(path.read_text() for path in sorted((outputs / "sweeps").glob("*/workers/worker-*.log")))


def run_logs(outputs: Path) -> str:
    return "".join(path.read_text() for path in sorted((outputs / "runs").glob("*/run.log")))


def epochs(outputs: Path) -> int:
    """Return the epochs that all runs have behind them."""
    return sum(max(0, len(rows) - 1) for rows in metrics(outputs).values())


def undisturbed(outputs: Path, *arguments: str) -> dict[str, list[str]]:
    """Return the metrics of the same sweep on this machine."""
    sweep(outputs, *arguments, "hydra/launcher=local", "hydra.launcher.processes=2")
    return metrics(outputs)


def jobs(*arguments: str) -> list[str]:
    return slurm("squeue", "--noheader", "--array", "--format=%i", *arguments).split()
