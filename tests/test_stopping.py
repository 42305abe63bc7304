"""Sweeps that are stopped, killed, run twice at a time, or out of disk: real processes."""

import os
import random
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest
from conftest import ROOT, metrics
from processes import records, rows, start, sweep, wait_until


def workers_of(process: "subprocess.Popen[str]", outputs: Path) -> set[int]:
    """Return the processes of this sweep that are at a run: a dead one's number may be another process by now."""
    told = {record["pid"] for record in records(outputs).values() if record["status"] == "running"}
    return {pid for pid in told if session_of(pid) == process.pid}


def session_of(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return None


def kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_finishes_the_epoch_and_the_sweep_goes_on(tmp_path: Path, how: signal.Signals) -> None:
    two = "hydra.launcher.processes=2"  # whatever the machine has
    arguments = ("model=pool,rmp", "seed=1,2", "train.epochs=25", two, f"outputs={tmp_path}/outputs")
    process = start(ROOT, *arguments)
    wait_until(lambda: sum(len(lines) > 3 for lines in metrics(tmp_path / "outputs").values()) >= 2)
    os.killpg(process.pid, how)  # as a terminal does: to the workers as well
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + how
    assert "finishing the epoch;" in err and "interrupted; the same command goes on" in err
    states = [record["status"] for record in records(tmp_path / "outputs").values()]
    assert sorted(states) == ["interrupted", "interrupted"]
    (folder,) = (tmp_path / "outputs" / "sweeps").iterdir()
    assert sorted(row["state"] for row in rows(folder / "summary.csv")) == ["interrupted"] * 2 + ["missing"] * 2
    again = sweep(ROOT, *arguments)
    assert again.returncode == 0 and "2 interrupted" in again.stdout and "2 missing" in again.stdout


@pytest.mark.slow(minutes=3)
def test_kills_at_random_moments_lose_nothing(tmp_path: Path) -> None:
    arguments = ("model=baseline,pool,rmp", "seed=range(1,5)", "train.epochs=20")
    undisturbed, disturbed = tmp_path / "undisturbed", tmp_path / "disturbed"
    assert sweep(ROOT, *arguments, f"outputs={undisturbed}").returncode == 0
    chance = random.Random(3)
    rounds = 0
    while rounds < 20:
        process = start(ROOT, *arguments, f"outputs={disturbed}")
        wait_until(lambda process=process: bool(workers_of(process, disturbed)) or process.poll() is not None)
        time.sleep(chance.uniform(0, 1.5))
        if process.poll() is not None:  # complete before 20 rounds: begin again with some runs gone
            process.communicate()
            for name in chance.sample(sorted(records(disturbed)), 6):
                shutil.rmtree(disturbed / "runs" / name)
            continue
        victims = chance.choice(["worker", "parent", "both"])
        if victims != "parent" and (alive := workers_of(process, disturbed)):
            kill(chance.choice(sorted(alive)))
        if victims != "worker" or chance.random() < 0.5:
            kill(process.pid)
        process.communicate(timeout=120)  # a sweep that lost a worker goes on with the other runs
        rounds += 1
    final = sweep(ROOT, *arguments, f"outputs={disturbed}")
    assert final.returncode == 0, final.stderr
    assert metrics(disturbed) == metrics(undisturbed)
    assert all(record["status"] == "done" for record in records(disturbed).values())


@pytest.mark.slow
def test_two_sweeps_share_the_work(tmp_path: Path) -> None:
    arguments = ("model=baseline,pool,rmp", "seed=1,2,3", "train.epochs=4", f"outputs={tmp_path}")
    processes = [start(ROOT, *arguments) for _ in range(2)]
    for process in processes:
        _, err = process.communicate(timeout=240)
        assert process.returncode == 0, err
    assert len(metrics(tmp_path)) == 9
    for path in (tmp_path / "runs").glob("*/run.log"):
        text = path.read_text()
        assert text.count("parameters, on") == 1 and text.count("epoch 4/4") == 1, path
    assert len(list((tmp_path / "sweeps").iterdir())) == 2


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("mount") or os.geteuid() != 0, reason="needs root to mount a small disk")
def test_a_full_disk_loses_nothing(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(disk)], capture_output=True).returncode:
        pytest.skip("this machine does not let tests mount a small disk")
    try:
        arguments = ("model=baseline,pool,rmp", "seed=range(1,5)", "train.epochs=2", f"outputs={disk}")
        full = sweep(ROOT, *arguments)
        assert full.returncode == 1
        assert "No space left on device" in full.stderr and "Traceback" not in full.stderr
        finished = {name for name, record in records(disk).items() if record["status"] == "done"}
        kept = {name: lines for name, lines in metrics(disk).items() if name in finished}
        subprocess.run(["mount", "-o", "remount,size=4m", str(disk)], check=True)
        done = sweep(ROOT, *arguments)
        assert done.returncode == 0, done.stderr
        assert len(metrics(disk)) == 12 and kept.items() <= metrics(disk).items()
    finally:
        subprocess.run(["umount", str(disk)], check=True)
