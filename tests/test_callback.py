import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT
from omegaconf import DictConfig, OmegaConf
from test_load import write_run
from test_sweeps import finish, write_sweep

from analysis.callback import DrawFigures


def ended(folder: Path, *, dry_run: bool = False) -> DictConfig:
    hydra = {"sweeper": {"dry_run": dry_run}, "sweep": {"dir": str(folder)}}
    return OmegaConf.create({"hydra": hydra, "outputs": str(folder.parents[1])})


def test_a_figure_without_runs_does_not_keep_the_others_from_being_drawn(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, configs = write_sweep(tmp_path, "experiment=paper", "dataset=mnist", "model=baseline,pool")
    finish(configs)
    DrawFigures(["fig2", "fig1"]).on_multirun_end(ended(folder))
    assert sorted(path.name for path in (tmp_path / "figures").iterdir()) == ["fig1.png", "fig1.svg"]
    assert "fig2: no finished or running run" in capsys.readouterr().err


@pytest.mark.parametrize("names", [[], ["fig2"], ["fig2", "fig4"]])
def test_no_result_at_all_is_said_and_is_no_failure_of_its_own(
    tmp_path: Path, names: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, configs = write_sweep(tmp_path, "experiment=paper", "dataset=mnist")
    write_run(configs[0], [], status="failed", error="ZeroDivisionError: by hand")
    DrawFigures(names).on_multirun_end(ended(folder))
    errors = capsys.readouterr().err
    assert "no picture: " in errors and "Traceback" not in errors
    assert not (tmp_path / "figures").exists()


def test_runs_that_cannot_be_compared_are_said_in_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, (first, second) = write_sweep(tmp_path, "model=pool", "dataset=digits", "seed=1,2")
    write_run(first, [0.9] * first.train.epochs)
    write_run(second, [0.9] * second.train.epochs, code="beef")
    DrawFigures().on_multirun_end(ended(folder))
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("no picture: these runs differ in code c0de (1 run), beef (1 run)")


def test_a_disk_that_is_full_is_said_in_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, content: bytes) -> None:
        raise OSError(28, "No space left on device", str(path))

    folder, configs = write_sweep(tmp_path, "model=pool", "dataset=digits")
    finish(configs)
    monkeypatch.setattr("analysis.figures.write_whole", full)
    DrawFigures().on_multirun_end(ended(folder))
    errors = capsys.readouterr().err
    assert "no picture: [Errno 28] No space left on device" in errors and "Traceback" not in errors


@pytest.mark.slow
def test_a_sweep_ends_without_a_word_of_matplotlibs(tmp_path: Path) -> None:
    command = [sys.executable, "run.py", "-m", "dataset=digits", "model=baseline", "train.epochs=1", "train.subset=64"]
    fresh = os.environ | {"MPLCONFIGDIR": str(tmp_path / "matplotlib")}
    done = subprocess.run([*command, f"outputs={tmp_path}"], cwd=ROOT, env=fresh, capture_output=True, text=True)
    assert done.returncode == 0 and list((tmp_path / "matplotlib").glob("fontlist*")), done.stderr
    assert done.stdout.splitlines()[-1].startswith("figure: ") and "fontManager" not in done.stdout + done.stderr


def test_a_dry_run_draws_nothing(tmp_path: Path) -> None:
    folder, configs = write_sweep(tmp_path, "model=pool", "dataset=digits")
    finish(configs)
    before = set(folder.iterdir())
    DrawFigures().on_multirun_end(ended(folder, dry_run=True))
    DrawFigures().on_multirun_end(ended(tmp_path / "sweeps" / "nowhere"))  # a sweep that could not begin
    assert set(folder.iterdir()) == before


def test_a_primary_outcome_that_is_none_is_a_mistake_before_anything_runs(capsys: pytest.CaptureFixture[str]) -> None:
    DrawFigures().on_multirun_start(OmegaConf.create({"analysis": {"primary": "accuracy:mean:1-5"}}))
    with pytest.raises(SystemExit) as stopped:
        DrawFigures().on_multirun_start(OmegaConf.create({"analysis": {"primary": "mean:ten"}}))
    assert stopped.value.code == 2
    assert "analysis.primary=mean:ten: must be METRIC:last" in capsys.readouterr().err
