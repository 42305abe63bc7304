"""Workers of `hydra/launcher=slurm` that are cancelled, preempted, out of time, or on a node that dies."""

import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest
from conftest import ROOT, metrics
from processes import wait_until
from slurm_sweeps import end, epochs, jobs, logs, run_logs, slurm, start, states, undisturbed

pytestmark = [pytest.mark.slurm, pytest.mark.slow, pytest.mark.usefixtures("cluster")]


def test_what_a_cancelled_worker_leaves_another_finishes(tmp_path: Path) -> None:
    arguments = ("train.epochs=200", "seed=range(1,5)")
    process = start(tmp_path / "slurm", *arguments, "hydra.launcher.workers=2")
    wait_until(lambda: len(metrics(tmp_path / "slurm")) >= 2 and epochs(tmp_path / "slurm") > 6)
    slurm("scancel", jobs("--states=RUNNING")[0])
    end(process)
    assert "leaves after SIGTERM: there is more to do" in logs(tmp_path / "slurm")
    assert "interrupted" in run_logs(tmp_path / "slurm") and "going on after epoch" in run_logs(tmp_path / "slurm")
    assert metrics(tmp_path / "slurm") == undisturbed(tmp_path / "local", *arguments)


def test_workers_that_are_all_cancelled_are_not_submitted_again(tmp_path: Path) -> None:
    process = start(tmp_path, "train.epochs=500", "seed=1,2", "hydra.launcher.workers=2")
    wait_until(lambda: epochs(tmp_path) > 2)
    slurm("scancel", "--me")
    _, err = end(process, 1)
    assert "the workers were cancelled; 2 of 2 runs are left, the same command goes on" in err
    assert states(tmp_path) == ["interrupted"] * 2 and not jobs()


def test_a_worker_whose_time_is_up_goes_back_into_the_queue(tmp_path: Path) -> None:
    arguments = ("train.batch_size=16", "seed=1")
    process = start(tmp_path / "slurm", *arguments, "train.epochs=5000", "hydra.launcher.timeout_min=1")
    wait_until(lambda: "going on after epoch" in run_logs(tmp_path / "slurm"), seconds=240)
    number = int(run_logs(tmp_path / "slurm").partition("going on after epoch ")[2].split()[0])
    wait_until(lambda: epochs(tmp_path / "slurm") > number)
    process.send_signal(signal.SIGINT)
    out, _ = end(process, 130)
    assert out.count("submitted") == 1
    assert "leaves after SIGUSR1: there is more to do" in logs(tmp_path / "slurm")
    (rows,) = metrics(tmp_path / "slurm").values()
    (expected,) = undisturbed(tmp_path / "local", *arguments, f"train.epochs={number + 1}").values()
    assert rows[: number + 2] == expected


def test_a_preempted_worker_goes_on(tmp_path: Path) -> None:
    arguments = ("train.epochs=200", "seed=1,2")
    process = start(tmp_path / "slurm", *arguments, "hydra.launcher.workers=2")
    wait_until(lambda: epochs(tmp_path / "slurm") > 4)
    slurm("sbatch", "--partition=urgent", "--nodes=2", "--exclusive", f"--chdir={tmp_path}", "--wrap=sleep 3")
    out, _ = end(process)
    assert out.count("submitted") == 1 and "leaves after SIGTERM" in logs(tmp_path / "slurm")
    assert "going on after epoch" in run_logs(tmp_path / "slurm") and states(tmp_path / "slurm") == ["done"] * 2
    assert metrics(tmp_path / "slurm") == undisturbed(tmp_path / "local", *arguments)


def test_a_node_that_dies_loses_no_run(tmp_path: Path) -> None:
    arguments = ("train.epochs=200", "seed=1,2")
    process = start(
        tmp_path / "slurm", *arguments, "hydra.launcher.workers=2", "hydra.launcher.cpus_per_task=3", "threads=3"
    )
    wait_until(lambda: len(metrics(tmp_path / "slurm")) == 2 and epochs(tmp_path / "slurm") > 4)
    node = Path(os.environ["SLURM_CONF"]).parent
    try:
        kill_host((node / "slurmd-n2.pid").read_text().strip())
        out, _ = end(process)
    finally:
        subprocess.run([ROOT / "tests" / "slurm" / "start.sh", node], check=True, timeout=120)
    assert out.count("submitted") == 1 and states(tmp_path / "slurm") == ["done"] * 2
    assert "going on after epoch" in run_logs(tmp_path / "slurm")
    assert metrics(tmp_path / "slurm") == undisturbed(tmp_path / "local", *arguments, "threads=3")


def kill_host(pid: str) -> None:
    """Kill all processes that share a process's hostname, as a power cut would."""
    name = os.readlink(f"/proc/{pid}/ns/uts")
    assert name != os.readlink("/proc/self/ns/uts")
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if os.readlink(process / "ns" / "uts") == name:
                os.kill(int(process.name), signal.SIGKILL)
