"""Sweeps as a user meets them: real processes, in a copy of the project with models that misbehave."""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import ROOT, metrics
from processes import records, rows, start, sweep, wait_until

BAD_FEEDBACKS = """

import os, signal, sys, time

class BadFeedback(Feedback):
    def forward(self, weight1, weight2):
        self.deed()
        return torch.ones(self.dx)

class Raises(BadFeedback):
    def deed(self):
        raise ZeroDivisionError("by hand")

class Exits(BadFeedback):
    deed = staticmethod(lambda: sys.exit(3))

class Leaves(BadFeedback):
    deed = staticmethod(lambda: os._exit(4))

class Vanishes(BadFeedback):
    deed = staticmethod(lambda: os._exit(0))

class Crashes(BadFeedback):
    deed = staticmethod(lambda: os.kill(os.getpid(), signal.SIGSEGV))

class Killed(BadFeedback):
    deed = staticmethod(lambda: os.kill(os.getpid(), signal.SIGKILL))

class Hangs(BadFeedback):
    deed = staticmethod(lambda: time.sleep(60))
"""
BAD = ("raises", "exits", "leaves", "vanishes", "crashes", "killed", "hangs")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a copy of the project with one model for each way to fail."""
    copy = tmp_path / "project"
    copy.mkdir()
    for name in ("weightnet", "analysis", "conf", "hydra_plugins"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "run.py", copy)
    with (copy / "weightnet" / "net" / "feedback.py").open("a") as file:
        file.write(BAD_FEEDBACKS)
    with (copy / "weightnet" / "registry.py").open("a") as file:
        file.write(f'\nFEEDBACKS.update({{name: f"{{_FEEDBACK}}:{{name.capitalize()}}" for name in {BAD}}})\n')
    for name in BAD:
        (copy / "conf" / "model" / f"{name}.yaml").write_text(f"name: {name}\nfeedback: {name}\n")
    return copy


@pytest.mark.slow
def test_a_run_that_is_lost_does_not_touch_the_others(project: Path) -> None:
    done = sweep(
        project, "model=raises,exits,leaves,vanishes,crashes,killed,baseline,pool", "seed=1,2", "train.epochs=1",
        "hydra.launcher.processes=2",
    )  # fmt: skip
    assert done.returncode == 1
    states = {name: record["status"] for name, record in records(project / "outputs").items()}
    assert len(states) == 16
    for name, state in states.items():
        assert state == ("done" if "baseline" in name or "pool" in name else "failed"), name
    errors = {name.split("-")[1]: record["error"] for name, record in records(project / "outputs").items()}
    assert "ZeroDivisionError: by hand" in errors["raises"] and "Traceback" in errors["raises"]
    assert "SystemExit: 3" in errors["exits"]
    assert errors["leaves"] == "worker exited with status 4"
    assert errors["vanishes"] == "worker exited with status 0"
    assert errors["crashes"] == "worker died of SIGSEGV"
    assert errors["killed"] == "worker died of SIGKILL (out of memory?)"
    assert "12 of 16 runs failed" in done.stderr
    assert "2 x ZeroDivisionError: by hand" in done.stderr and "2 x worker died of SIGSEGV" in done.stderr
    assert (
        "hydra.launcher.processes=2 hydra.sweeper.rerun=failed" in done.stderr
        and "Traceback (most recent call last)" not in done.stderr
    )
    (folder,) = (project / "outputs" / "sweeps").iterdir()
    assert sorted(row["state"] for row in rows(folder / "summary.csv")) == ["done"] * 4 + ["failed"] * 12

    again = sweep(project, "model=raises,baseline", "seed=1,2", "train.epochs=1", "hydra.sweeper.rerun=failed")
    assert again.returncode == 1 and "2 of 2 runs failed" in again.stderr


@pytest.mark.slow
@pytest.mark.parametrize("model", ["raises", "killed"])
def test_the_command_that_a_failure_names_does_what_it_says(project: Path, model: str) -> None:
    done = sweep(project, f"model={model},baseline", "seed=1", "train.epochs=1")
    line = done.stderr.strip().splitlines()[-1]
    command = shlex.split(line.rpartition("again: ")[2])
    assert command[:2] == ["python", "run.py"], line
    again = subprocess.run([sys.executable, *command[1:]], cwd=project, capture_output=True, text=True)
    assert "1 to run" in again.stdout and "1 of 1 runs failed" in again.stderr


@pytest.mark.slow
def test_a_run_that_takes_too_long_fails(project: Path) -> None:
    done = sweep(project, "model=hangs,baseline", "train.epochs=1", "hydra.launcher.job_timeout=12")
    assert done.returncode == 1
    assert "1 x timeout: the run took longer than 12 seconds" in done.stderr
    assert sorted(record["status"] for record in records(project / "outputs").values()) == ["done", "failed"]


@pytest.mark.slow
def test_max_failures_stops_the_sweep(project: Path) -> None:
    done = sweep(
        project, "model=raises", "seed=range(1,9)", "train.epochs=1", "hydra.launcher.max_failures=2",
        "hydra.launcher.processes=1",
    )  # fmt: skip
    assert done.returncode == 1
    assert re.search(r"[23] of 8 runs failed, [56] not finished", done.stderr), done.stderr


@pytest.mark.slow
def test_a_missing_data_set_is_said_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = sweep(ROOT, "dataset=mnist", "seed=1,2", f"outputs={tmp_path}/o", f"data_root={tmp_path}/file")
    assert done.returncode == 2
    assert "2 x dataset=mnist: cannot use" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.slow
def test_other_launchers_work(tmp_path: Path) -> None:
    arguments = ("model=pool,rmp", "seed=1,2", "train.epochs=2")
    for launcher in ("local", "basic", "joblib"):
        done = sweep(ROOT, *arguments, f"outputs={tmp_path}/{launcher}", f"hydra/launcher={launcher}")
        assert done.returncode == 0, done.stderr
        (folder,) = (tmp_path / launcher / "sweeps").iterdir()
        assert [row["state"] for row in rows(folder / "summary.csv")] == ["done"] * 4
    assert metrics(tmp_path / "local") == metrics(tmp_path / "basic") == metrics(tmp_path / "joblib")


@pytest.mark.slow
def test_what_is_done_is_not_repeated_and_stale_is_on_request(project: Path) -> None:
    arguments = ("model=baseline,pool", "seed=1,2", "train.epochs=1")
    assert "4 missing; 4 to run" in sweep(project, *arguments).stdout
    before = metrics(project / "outputs")
    assert "4 done; 0 to run" in sweep(project, *arguments).stdout
    streams = project / "weightnet" / "net" / "streams.py"
    streams.write_text(streams.read_text() + "# other code\n")
    assert "4 done; 0 to run" in sweep(project, *arguments).stdout  # a comment is none
    streams.write_text(streams.read_text().replace("bound = 1 / math.sqrt(fan_in)", "bound = 1.0 / math.sqrt(fan_in)"))
    stale = sweep(project, *arguments).stdout
    assert "4 stale; 0 to run" in stale and "  4 stale: net.streams.initial changed\n" in stale
    again = sweep(project, *arguments, "hydra.sweeper.rerun=stale")
    assert "4 stale; 4 to run" in again.stdout and again.returncode == 0, again.stderr
    assert metrics(project / "outputs") == before
    assert len(list((project / "outputs" / "runs" / ".old").iterdir())) == 4
    assert "4 done; 0 to run" in sweep(project, *arguments, "hydra.sweeper.rerun=none").stdout


@pytest.mark.slow
def test_an_edit_of_the_pool_feedback_makes_pool_and_its_controls_stale(project: Path) -> None:
    arguments = ("model=baseline,pool,shuffled,bias_lr,projection", "train.epochs=2")
    assert sweep(project, *arguments).returncode == 0
    before = metrics(project / "outputs")
    feedback = project / "weightnet" / "net" / "feedback.py"
    feedback.write_text(feedback.read_text().replace("self.fill)))", "1.00 * self.fill)))"))
    shown = sweep(project, *arguments).stdout
    assert "5 runs: 2 done, 3 stale; 0 to run" in shown and "3 stale: net.feedback.PoolFeedback changed" in shown
    verified = sweep(project, *arguments, "hydra.sweeper.rerun=verify")
    assert verified.returncode == 0, verified.stderr
    assert "3 of 3 replays agree, bit for bit" in verified.stdout and "5 runs: 5 done" in verified.stdout
    assert metrics(project / "outputs") == before and "5 done; 0 to run" in sweep(project, *arguments).stdout

    feedback.write_text(feedback.read_text().replace("1.00 * self.fill)))", "1.5)))"))
    differing = sweep(project, *arguments, "hydra.sweeper.rerun=verify")
    assert differing.returncode == 1 and "0 of 3 replays agree" in differing.stdout
    assert "3 runs stay stale, their numbers differ here:" in differing.stderr
    assert re.search(r"pool-dx26-m31-n25-s1-\w{8}: metrics.csv, epoch 1: train_loss was [\d.]+, now", differing.stderr)
    assert "2 done, 3 stale; 0 to run" in sweep(project, *arguments).stdout
    feedback.write_text(feedback.read_text().replace("1.5)))", "1 / 0)))"))
    failed = sweep(project, *arguments, "hydra.sweeper.rerun=verify")
    assert failed.returncode == 1 and "0 of 0 replays agree" in failed.stdout
    assert "3 of 3 runs failed" in failed.stderr and "3 x <id> failed (ZeroDivisionError" in failed.stderr
    assert failed.stderr.rstrip().endswith("hydra.sweeper.rerun=verify")
    assert metrics(project / "outputs") == before
    refused = sweep(project, *arguments, "hydra.sweeper.rerun=verify", "hydra/launcher=joblib")
    assert refused.returncode == 2 and "rerun=verify: takes hydra/launcher=local" in refused.stderr


@pytest.mark.slow
def test_a_dry_run_runs_nothing(tmp_path: Path) -> None:
    done = sweep(
        ROOT, "model=baseline,pool,rmp", "dims.m=31,62", "hydra.sweeper.dry_run=true", f"outputs={tmp_path}/outputs"
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    heads = "id differs in state runs parameters dx dw/dx |me|^2 filler map time"
    assert lines[0].split() == heads.split()
    assert sum(line.startswith("digits-") for line in lines) == 4
    assert "4 runs: 4 missing, 2 of the combinations equal to another; 4 to run" in done.stdout
    assert "nothing was run" in done.stdout and not (tmp_path / "outputs").exists()
    figure = sweep(ROOT, "experiment=demo", "hydra.sweeper.dry_run=true", f"outputs={tmp_path}/outputs")
    assert figure.returncode == 0 and "9 runs: 9 missing; 9 to run" in figure.stdout, figure.stderr


@pytest.mark.slow
def test_runs_are_executed_seed_by_seed(tmp_path: Path) -> None:
    words = ["train.epochs=1", "hydra.launcher.processes=1", f"outputs={tmp_path}"]
    first = sweep(ROOT, "model=baseline", "seed=3", *words)
    assert first.returncode == 0, first.stderr
    done = sweep(ROOT, "model=baseline,pool", "seed=3,1", *words)
    assert re.findall(r"digits-(\w+)[\w-]*-s(\d)-\w+: done", done.stdout)[0] == ("pool", "3"), done.stderr
    assert re.findall(r"-s(\d)-\w+: done", done.stdout) == ["3", "1", "1"]


@pytest.mark.slow
def test_axes_of_a_model_apply_to_that_model_only(project: Path) -> None:
    done = sweep(
        project, "model=pool,projection", "dims.m=31,62", "model.kind=sparse,dense", "hydra.sweeper.dry_run=true"
    )
    assert done.returncode == 0, done.stderr
    found = sorted(re.findall(r"^digits-([\w-]+)-s1-", done.stdout, flags=re.MULTILINE))
    assert found == ["pool-dx26-m31-n25", "pool-dx26-m62-n25", "projection-dense-dx26", "projection-sparse-dx26"]


@pytest.mark.slow
def test_ctrl_c_twice_stops_now(project: Path) -> None:
    process = start(project, "model=hangs", "seed=1,2", "train.epochs=1", "hydra.launcher.processes=2")
    wait_until(lambda: len(records(project / "outputs")) == 2)
    os.killpg(process.pid, signal.SIGINT)
    time.sleep(1)
    assert process.poll() is None
    begin = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == 130 and time.monotonic() - begin < 20
