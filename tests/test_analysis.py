import json
import shlex
from pathlib import Path

import pytest
from conftest import expand
from test_load import write_run
from test_sweeps import finish, write_sweep

from analysis.__main__ import main
from weightnet.identity import run_folder


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
    assert [line.split("|")[-2].strip() for line in table.splitlines()[2:]] == ["2", "2"]  # n


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
    command = f"python run.py -m experiment=fig1 seed=1,2 outputs={tmp_path}\n"
    assert capsys.readouterr().err.endswith(f"in {tmp_path}/runs; run it with: {command}")


def test_an_experiment_that_was_run_on_another_data_set_is_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["experiment=filler", "dataset=digits", "train.epochs=5", "seed=1,2"]
    _, configs = write_sweep(tmp_path, *asked)
    finish(configs)
    with pytest.raises(SystemExit) as stopped:
        main(["table", "filler", "--outputs", str(tmp_path)])
    (line,) = capsys.readouterr().err.splitlines()
    assert stopped.value.code == 1 and f"in {tmp_path}/runs (those are of digits, not cifar); run it with: " in line
    command = line.partition("; what has been run of it: python -m analysis ")[2]
    main(shlex.split(command))
    table = capsys.readouterr().out
    assert table.count("digits") == 7 and "cifar" not in table
    for config in configs:
        record = json.loads((run_folder(config) / "run.json").read_text())
        (run_folder(config) / "run.json").write_text(json.dumps(record | {"status": "failed"}))
    with pytest.raises(SystemExit):
        main(["table", "filler", "--outputs", str(tmp_path)])
    assert "what has been run" not in capsys.readouterr().err


def test_the_command_that_runs_an_experiment_is_one_that_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "yaml" / "experiment").mkdir(parents=True)
    (tmp_path / "yaml" / "experiment" / "one.yaml").write_text("# @package _global_\ntrain:\n  epochs: 1\n")
    for words, command in (
        ([], f"experiment=one outputs={tmp_path}\n"),
        (["seed=1,2"], f"-m experiment=one seed=1,2 outputs={tmp_path}\n"),
    ):
        with pytest.raises(SystemExit):
            main(["table", "one", *words, f"--config-dir={tmp_path}/yaml", f"outputs={tmp_path}"])
        assert capsys.readouterr().err.endswith(f"python run.py --config-dir={tmp_path}/yaml {command}")


def test_overrides_alone_select_exactly_the_runs_that_they_would_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    finish(expand(["model=baseline,pool", "dataset=digits,mnist", "seed=1,2", f"outputs={tmp_path}"]))
    main(["table", "model=baseline", "dataset=digits", f"outputs={tmp_path}", "--csv"])
    _, row = capsys.readouterr().out.splitlines()
    assert row.startswith("digits,baseline,") and row.endswith(",1")
    main(["table", "model=baseline", "dataset=digits", "seed=2,3", f"outputs={tmp_path}", "--csv"])
    shown = capsys.readouterr()
    assert shown.out.splitlines()[1].endswith(",1")
    (line,) = [line for line in shown.err.splitlines() if "without a result" in line]
    assert "1 of 2 runs without a result (1 missing): digits-baseline-s3-" in line
    assert line.endswith(f"run them with: python run.py -m model=baseline dataset=digits seed=2,3 outputs={tmp_path}")
    with pytest.raises(SystemExit) as stopped:
        main(["figures", "model=rmp", "dataset=digits", f"outputs={tmp_path}"])
    assert stopped.value.code == 1 and "run it with: python run.py -m model=rmp" in capsys.readouterr().err


def test_without_a_name_the_last_sweep_is_looked_at(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, before = write_sweep(tmp_path, "model=rmp", "dataset=digits", name="2026-11-24_10-00-00")
    folder, configs = write_sweep(tmp_path, "model=baseline,pool", "dataset=digits")
    finish([*before, *configs])
    main(["table", f"outputs={tmp_path}", "--csv"])
    assert len(capsys.readouterr().out.splitlines()) == 3  # not the sweep before
    main(["figures", f"outputs={tmp_path}"])
    main(["report", f"outputs={tmp_path}"])
    assert {"figure.png", "table.md", "report.html"} <= {path.name for path in folder.iterdir()}
    report = (folder / "report.html").read_text()
    assert "python run.py -m model=baseline,pool dataset=digits" in report and "analysis report model=base" in report


@pytest.mark.parametrize("command", ["figures", "report"])
def test_where_there_is_no_sweep_experiments_that_have_runs_are_named(
    command: str, outputs: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([command, "--outputs", outputs])
    (line,) = capsys.readouterr().err.splitlines()
    having = "controlled, fig1, fig3, kernels, projections"  # all have the same baseline
    assert stopped.value.code == 1
    assert line == f"weightnet: no sweep in {outputs}/sweeps; experiments that have runs: {having}"
    (tmp_path / "nothing").mkdir()
    with pytest.raises(SystemExit):
        main([command, "--outputs", str(tmp_path / "nothing")])
    assert capsys.readouterr().err.strip().endswith("no experiment has runs either")


def test_of_the_figures_of_an_experiment_those_without_runs_are_left_out(
    outputs: str, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["figures", "paper", "--outputs", outputs])
    shown = capsys.readouterr()
    assert "figures/fig1.png" in shown.out and "figures/fig3.png" in shown.out and "fig2.png" not in shown.out
    assert "fig2: no finished or running run of it" in shown.err


def test_experiments_of_ones_own(outputs: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "yaml" / "experiment").mkdir(parents=True)
    own = "# @package _global_\nhydra:\n  sweeper:\n    params:\n      model: pool,rmp\n"
    (tmp_path / "yaml" / "experiment" / "own.yaml").write_text(own)
    (tmp_path / "yaml" / "experiment" / "bad.yaml").write_text("a: [1")
    main(["table", "own", "--config-dir", str(tmp_path / "yaml"), "--outputs", outputs, "--csv"])
    shown = capsys.readouterr()
    assert len(shown.out.splitlines()) == 2
    assert "own: 1 of 2 runs without a result: 'random projection' 1; run them with: python run.py" in shown.err
    assert "experiment=bad is broken" in shown.err and "Traceback" not in shown.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["table", "fig1", "--markdwon"], "unrecognized arguments: --markdwon"),
        (["status", "outputs="], "--outputs=: there is no such folder"),
        (["status", "fig1"], "unrecognized arguments: fig1"),
        (["table", "fig1", "--reference=pool", "--margin=0"], "--margin=0: must be greater than 0"),
        (["figures", "--reference=pool"], "--reference=pool: name the experiment"),
        (["report", "--reference=pool"], "--reference=pool: name the experiment"),
        (["table", "fig1", "fig1", "--reference=pool"], "--reference=pool: name one experiment"),
        (["figures", "fig1", "--outcome=f1"], "outcome f1:last: no run has this metric. There are accuracy, test_loss"),
        (
            ["table", "fig1", "--outcome=acuracy"],
            "outcome acuracy:last: no run has this metric; did you mean accuracy?",
        ),
        (
            ["table", "fig1", "--reference=poool"],
            "no arm is of that model; did you mean pool? There are baseline, pool",
        ),
        (["table", "model=my_feedback.py"], "must name the class, too: model=my_feedback.py:MyFeedback"),
        (["table", "model=filler"], "model=filler: is an experiment: experiment=filler"),
        (
            ["figures", "fig1", "--x=train.lr"],
            "--x=train.lr: must be a number that varies in these runs; there are dims.hidden",
        ),
        (["figures", "fig9"], "experiment=fig9: there is no such experiment; did you mean fig"),
        (["table", "model=pol"], "model=pol: there is no such model; did you mean pool?"),
        (["table", "train.lr=-1", "dataset=digits"], "train.lr=-1"),
        (["table", "--config-dir=/nowhere", "fig1"], "--config-dir=/nowhere: there is no such folder"),
        (["figures", "fig1", "--reference=rmp"], "fig1: no arm is of that model. There are baseline, pool"),
    ],
)
def test_mistakes(words: list[str], message: str, outputs: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([*words, "--outputs", outputs])
    assert stopped.value.code == 2
    errors = capsys.readouterr().err
    assert message in errors and "usage:" not in errors and "Traceback" not in errors


def test_a_folder_in_place_of_a_picture_is_named(outputs: str, capsys: pytest.CaptureFixture[str]) -> None:
    picture = Path(outputs, "figures", "fig1.png")
    picture.mkdir(parents=True)
    with pytest.raises(SystemExit) as stopped:
        main(["figures", "fig1", "--outputs", outputs])
    assert stopped.value.code == 1
    assert capsys.readouterr().err.splitlines()[-1] == f"weightnet: cannot use {picture} (is a folder)"
