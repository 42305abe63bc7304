from pathlib import Path

import pytest
from conftest import expand
from test_load import write_run

from analysis.__main__ import main


@pytest.fixture
def outputs(tmp_path: Path) -> str:
    for config in expand(["experiment=fig1", "seed=1,2,3", f"outputs={tmp_path}"]):
        write_run(config, [0.9] * config.train.epochs)
    return str(tmp_path)


def test_names_and_overrides_may_stand_before_and_after_flags(outputs: str, capsys: pytest.CaptureFixture[str]) -> None:
    tables = set()
    for words in (
        ["fig1", "seed=1,2", "--markdown", "--outputs", outputs],
        ["--markdown", "--outputs", outputs, "fig1", "seed=1,2"],
        ["fig1", "--markdown", "seed=1,2", "--outputs", outputs],
        ["fig1", "seed=1,2", f"outputs={outputs}", "--markdown"],  # as run.py takes it
    ):
        main(["table", *words])
        tables.add(capsys.readouterr().out)
    (table,) = tables
    assert table.count("| 2 ") == 2


def test_no_runs_at_all(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["table", "--outputs", str(tmp_path)])
    assert capsys.readouterr().out.strip() == "no finished runs"


def test_differences_while_nothing_has_finished(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for config in expand(["experiment=fig1", "seed=1,2", f"outputs={tmp_path}"]):
        write_run(config, [0.9], status="running")
    main(["table", "fig1", "--reference=pool", "--outputs", str(tmp_path)])
    assert capsys.readouterr().out.strip() == "no finished runs"


def test_an_experiment_without_runs_names_the_command_that_makes_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["figures", "fig1", "seed=1,2", f"outputs={tmp_path}"])
    command = f"python run.py experiment=fig1 seed=1,2 outputs={tmp_path}\n"
    assert capsys.readouterr().err.endswith(f"in {tmp_path}/runs; run it with: {command}")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["table", "fig1", "--markdwon"], "unrecognized arguments: --markdwon"),
        (["status", "fig1"], "unrecognized arguments: fig1"),
        (["table", "fig1", "--reference=pool", "--margin=0"], "--margin=0: must be greater than 0"),
        (["figures", "--reference=pool"], "--reference=pool: name the experiment"),
        (["report", "--reference=pool"], "--reference=pool: name the experiment"),
        (["table", "fig1", "fig1", "--reference=pool"], "--reference=pool: name one experiment"),
        (["figures", "fig1", "--reference=rmp"], "models of fig1: baseline, pool"),
    ],
)
def test_mistakes(words: list[str], message: str, outputs: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([*words, "--outputs", outputs])
    assert stopped.value.code == 2
    errors = capsys.readouterr().err
    assert message in errors and "Traceback" not in errors
