import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from conftest import expand
from test_load import LEASES, add_own, write_run
from tracker_readers import found

from analysis import export
from analysis.__main__ import main
from weightnet.config import Config
from weightnet.identity import run_folder
from weightnet.runs.lease import Lease

MakeConfig = Callable[..., Config]
NEEDS = {"csv": "pandas", "parquet": "pyarrow", "tensorboard": "tensorboard", "mlflow": "mlflow", "wandb": "wandb"}


THEIR_OWN = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of MLflow, in how it uses SQLAlchemy


@pytest.fixture(params=[pytest.param(kind, marks=THEIR_OWN if kind == "mlflow" else ()) for kind in NEEDS])
def kind(request: pytest.FixtureRequest) -> str:
    pytest.importorskip(NEEDS[request.param], reason=f"needs the extra '{request.param}'")
    return str(request.param)


@pytest.fixture
def outputs(make_config: MakeConfig, tmp_path: Path) -> Path:
    write_run(make_config(model="baseline", seed=1), [0.5, 0.75])
    write_run(make_config(model="baseline", seed=2), [0.25], status="running")
    return tmp_path / "outputs"


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Callable[..., list[str]]:
    """Return what does an export, and returns what it says on stdout."""

    def exported(kind: str, outputs: Path, *words: str) -> list[str]:
        main(["export", "--to", kind, "--outputs", str(outputs), *words])
        return capsys.readouterr().out.splitlines()

    return exported


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file() and "debug" not in path.name}


def end() -> None:
    """Let the processes of the runs end."""
    while LEASES:
        LEASES.pop().release()


def test_what_has_not_changed_is_not_touched(outputs: Path, kind: str, said: Callable[..., list[str]]) -> None:
    first, second = sorted(path.name for path in (outputs / "runs").glob("[!.]*"))
    assert said(kind, outputs)[0] == "2 runs, 3 epochs: 2 new"
    before = contents(outputs / "export")
    expected = {first: ("done", {1: 50, 2: 75}), second: ("running", {1: 25})}
    assert found(kind, outputs) == expected
    assert said(kind, outputs)[0] == "2 runs, 3 epochs: 2 as before"
    assert found(kind, outputs) == expected
    assert contents(outputs / "export") == before or kind == "mlflow"  # whose database knows when it was asked


def test_a_run_that_has_grown_gets_its_new_epochs_once(
    make_config: MakeConfig, tmp_path: Path, kind: str, said: Callable[..., list[str]]
) -> None:
    config, outputs = make_config(model="baseline", epochs=3), tmp_path / "outputs"
    for accuracies, says in (([], "1 new"), ([0.5], "1 grown"), ([0.5, 0.75], "1 grown")):
        end()
        shutil.rmtree(run_folder(config), ignore_errors=True)
        folder = write_run(config, accuracies, status="running")
        assert said(kind, outputs)[0].endswith(says)
        curve = {epoch: 100 * value for epoch, value in enumerate(accuracies, start=1)}
        assert found(kind, outputs) == {folder.name: ("running", curve)}
    end()
    assert said(kind, outputs)[0] == "1 run, 2 epochs: 1 changed"
    assert found(kind, outputs) == {folder.name: ("interrupted", {1: 50, 2: 75})}


def test_a_run_that_was_executed_anew_is_replaced(
    make_config: MakeConfig, tmp_path: Path, kind: str, said: Callable[..., list[str]]
) -> None:
    config, outputs = make_config(model="baseline"), tmp_path / "outputs"
    write_run(config, [0.5, 0.75])
    said(kind, outputs)
    shutil.rmtree(run_folder(config))
    folder = write_run(config, [0.25], status="failed", error="x\nNo: luck", started="2026-11-24T10:00:00+00:00")
    assert said(kind, outputs)[0] == "1 run, 1 epoch: 1 replaced"
    assert found(kind, outputs) == {folder.name: ("failed", {1: 25})}


def test_a_run_that_diverged_says_so(
    make_config: MakeConfig, tmp_path: Path, kind: str, said: Callable[..., list[str]]
) -> None:
    folder = write_run(make_config(model="baseline"), [0.5, 0.1])
    metrics = folder / "metrics.csv"
    metrics.write_text(metrics.read_text().replace("46,0.5", "46,nan"))
    assert said(kind, tmp_path / "outputs")[0] == "1 run, 2 epochs: 1 new"
    ((state, curve),) = found(kind, tmp_path / "outputs").values()
    assert state == "diverged" and curve == {1: 50, 2: 10}


def test_a_damaged_run_is_named_and_left_out(
    outputs: Path, make_config: MakeConfig, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = run_folder(make_config(model="baseline", seed=1))
    (folder / "metrics.csv").write_text("half a fi")
    main(["export", "--to", kind, "--outputs", str(outputs)])
    text = capsys.readouterr()
    assert text.out.startswith("1 run, 1 epoch: 1 new") and f"skipped {folder}: " in text.err
    assert list(found(kind, outputs)) == [run_folder(make_config(model="baseline", seed=2)).name]


def test_names_in_a_file_are_no_paths(
    make_config: MakeConfig, tmp_path: Path, kind: str, said: Callable[..., list[str]]
) -> None:
    add_own(
        write_run(make_config(model="baseline"), [0.5, 0.75]),
        **{"../../../x": [1, 2], "..": [3, 4], "é:\t": [5, 6]},
    )
    assert said(kind, tmp_path / "outputs")[0] == "1 run, 2 epochs: 1 new"
    assert [path.name for path in tmp_path.iterdir()] == ["outputs"]
    assert {path.name for path in (tmp_path / "outputs").iterdir()} == {"runs", "export"}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["tensorboard", pytest.param("mlflow", marks=THEIR_OWN), "wandb"], indirect=True)
def test_pictures_go_along(tmp_path: Path, kind: str, said: Callable[..., list[str]]) -> None:
    words = ["model=baseline,pool", "dataset=digits", "train.epochs=2", "seed=1,2"]
    for config in expand([*words, f"outputs={tmp_path}"]):
        write_run(config, [0.5, 0.6 + 0.1 * config.seed])
    assert said(kind, tmp_path, *words)[0] == "4 runs, 8 epochs: 4 new"
    before = contents(tmp_path / "export")
    inside = [path for path, content in before.items() for _ in range(content.count(b"\x89PNG\r"))]
    assert len(inside) == 3  # the curves, every seed's outcome, the differences
    if kind == "mlflow":
        assert sorted(Path(path).name for path in inside) == [
            "figure-differences.png",
            "figure-final.png",
            "figure.png",
        ]
    assert said(kind, tmp_path, *words)[0] == "4 runs, 8 epochs: 4 as before"
    assert contents(tmp_path / "export") == before or kind == "mlflow"


def test_tables_are_tidy(outputs: Path, said: Callable[..., list[str]], make_config: MakeConfig) -> None:
    said("csv", outputs)
    runs, epochs = (pd.read_csv(outputs / "export" / "csv" / f"{name}.csv") for name in ("runs", "epochs"))
    assert runs["run"].is_unique and not epochs.duplicated(["run", "epoch"]).any()
    merged = epochs.merge(runs, on="run", suffixes=("", "_of_the_last"))
    assert merged["seed"].tolist() == [1, 1, 2] and merged["test_accuracy"].tolist() == [0.5, 0.75, 0.25]
    config = asdict(make_config(model="baseline"))["train"]
    assert {f"train.{key}" for key in config} | {"label", "experiment", "code"} <= set(runs)
    assert runs["label"].tolist() == ["without feedback"] * 2


def test_runs_of_other_seeds_than_planned_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for config in expand(["experiment=demo", "seed=3,4", f"outputs={tmp_path}"]):
        write_run(config, [0.9] * 15)
    main(["export", "--to", "csv", "--outputs", str(tmp_path), "demo"])
    shown = capsys.readouterr()
    assert shown.out.startswith("3 runs, 45 epochs")
    assert "demo: 3 runs of other seeds than it plans left out; with them: 'seed=range(1,5)'" in shown.err


@pytest.mark.parametrize("kind", ["parquet", "tensorboard", "mlflow", "wandb"])
def test_without_its_library_a_tracker_is_refused(
    outputs: Path, kind: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [NEEDS[kind], *(name for name in sys.modules if name.startswith(f"{NEEDS[kind]}."))]:
        monkeypatch.setitem(sys.modules, name, None)
    assert f"pip install 'weightnet[{kind}]'" in refused(outputs, capsys, "--to", kind)
    assert not (outputs / "export").exists()


def refused(outputs: Path, capsys: pytest.CaptureFixture[str], *words: str, status: int = 2) -> str:
    with pytest.raises(SystemExit) as stopped:
        main(["export", "--outputs", str(outputs), *words])
    (line,) = capsys.readouterr().err.splitlines()
    assert stopped.value.code == status and line.startswith("weightnet: ")
    return line


def test_refusals(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "invalid choice: 'aim'" in refused(outputs, capsys, "--to", "aim")
    mine = outputs / "runs.csv"
    mine.write_text("mine,yours\n1,2\n")
    assert "is no folder" in refused(outputs, capsys, "--to", "csv", "--into", str(mine))
    assert "runs.csv is there, and no export" in refused(outputs, capsys, "--to", "csv", "--into", str(outputs))
    assert mine.read_text() == "mine,yours\n1,2\n"
    with Lease(outputs / ".lock"):
        assert "another export writes there" in refused(outputs, capsys, "--to", "csv", "--into", str(outputs))
    shutil.rmtree(outputs / "runs")
    assert "no run to export" in refused(outputs, capsys, "--to", "csv", status=1)


@pytest.mark.parametrize("ends", ["the sweep's summary", "a minute of silence"])
def test_watching_ends_when_nothing_runs(
    outputs: Path, ends: str, said: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = sorted(path.name for path in (outputs / "runs").glob("[!.]*"))
    sweep = outputs / "sweeps" / "now"
    if ends == "the sweep's summary":
        sweep.mkdir(parents=True)
        asked: dict[str, Any] = {"command": "run.py -m seed=1,2", "overrides": ["seed=1,2"], "axes": [["seed"]]}
        (sweep / "sweep.json").write_text(json.dumps(asked))
        (sweep / "plan.csv").write_text("\n".join(["id,arm", *(f"{run}," for run in runs)]) + "\n")
    naps: list[float] = []
    (outputs / "runs").rename(outputs / "later")

    def nap(seconds: float) -> None:
        naps.append(seconds)
        if len(naps) == 1:
            (outputs / "later").rename(outputs / "runs")
        if len(naps) == 3:
            end()
        if len(naps) == 5 and sweep.exists():
            (sweep / "summary.csv").write_text("id\n")

    monkeypatch.setattr("time.sleep", nap)
    *lines, last = said("csv", outputs, "--watch")
    whole = [f"2 runs, 3 epochs: {what}" for what in ("2 new", "2 as before", "1 changed, 1 as before")]
    assert lines == ["0 runs, 0 epochs: nothing yet", *whole]
    assert last.startswith("nothing runs any more; ")
    assert sum(naps) == 5 * export.EVERY if sweep.exists() else sum(naps) > export.QUIET
    assert found("csv", outputs)[runs[1]][0] == "interrupted"


def test_watching_ends_with_ctrl_c(
    outputs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def nap(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("time.sleep", nap)
    assert "interrupted" in refused(outputs, capsys, "--to", "csv", "--watch", status=130)
    assert len(found("csv", outputs)) == 2
