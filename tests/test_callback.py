from pathlib import Path

import pytest
from conftest import expand
from omegaconf import DictConfig, OmegaConf
from test_load import write_run

from analysis.callback import DrawFigures


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    for config in expand(["experiment=fig1", f"outputs={tmp_path}"]):
        write_run(config, [0.9] * config.train.epochs)
    return tmp_path


def ended(outputs: Path, overrides: list[str], *, dry_run: bool = False) -> DictConfig:
    hydra = {"sweeper": {"dry_run": dry_run}, "overrides": {"task": overrides}}
    return OmegaConf.create({"hydra": hydra, "outputs": str(outputs)})


def test_a_figure_without_runs_does_not_keep_the_others_from_being_drawn(
    outputs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    DrawFigures(["fig2", "fig1"]).on_multirun_end(ended(outputs, ["experiment=paper", "dataset=mnist"]))
    assert sorted(path.name for path in (outputs / "figures").iterdir()) == ["fig1.png", "fig1.svg"]
    assert "fig2: no finished or running run" in capsys.readouterr().err


@pytest.mark.parametrize("names", [["fig2"], ["fig2", "fig4"]])
def test_no_figure_at_all_is_a_failure(outputs: Path, names: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        DrawFigures(names).on_multirun_end(ended(outputs, ["experiment=paper"]))
    assert stopped.value.code == 1
    assert "python run.py experiment=fig2" in capsys.readouterr().err


def test_a_dry_run_draws_nothing(outputs: Path) -> None:
    DrawFigures(["fig1"]).on_multirun_end(ended(outputs, [], dry_run=True))
    assert not (outputs / "figures").exists()
