"""A run of a process of its own, which is killed, or of which there are two."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import ROOT
from test_job import metrics, record

COMMAND = [sys.executable, "run.py", "dataset=digits", "model=pool", "train.epochs=12"]


def start(outputs: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [*COMMAND, f"outputs={outputs}"], cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),  # nohup's children ignore it
    )  # fmt: skip


def only_folder(outputs: Path) -> Path:
    (folder,) = (path for path in (outputs / "runs").iterdir() if not path.name.startswith("."))
    return folder


def wait_for_epoch(process: "subprocess.Popen[str]", epoch: int) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if f"epoch {epoch}/" in line:
            return
    raise AssertionError("the run ended early")


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_killed_process_resumes_to_the_same_numbers(tmp_path: Path, how: signal.Signals) -> None:
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    reference = start(undisturbed)
    reference.communicate(timeout=120)
    assert reference.returncode == 0
    for epoch in (2, 7):  # twice: a resumed run can be killed as well
        process = start(killed)
        wait_for_epoch(process, epoch)
        time.sleep(0.05)  # somewhere in the next epoch
        process.send_signal(how)
        output, _ = process.communicate(timeout=60)
        state = record(only_folder(killed))["status"]
        if how == signal.SIGKILL:
            assert (process.returncode, state) == (-signal.SIGKILL, "running"), output
        else:
            assert (process.returncode, state) == (128 + how, "interrupted"), output
            assert "interrupted; the same command goes on" in output
    final = start(killed)
    output, _ = final.communicate(timeout=120)
    assert final.returncode == 0, output
    assert "going on after epoch" in output
    ours, theirs = only_folder(killed), only_folder(undisturbed)
    assert ours.name == theirs.name
    assert metrics(ours) == metrics(theirs)
    assert (ours / "steps.csv").read_text() == (theirs / "steps.csv").read_text()
    assert not (ours / "checkpoint.pt").exists()


@pytest.mark.slow
def test_two_processes_do_not_run_the_same_run(tmp_path: Path) -> None:
    processes = [start(tmp_path) for _ in range(2)]
    outputs = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert sum("done already" in output for output in outputs) == 1
    assert sum("epoch 12/12" in output for output in outputs) == 1
