"""`hydra/launcher=slurm` on a real Slurm, the one that tests/slurm/start.sh starts."""

import json
import signal
import time
from pathlib import Path

import pytest
from conftest import metrics
from processes import wait_until
from slurm_sweeps import SHORT, end, epochs, jobs, logs, run_logs, slurm, start, states, sweep, undisturbed

pytestmark = [pytest.mark.slurm, pytest.mark.slow, pytest.mark.usefixtures("cluster")]


def test_200_runs_over_4_workers_each_once(tmp_path: Path) -> None:
    out, _ = sweep(tmp_path, *SHORT, "seed=range(1,201)", "hydra.launcher.workers=4", "hydra.launcher.cpus_per_task=2")
    assert "submitted 4 workers, job " in out and "[200/200]" in out and "200 runs: 200 done" in out
    assert run_logs(tmp_path).count(" parameters, on ") == 200  # said whenever one begins, or goes on
    assert states(tmp_path) == ["done"] * 200 and list((tmp_path / "sweeps").glob("*/figure.png"))
    begun = [line.split()[2] for line in logs(tmp_path).splitlines() if ": done, accuracy" in line]
    assert len(begun) == 200


def test_workers_on_two_hosts_see_each_others_leases(tmp_path: Path) -> None:
    sweep(tmp_path, *SHORT, "seed=range(1,41)", "hydra.launcher.workers=2", "hydra.launcher.cpus_per_task=4")
    hosts = [json.loads(path.read_text())["host"] for path in (tmp_path / "runs").glob("*/run.json")]
    assert set(hosts) == {"n1", "n2"} and len(hosts) == 40
    assert run_logs(tmp_path).count(" parameters, on ") == 40


def test_workers_that_cannot_start_are_given_up(tmp_path: Path) -> None:
    out, err = sweep(tmp_path, *SHORT, "seed=1", 'hydra.launcher.setup=["exit 3"]', status=1)
    assert out.count("submitted 1 worker, job ") == 4 and out.count("no worker is left (failed), 1 of 1 runs are") == 3
    assert "workers ended 4 times in a row and finished no run; their logs are" in err


def test_a_parent_that_is_killed_and_asked_again_finds_its_workers(tmp_path: Path) -> None:
    arguments = ("train.epochs=60", "seed=range(1,5)", "hydra.launcher.workers=2")
    process = start(tmp_path, *arguments)
    wait_until(lambda: epochs(tmp_path) > 2)
    process.kill()
    process.communicate()
    running = jobs()
    assert len(running) == 2
    out, _ = sweep(tmp_path, *arguments)
    assert "2 workers at these runs already" in out and "submitted" not in out
    assert states(tmp_path) == ["done"] * 4
    assert run_logs(tmp_path).count(" parameters, on ") == 4  # no run was disturbed


def test_a_terminal_that_is_closed_leaves_the_workers_alone(tmp_path: Path) -> None:
    process = start(tmp_path, "train.epochs=30", "seed=1")
    wait_until(lambda: epochs(tmp_path) > 2)
    process.send_signal(signal.SIGHUP)
    _, err = end(process, 129)
    assert "the workers go on (job " in err
    wait_until(lambda: not jobs())
    assert "epoch 30/30" in run_logs(tmp_path)


def test_without_waiting_it_reports_later(tmp_path: Path) -> None:
    arguments = (*SHORT, "seed=range(1,9)", "hydra.launcher.wait=false")
    out, _ = sweep(tmp_path, *arguments)
    assert "the same command tells how far they are" in out
    again, _ = sweep(tmp_path, *arguments)
    assert "submitted" not in again or "8 done" in again
    wait_until(lambda: not jobs())
    out, _ = sweep(tmp_path, *arguments)
    assert "8 runs: 8 done; 0 to run" in out
    assert run_logs(tmp_path).count(" parameters, on ") == 8


def test_ctrl_c_once_finishes_epochs_and_the_same_command_goes_on(tmp_path: Path) -> None:
    arguments = ("train.epochs=60", "seed=range(1,5)", "hydra.launcher.workers=2")
    process = start(tmp_path / "slurm", *arguments)
    wait_until(lambda: epochs(tmp_path / "slurm") > 4)
    process.send_signal(signal.SIGINT)
    out, err = end(process, 130)
    assert "the workers finish their epochs and leave; Ctrl-C again cancels them" in err
    assert "the same command goes on where this one stopped" in err and not jobs()
    assert set(states(tmp_path / "slurm")) == {"interrupted", "missing"}
    sweep(tmp_path / "slurm", *arguments)
    assert states(tmp_path / "slurm") == ["done"] * 4
    assert metrics(tmp_path / "slurm") == undisturbed(tmp_path / "local", *arguments[:2])


def test_ctrl_c_twice_cancels(tmp_path: Path) -> None:
    process = start(
        tmp_path, "train.epochs=5000", "seed=1,2", "hydra.launcher.workers=2", 'hydra.launcher.setup=["sleep 30"]'
    )
    wait_until(lambda: jobs("--states=RUNNING"))
    process.send_signal(signal.SIGINT)
    time.sleep(2)
    process.send_signal(signal.SIGINT)
    _, err = end(process, 130)
    assert "the workers are cancelled" in err and not jobs("--states=RUNNING,PENDING")


def test_what_is_done_is_verified_and_done_anew(tmp_path: Path) -> None:
    arguments = ("model=my_feedback.py:Mine", "dims=controlled", *SHORT, "seed=range(1,5)", "hydra.launcher.workers=2")
    (tmp_path / "my_feedback.py").write_text(MY_FEEDBACK.format(body="pass"))
    sweep(tmp_path / "out", *arguments, cwd=tmp_path)
    before = metrics(tmp_path / "out")
    (tmp_path / "my_feedback.py").write_text(MY_FEEDBACK.format(body="weight1 = 1 * weight1"))
    out, _ = sweep(tmp_path / "out", *arguments, "hydra.sweeper.rerun=verify", cwd=tmp_path)
    assert "4 stale; 4 to verify" in out and "4 of 4 replays agree, bit for bit" in out
    out, _ = sweep(tmp_path / "out", *arguments, "hydra.sweeper.rerun=all", cwd=tmp_path)
    assert "4 done; 4 to run" in out and metrics(tmp_path / "out") == before
    assert len(list((tmp_path / "out" / "runs" / ".old").iterdir())) == 4
    (tmp_path / "my_feedback.py").write_text(MY_FEEDBACK.format(body="weight1 = 2 * weight1"))
    out, err = sweep(tmp_path / "out", *arguments, "hydra.sweeper.rerun=verify", cwd=tmp_path, status=1)
    assert "0 of 4 replays agree" in out and "4 runs stay stale, their numbers differ here:" in err


def test_failures_are_told_as_ever(tmp_path: Path) -> None:
    arguments = ("model=baseline,my_feedback.py:Mine", "dims=controlled", *SHORT, "seed=1,2")
    (tmp_path / "my_feedback.py").write_text(MY_FEEDBACK.format(body="assert not OWN_FAILS, 'by hand'"))
    _, err = sweep(tmp_path / "out", *arguments, 'hydra.launcher.setup=["export OWN_FAILS=1"]', cwd=tmp_path, status=1)
    assert "2 of 4 runs failed" in err and "2 x AssertionError: by hand" in err
    assert "hydra/launcher=slurm" in err.strip().splitlines()[-1]  # not on the login node
    assert sorted(states(tmp_path / "out")) == ["done", "done", "failed", "failed"]
    sweep(tmp_path / "out", *arguments, cwd=tmp_path)
    assert states(tmp_path / "out") == ["done"] * 4


MY_FEEDBACK = """
import os
from torch import nn

OWN_FAILS = "OWN_FAILS" in os.environ

class Mine(nn.Module):
    def __init__(self, dx):
        super().__init__()
        self.dx = dx

    def forward(self, weight1, weight2):
        {body}
        return weight1.mean(dim=0)[: self.dx]
"""


def test_an_edit_meanwhile_does_not_reach_submitted_work(tmp_path: Path) -> None:
    mine = tmp_path / "my_feedback.py"
    mine.write_text(MY_FEEDBACK.format(body="pass"))
    arguments = ("model=my_feedback.py:Mine", "dims=controlled", *SHORT, "seed=1,2")
    sweep(
        tmp_path / "out", *arguments, "hydra.launcher.wait=false", "+hydra.launcher.additional.hold=true", cwd=tmp_path
    )
    mine.write_text(MY_FEEDBACK.format(body="raise ValueError"))
    (waiting,) = set(slurm("squeue", "--noheader", "--format=%F").split())
    mine.write_text(MY_FEEDBACK.format(body="weight1 = 2 * weight1"))
    _, err = sweep(tmp_path / "out", *arguments, cwd=tmp_path, status=2)
    assert f"(scancel {waiting}) execute some of these runs with the code as it was" in err
    slurm("scontrol", "release", waiting)
    wait_until(lambda: not jobs())
    out, _ = sweep(tmp_path / "out", *arguments, cwd=tmp_path)
    assert "2 runs: 2 stale; 0 to run" in out
    mine.write_text(MY_FEEDBACK.format(body="pass"))
    out, _ = sweep(tmp_path / "out", *arguments, cwd=tmp_path)
    assert "2 runs: 2 done; 0 to run" in out


def test_a_worker_that_does_not_see_others_locks_refuses(tmp_path: Path) -> None:
    locks, layers = tmp_path / "out" / "runs" / ".locks", tmp_path / "layers"
    for name in ("up", "work"):
        (layers / name).mkdir(parents=True)
    # an overlay shows what lies below, but its locks are its own, as those of some networks' disks are
    overlay = f"mount -t overlay overlay -o lowerdir={locks},upperdir={layers}/up,workdir={layers}/work {locks}"
    again = f'[ "$ALONE" ] || ALONE=1 exec unshare --mount sh -c \'{overlay} && exec bash "$0"\' "$0"'
    _, err = sweep(tmp_path / "out", *SHORT, "seed=1,2", f"hydra.launcher.setup=[{json.dumps(again)}]", status=1)
    assert "does not see a lock that" in err and "put outputs= on a disk that shares them" in err
    assert states(tmp_path / "out") == ["missing"] * 2


def test_sbatch_refuses_before_anything_runs(tmp_path: Path) -> None:
    _, err = sweep(tmp_path, *SHORT, "hydra.launcher.partition=nowhere", status=2)
    assert "sbatch: " in err and "invalid partition specified: nowhere" in err and "no worker was submitted" in err
    assert err.strip().splitlines()[-1].startswith("weightnet: sbatch: ")
