import math
from pathlib import Path

import pandas as pd
import pytest
from conftest import expand
from test_load import add_own, write_run

from analysis.__main__ import main
from analysis.experiments import load_experiment
from analysis.load import load_runs
from analysis.metrics import ACCURACY, DEFAULT, Outcome, read_outcome
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
    ("outcome", "difference", "verdict", "improvement"),
    [("test_loss", -0.1, "better", 1), ("f1", 0.25, "higher", 1), ("accuracy", 0, "equivalent", 0.5)],
)
def test_a_comparison_knows_which_way_is_better(
    outputs: Path, outcome: str, difference: float, verdict: str, improvement: float
) -> None:
    table = study(outputs, outcome=outcome).differences
    assert table is not None
    row = table.iloc[0]
    assert row["difference"] == pytest.approx(difference) and row["verdict"] == verdict
    assert row["improvement"] == improvement


def test_without_a_margin_a_table_has_no_test_of_equivalence(outputs: Path) -> None:
    for options, there in (({"outcome": "f1"}, False), ({"outcome": "f1", "margin": 0.5}, True), ({}, True)):
        looked = study(outputs, **options)
        assert looked.differences is not None
        text = to_text(looked.differences, looked.outcome)
        assert ("p (equivalence)" in text) == ("more seeds" in text) == there
    table = study(outputs, outcome="f1", margin=0.5).differences
    assert table is not None and table["verdict"].tolist() == ["higher, but by less than the margin"]


def test_a_table_is_of_the_metric(outputs: Path) -> None:
    looked = study(outputs, outcome="f1")
    table = final_table(looked.runs, looked.outcome)
    text = to_text(table, looked.outcome)
    assert "f1, last epoch (exploratory)" in text and "0.7535" in text and "accuracy" not in text
    assert "f1, last epoch (exploratory)" in to_csv(table, looked.outcome).splitlines()[0]
    loss = study(outputs, outcome="test_loss")
    assert "test loss" in to_text(final_table(loss.runs, loss.outcome), loss.outcome)


def test_a_metric_that_no_run_has(outputs: Path) -> None:
    with pytest.raises(
        UserError,
        match=r"outcome test_los:last: no run has this metric; did you mean test_loss\? There are accuracy, ",
    ):
        study(outputs, outcome="test_los")
    with pytest.raises(
        UserError, match=r"outcome zzz:mean:2: no run has this metric. There are accuracy, test_loss, train_loss, f1"
    ):
        study(outputs, outcome="zzz:mean:2")
    assert read_outcome("test_accuracy", "").metric == ACCURACY


def test_accuracy_on_the_validation_split_is_in_percent_and_has_no_margin(outputs: Path) -> None:
    for path in (outputs / "runs").glob("*/metrics.csv"):
        better = 0.02 * ("pool" in path.parent.name) + 0.001 * int(path.parent.name.split("-s")[-1][0])
        add_own(path.parent, validation_accuracy=[0.5, 0.9 + better])
    looked = study(outputs, outcome="validation_accuracy:mean:2")
    table = final_table(looked.runs, looked.outcome)
    means = [100 * (0.5 + 0.9 + sum(range(1, 7)) / 6000 + better) / 2 for better in (0, 0.02)]
    assert table["mean"].tolist() == pytest.approx(means) and table["high"].max() < 100
    assert "validation accuracy %, mean of the last 2 epochs" in to_text(table, looked.outcome)
    assert looked.epochs["validation_accuracy"].max() == pytest.approx(92.6)
    assert looked.differences is not None and looked.differences["difference"].tolist() == pytest.approx([1])
    assert looked.differences["margin"].isna().all()
    assert "validation accuracy, mean of the last 2 epochs (exploratory), points" in to_text(
        looked.differences, looked.outcome
    )


def test_runs_without_the_metric_do_not_count(outputs: Path) -> None:
    (config,) = expand(["experiment=fig1", "model=pool", "seed=7", "train.epochs=2", f"outputs={outputs}"])
    write_run(config, [0.9, 0.9])
    looked = study(outputs, outcome="f1")
    assert final_table(looked.runs, looked.outcome)["n"].tolist() == [6, 6]


def test_figures_of_another_outcome_leave_those_of_the_accuracy_alone(outputs: Path) -> None:
    for words in ([], ["--outcome=f1", "--data"], ["--outcome=test_loss:mean:2"]):
        main(["figures", "fig1", "train.epochs=2", f"outputs={outputs}", *words])
    names = {path.name for path in (outputs / "figures").glob("*.png")}
    stem = "fig1-train.epochs=2"
    assert names == {f"{stem}{outcome}{what}.png" for outcome in ("", "-f1", "-test_loss-mean-2")
                     for what in ("", "-final", "-differences", "-differences-by-epoch")}  # fmt: skip
    shown = pd.read_csv(outputs / "figures" / f"{stem}-f1.csv")
    assert shown.loc[shown["epoch"] == 1, "mean"].tolist() == pytest.approx([0.1, 0.1])


def test_intervals_end_where_the_possible_does() -> None:
    rows = pd.DataFrame({"arm": ["a"] * 3, "accuracy": [99.0, 100, 100], "test_loss": [0.0, 0.01, 0.1]})
    assert ACCURACY.summary(rows, ["arm"])["high"].tolist() == [100]
    assert read_outcome("test_loss", "").metric.summary(rows, ["arm"])["low"].tolist() == [0]


@pytest.mark.parametrize(
    ("text", "epochs", "label"),
    [
        ("accuracy", [6], "test accuracy, last epoch"),
        ("last", [6], "test accuracy, last epoch"),
        ("mean:3", [4, 5, 6], "test accuracy, mean of the last 3 epochs"),
        ("accuracy:mean:1-5", [1, 2, 3, 4, 5], "test accuracy, mean of epochs 1 to 5"),
        ("test_loss:mean:2", [5, 6], "test loss, mean of the last 2 epochs"),
        ("train_loss:mean:2-2", [2], "training loss, mean of epochs 2 to 2"),
    ],
)
def test_an_outcome_is_the_mean_over_its_epochs(text: str, epochs: list[int], label: str) -> None:
    values = [3.0, 1, 4, 1, 5, 9]
    outcome = read_outcome(text, "")
    column = outcome.metric.column
    runs = pd.DataFrame({"run": ["a", "b"], "status": ["done", "running"], "train.epochs": 6, column: [9.0, 7.0]})
    curves = pd.DataFrame({"run": "a", "epoch": range(1, 7), "train.epochs": 6, column: values}).sample(frac=1)
    put = outcome.put(runs, curves, [])
    assert put[column].tolist() == pytest.approx([sum(values[e - 1] for e in epochs) / len(epochs), 7])
    assert outcome.label == label and read_outcome(str(outcome), "") == outcome


def test_an_epoch_without_the_metric_leaves_no_outcome() -> None:
    runs = pd.DataFrame({"run": ["a"], "status": "done", "train.epochs": 2, "accuracy": 1.0})
    curves = pd.DataFrame({"run": "a", "epoch": [1, 2], "train.epochs": 2, "accuracy": [None, 1.0]})
    assert read_outcome("mean:2", "").put(runs, curves, [])["accuracy"].isna().all()
    assert read_outcome("last", "").put(runs, curves, [])["accuracy"].tolist() == [1]


def test_an_infinite_loss_is_no_outcome() -> None:
    runs = pd.DataFrame({"run": ["a", "b"], "status": "done", "train.epochs": 1, "test_loss": [math.inf, 2.0]})
    curves = pd.DataFrame({"run": ["a", "b"], "epoch": 1, "train.epochs": 1, "test_loss": [math.inf, 2.0]})
    put = read_outcome("test_loss", "").put(runs, curves, [])["test_loss"]
    assert math.isnan(put[0]) and put[1] == 2


@pytest.mark.parametrize("text", ["", ":", "mean:", "mean:0", "mean:3-2", "mean:0-2", "mean:-1", "a:b", "a:mean:1.5",
                                  "accuracy:first", "accuracy mean:10"])  # fmt: skip
def test_what_is_no_outcome_is_a_mistake_in_a_line(text: str) -> None:
    with pytest.raises(UserError, match="^analysis.primary=.*: must be METRIC:last, METRIC:mean:10"):
        read_outcome(text, "analysis.primary")


def test_an_outcome_of_more_epochs_than_there_are(outputs: Path) -> None:
    with pytest.raises(UserError, match="outcome accuracy:mean:3: takes 3 epochs, and some of these runs have 2"):
        study(outputs, outcome="mean:3")


def test_of_runs_too_short_for_the_primary_outcome_the_last_epoch_is_shown(
    outputs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    experiment = load_experiment("fig1", ["train.epochs=2", "analysis.primary=test_loss:mean:1-5"])
    shown = gather(experiment, load_runs(outputs)).outcome
    assert (shown.metric.column, shown.first, shown.last, shown.exploratory) == ("test_loss", -1, None, True)
    assert "takes more than the 2 epochs of these runs; what is shown is exploratory: test loss, last epoch" in (
        capsys.readouterr().err
    )


def test_what_is_not_the_primary_outcome_is_exploratory(outputs: Path) -> None:
    overrides = ["train.epochs=2", "analysis.primary=test_loss:mean:2", "analysis.margin=0.2"]
    loaded, experiment = load_runs(outputs), load_experiment("fig1", overrides)
    primary, other = gather(experiment, loaded), gather(experiment, loaded, Options(outcome="accuracy"))
    assert primary.outcome == Outcome(read_outcome("test_loss", "").metric, -2) and other.outcome == DEFAULT
    assert (primary.outcome.exploratory, other.outcome.exploratory) == (False, True)
    for looked, margin in ((primary, 0.2), (other, 0.1)):  # that of the experiment, that of the data set
        assert looked.differences is not None and looked.differences["margin"].tolist() == [margin]
    assert "exploratory" not in to_text(primary.differences, primary.outcome)  # type: ignore[arg-type]
