"""From outside the package: a newcomer's empty folder, its own code and YAML, whatever launches the runs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import MEAN, ROOT


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "my_feedback.py").write_text(MEAN)
    for name, text in {
        "model/mean.yaml": "name: mean\nfeedback: my_feedback.py:MeanFeedback\nparams: {gain: 2.0}\n",
        "experiment/mine.yaml": "# @package _global_\ndefaults:\n  - override /dataset: digits\ntrain: {epochs: 1}\n",
    }.items():
        (tmp_path / "conf" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "conf" / name).write_text(text)
    return tmp_path


def weightnet(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "weightnet", *words]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def accuracies(folder: Path) -> dict[str, str]:
    return {
        run.name: (run / "metrics.csv").read_text().split(",")[9] for run in (folder / "outputs/runs").glob("[!.]*")
    }


@pytest.mark.slow
def test_own_yaml_and_code_are_found_by_workers_and_other_launchers(folder: Path) -> None:
    sweep = ["-m", "experiment=mine", "model=baseline,mean,my_feedback.py:MeanFeedback", "train.lr=0.03,0.1"]
    done = weightnet(folder, *sweep)
    assert done.returncode == 0, done.stderr
    runs = accuracies(folder)
    assert len(runs) == 6 and sum("mean-gain2.0" in run for run in runs) == 2
    again = weightnet(folder, *sweep)
    assert "6 runs: 6 done; 0 to run" in again.stdout
    other = weightnet(folder, *sweep, "hydra/launcher=joblib", "outputs=other/outputs")
    assert other.returncode == 0, other.stderr
    assert accuracies(folder / "other") == runs

    with (folder / "my_feedback.py").open("a") as file:
        file.write("\n\nUNUSED = 3\n")
    edited = weightnet(folder, *sweep)
    assert "6 runs: 2 done, 4 stale; 0 to run" in edited.stdout and "4 stale: my_feedback.py changed" in edited.stdout
    verified = weightnet(folder, *sweep, "hydra.sweeper.rerun=verify")
    assert "4 of 4 replays agree" in verified.stdout


@pytest.mark.slow
def test_a_folder_of_yaml_may_be_named(folder: Path, tmp_path: Path) -> None:
    (folder / "conf").rename(folder / "yaml")
    for how in (["--config-dir", "yaml"], ["hydra.searchpath=[file://yaml]"]):
        done = weightnet(folder, "-m", *how, "experiment=mine", "model=mean,baseline", "hydra.sweeper.dry_run=true")
        assert "2 runs: 2 missing" in done.stdout, done.stderr
    gone = weightnet(folder, "experiment=mine")
    assert gone.returncode == 2 and "experiment=mine: there is no such experiment" in gone.stderr


@pytest.mark.slow
def test_a_file_that_ours_hides_is_named(folder: Path) -> None:
    (folder / "conf" / "model" / "pool.yaml").write_text("name: pool\nfeedback: none\n")
    done = weightnet(folder, "dataset=digits", "train.epochs=1", "train.subset=64")
    assert done.returncode == 0 and done.stderr.count("pool.yaml is not read: weightnet has a model=pool") == 1


@pytest.mark.slow
def test_a_run_that_fails_in_its_own_code_says_where(folder: Path) -> None:
    """What a trial cannot find: it breaks later."""
    (folder / "late.py").write_text(
        MEAN.replace("MeanFeedback", "Late")
        .replace("return", "if self.training:\n            1 / 0\n        return")
        .replace("super().__init__()", "super().__init__()\n        self.eval()")
    )
    done = weightnet(folder, "-m", "model=baseline,late.py:Late", "dataset=digits", "train.epochs=1")
    assert done.returncode == 1 and "ZeroDivisionError: division by zero" in done.stderr
    states = [json.loads(path.read_text())["status"] for path in (folder / "outputs/runs").glob("*/run.json")]
    assert sorted(states) == ["done", "failed"]
