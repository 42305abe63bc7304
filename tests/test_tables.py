import re
from collections.abc import Callable
from dataclasses import fields
from io import StringIO
from pathlib import Path

import pandas as pd
import pytest
from conftest import expand
from scipy import stats
from test_load import write_run

from analysis.experiments import asked_for, load_experiment
from analysis.load import load_runs
from analysis.metrics import DEFAULT
from analysis.tables import OPTIONAL, SHOWN, difference_table, final_table, to_csv, to_latex, to_markdown, to_text
from weightnet.config import Config, EvalConfig, TrainConfig
from weightnet.errors import UserError


@pytest.fixture
def table(make_config: Callable[..., Config], tmp_path: Path) -> pd.DataFrame:
    for seed, accuracy in ((1, 0.9), (2, 0.92), (3, 0.97)):
        write_run(make_config(seed=seed), [0.1, accuracy])
    write_run(make_config(model="baseline"), [0.1, 0.5])
    write_run(make_config(model="baseline", seed=2), [0.1], status="running")
    write_run(make_config(model="baseline", seed=3), [0.1], status="failed")
    return final_table(load_runs(tmp_path / "outputs").runs)


def test_numbers_equal_scipys(table: pd.DataFrame) -> None:
    pool = table[table["model.name"] == "pool"].iloc[0]
    low, high = stats.t.interval(0.95, 2, loc=93, scale=stats.sem([90, 92, 97]))
    assert high > 100 and (pool["mean"], pool["low"], pool["high"]) == pytest.approx(
        (93, low, 100)
    )  # no more is possible
    assert pool["n"] == 3 and pool["dims.dx"] == 26 and pool["dims.hidden"] == 60


def test_only_finished_runs_count(table: pd.DataFrame) -> None:
    baseline = table[table["model.name"] == "baseline"].iloc[0]
    assert baseline["n"] == 1 and baseline["mean"] == 50
    assert pd.isna(baseline["low"])


def test_runs_that_differ_are_not_mixed(make_config: Callable[..., Config], tmp_path: Path) -> None:
    for changes in ({}, {"lr": 0.1}, {"threads": 2}, {"subset": 100}):
        write_run(make_config(**changes), [0.1, 0.9])
    table = final_table(load_runs(tmp_path / "outputs").runs)
    assert table["n"].tolist() == [1, 1, 1, 1]
    assert {"train.lr", "threads", "train.subset"} <= set(table.columns)


def test_data_sets_of_different_sizes_need_no_column(make_config: Callable[..., Config], tmp_path: Path) -> None:
    for dataset in ("mnist", "cifar"):
        config = make_config(dataset, epochs=2)
        write_run(config, [0.1, 0.9])
    table = final_table(load_runs(tmp_path / "outputs").runs)
    assert "dataset.channels" not in table.columns and len(table) == 2


def test_a_parameter_is_shown_where_two_arms_have_other_values(tmp_path: Path) -> None:
    for config in expand(["model=baseline,pool", "model.params.fill=1,0", f"outputs={tmp_path}"]):
        write_run(config, [0.9] * config.train.epochs)
    shown = final_table(load_runs(tmp_path).runs)
    assert shown["model.params.fill"].fillna(-1).tolist() == [-1, 1, 0]  # the baseline has none
    assert "model.params.gain" not in shown  # pool alone has it
    runs = load_runs(tmp_path).runs
    unset = final_table(runs.assign(**{"model.params.fill": runs["model.params.fill"].replace(0, None)}))
    assert "model.params.fill" in unset  # of one model, with a value and without


def test_formats(table: pd.DataFrame) -> None:
    assert pd.read_csv(StringIO(to_csv(table)))["test accuracy %, last epoch"].tolist() == pytest.approx(
        table["mean"].tolist()
    )
    for text in (to_text(table), to_markdown(table), to_latex(table)):
        assert "93.00" in text and "nan" not in text and "<NA>" not in text
    assert to_markdown(table).splitlines()[1].startswith("|:--")
    title, rule, *rows = to_markdown(table.assign(dose=[1.0, *range(2, 1 + len(table))])).splitlines()
    assert r" 1 + \|me\|^2 " in title and title.replace(r"\|", "").count("|") == rule.count("|") == rows[0].count("|")
    assert "\\toprule" in to_latex(table) and "test accuracy \\%, last epoch" in to_latex(table)


def test_no_finished_runs(tmp_path: Path) -> None:
    table = final_table(load_runs(tmp_path).runs)
    assert to_text(table) == "no finished runs"
    assert to_csv(table).startswith("dataset,model,")


def test_differences_are_paired_by_seed(tmp_path: Path) -> None:
    accuracies = {"baseline": [0.90, 0.80, 0.85, 0.70], "pool": [0.91, 0.82, 0.85]}
    for config in expand(["experiment=fig1", "seed=1,2,3,4", f"outputs={tmp_path}"]):
        if config.seed <= len(accuracies[config.model.name]):
            write_run(config, [accuracies[config.model.name][config.seed - 1]] * config.train.epochs)
    runs = load_runs(tmp_path).runs
    wide = runs.pivot(index="seed", columns="model.name", values="test_accuracy")
    expected = 100 * (wide["pool"] - wide["baseline"])
    row = difference_table(runs, load_experiment("fig1"), "baseline", DEFAULT, {"mnist": 0.1}).iloc[0]
    assert row["difference"] == pytest.approx(expected.mean()) and row["n"] == 3
    assert (row["label"], row["reference"], row["verdict"]) == ("pool", "without feedback", "cannot decide with n < 6")
    assert row["improvement"] == pytest.approx(2.5 / 3)
    assert row["confounds"] == "hidden (60 v 50)"  # the notebook's own confound
    text = to_text(difference_table(runs, load_experiment("fig1"), "baseline", DEFAULT, {"mnist": 0.1}))
    assert (
        "+1.000" in text
        and "83%" in text
        and "difference in test accuracy, last epoch, points" in text
        and "also differs in" in text
    )
    alone = difference_table(
        runs[runs["model.name"] == "baseline"], load_experiment("fig1"), "baseline", DEFAULT, {"mnist": 0.1}
    )
    assert alone.empty and list(alone.columns) == list(row.index)  # the other arms have not finished
    with pytest.raises(UserError, match=r"fig1: no arm is of that model\. There are baseline, pool"):
        difference_table(runs, load_experiment("fig1"), "rmp", DEFAULT, {})


def test_a_reference_that_is_several_arms_says_which(tmp_path: Path) -> None:
    words = ["model=baseline,pool", "model.params.fill=1,0", "seed=1,2"]
    for config in expand([*words, f"outputs={tmp_path}"]):
        write_run(config, [0.9] * config.train.epochs)
    runs = load_runs(tmp_path).runs
    several = "pool: 2 finished arms of that model on mnist, must be one: name its values by KEY=VALUE " + re.escape(
        "('pool, fill=1'; 'pool, fill=0')"
    )
    with pytest.raises(UserError, match=several):
        difference_table(runs, asked_for(words), "pool", DEFAULT, {})


def test_stale_runs_are_counted_where_there_are_some(table: pd.DataFrame, tmp_path: Path) -> None:
    assert table.set_index("model.name")["stale"].to_dict() == {"pool": 3, "baseline": 1}  # of the code c0de
    assert "stale" not in final_table(load_runs(tmp_path / "outputs").runs.assign(why=""))


def test_what_was_searched_is_shown_though_all_have_one_value(
    make_config: Callable[..., Config], tmp_path: Path
) -> None:
    write_run(config := make_config(), [0.1, 0.9])
    runs = load_runs(tmp_path / "outputs").runs
    assert "train.lr" not in final_table(runs)
    assert final_table(runs, searched=["train.lr"])["train.lr"].tolist() == [config.train.lr]


def test_a_value_is_a_reference_within_each_model(tmp_path: Path) -> None:
    words = ["model=baseline,pool", "dims=controlled", "dataset=mnist", "train.lr=0.01,0.1", "seed=1,2,3"]
    for config in expand([*words, f"outputs={tmp_path}"]):
        better = 0.02 * (config.model.name == "pool") + 0.01 * (config.train.lr == 0.1)
        write_run(config, [0.9 + better * config.seed] * config.train.epochs)
    runs, experiment = load_runs(tmp_path).runs, asked_for(words)
    table = difference_table(runs, experiment, "train.lr=0.01", DEFAULT, {"mnist": 0.1})
    assert table["label"].tolist() == ["without feedback, lr=0.1", "pool, lr=0.1"]
    assert table["reference"].tolist() == ["without feedback, lr=0.01", "pool, lr=0.01"]
    assert table["difference"].tolist() == pytest.approx([2, 2]) and not table["confounds"].any()
    for reference, said in {
        "train.lr=1": "no arm has that value. Of train.lr there is 0.01, 0.1",
        "train.l=1": "train.l was not swept; did you mean train.lr? What was: ",
        "dataset=mnist": "dataset.name was not swept",
    }.items():
        with pytest.raises(UserError, match=re.escape(said)):
            difference_table(runs, experiment, reference, DEFAULT, {})
    unfinished = runs[runs["train.lr"] == 0.1]
    with pytest.raises(UserError, match="no finished arm with that value on mnist"):
        difference_table(unfinished, experiment, "train.lr=0.01", DEFAULT, {})


def test_the_start_is_shown_where_arms_differ_in_it_and_not_of_those_that_it_says_nothing_of(tmp_path: Path) -> None:
    words = ["model=baseline,pool", "dataset=mnist", "dims=published", "train.init=shared,notebook"]
    for config in expand([*words, f"outputs={tmp_path}"]):
        write_run(config, [0.9] * config.train.epochs)
    runs = load_runs(tmp_path).runs
    shown = final_table(runs).set_index("model.name")["train.init"]
    assert shown["pool"].tolist() == ["shared", "notebook"] and pd.isna(shown["baseline"])
    assert "train.init" not in final_table(runs[runs["train.init"] != "notebook"])


def test_every_key_that_makes_another_arm_can_be_shown() -> None:
    silent = {"train.log_interval", "train.save_model", "eval.save_predictions"}  # no part of a run's identity
    silent.add("eval.metrics")  # it is columns of metrics.csv
    keys = {f"{group}.{item.name}" for group, kind in (("train", TrainConfig), ("eval", EvalConfig))
            for item in fields(kind)}  # fmt: skip
    assert keys - silent <= {*SHOWN, *OPTIONAL}
