from pathlib import Path

import pandas as pd
import pytest
from conftest import expand
from test_load import add_own, write_run

from analysis.__main__ import main
from analysis.experiments import load_experiment
from analysis.load import load_runs
from analysis.metrics import ACCURACY, find_metric
from analysis.study import Options, Study, gather
from analysis.tables import final_table, to_csv, to_text
from weightnet.errors import UserError


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    """Write runs of figure 1 in which pool has the smaller losses and the greater own metric."""
    for config in expand(["experiment=fig1", "seed=1,2,3,4,5,6", "train.epochs=2", f"outputs={tmp_path}"]):
        folder, more = write_run(config, [0.9, 0.9]), config.model.name == "pool"
        metrics = pd.read_csv(folder / "metrics.csv")
        metrics["test_loss"] = 0.5 - 0.1 * more + 0.001 * config.seed
        metrics.to_csv(folder / "metrics.csv", index=False)
        add_own(folder, f1=[0.1, 0.5 + 0.25 * more + 0.001 * config.seed])
    return tmp_path


def study(outputs: Path, **options: object) -> Study:
    experiment = load_experiment("fig1", ["train.epochs=2"])
    return gather(experiment, load_runs(outputs), Options(**options))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("metric", "difference", "verdict", "improvement"),
    [("test_loss", -0.1, "better", 1), ("f1", 0.25, "higher", 1), ("accuracy", 0, "equivalent", 0.5)],
)
def test_a_comparison_knows_which_way_is_better(
    outputs: Path, metric: str, difference: float, verdict: str, improvement: float
) -> None:
    table = study(outputs, metric=metric).differences
    assert table is not None
    row = table.iloc[0]
    assert row["difference"] == pytest.approx(difference) and row["verdict"] == verdict
    assert row["improvement"] == improvement


def test_without_a_margin_a_table_has_no_test_of_equivalence(outputs: Path) -> None:
    for options, there in (({"metric": "f1"}, False), ({"metric": "f1", "margin": 0.5}, True), ({}, True)):
        looked = study(outputs, **options)
        assert looked.differences is not None
        text = to_text(looked.differences, looked.metric)
        assert ("p (TOST)" in text) == ("more seeds" in text) == there
    assert study(outputs, metric="f1", margin=0.5).differences["verdict"].tolist() == ["equivalent"]  # type: ignore[index]


def test_a_table_is_of_the_metric(outputs: Path) -> None:
    looked = study(outputs, metric="f1")
    text, table = (
        to_text(final_table(looked.runs, looked.metric), looked.metric),
        final_table(looked.runs, looked.metric),
    )
    assert "f1" in text and "0.7535" in text and "accuracy" not in text
    assert to_csv(table, looked.metric).splitlines()[0].split(",")[-4:] == ["f1", "95% low", "95% high", "n (seeds)"]
    loss = study(outputs, metric="test_loss")
    assert "test loss" in to_text(final_table(loss.runs, loss.metric), loss.metric)


def test_a_metric_that_no_run_has(outputs: Path) -> None:
    with pytest.raises(UserError, match="--metric=f2: no run has it; there are accuracy, test_loss, train_loss, f1"):
        study(outputs, metric="f2")
    assert find_metric("test_accuracy", pd.DataFrame(), []) == ACCURACY


def test_runs_without_the_metric_do_not_count(outputs: Path) -> None:
    (config,) = expand(["experiment=fig1", "model=pool", "seed=7", "train.epochs=2", f"outputs={outputs}"])
    write_run(config, [0.9, 0.9])
    looked = study(outputs, metric="f1")
    assert final_table(looked.runs, looked.metric)["n"].tolist() == [6, 6]


def test_figures_of_another_metric_leave_those_of_the_accuracy_alone(outputs: Path) -> None:
    for words in ([], ["--metric=f1", "--data"], ["--metric=test_loss"]):
        main(["figures", "fig1", "train.epochs=2", f"outputs={outputs}", *words])
    names = {path.name for path in (outputs / "figures").glob("*.png")}
    stem = "fig1-train.epochs=2"
    assert names == {f"{stem}{metric}{what}.png" for metric in ("", "-f1", "-test_loss")
                     for what in ("", "-final", "-differences")}  # fmt: skip
    shown = pd.read_csv(outputs / "figures" / f"{stem}-f1.csv")
    assert shown.loc[shown["epoch"] == 1, "mean"].tolist() == pytest.approx([0.1, 0.1])


def test_intervals_end_where_the_possible_does() -> None:
    rows = pd.DataFrame({"arm": ["a"] * 3, "accuracy": [99.0, 100, 100], "test_loss": [0.0, 0.01, 0.1]})
    assert ACCURACY.summary(rows, ["arm"])["high"].tolist() == [100]
    assert find_metric("test_loss", rows, []).summary(rows, ["arm"])["low"].tolist() == [0]
