"""Pictures that follow from what was swept: a number as axis, two as heat maps, panels a data set."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import expand
from scipy import stats
from test_load import write_run

from analysis import figures
from analysis.experiments import asked_for
from analysis.load import load_runs
from analysis.study import Study, gather
from weightnet.config import Config
from weightnet.errors import RunFailed


def sweep(tmp_path: Path, *overrides: str, accuracy: Callable[[Config], float]) -> Study:
    """Return the study of runs that these overrides ask for, whose accuracy is a function of their config."""
    for config in expand([*overrides, f"outputs={tmp_path}"]):
        write_run(config, [0.5, accuracy(config)])
    return gather(asked_for(overrides), load_runs(tmp_path))


def test_a_number_that_was_swept_is_the_axis(tmp_path: Path) -> None:
    base = ["model=baseline,pool", "dataset=digits", "dims=controlled", "train.epochs=2", "seed=1,2,3"]
    study = sweep(tmp_path, *base, "dims.m=31,62", accuracy=lambda config: 0.9 + config.seed / 100)
    drawn = figures.figures_of(study)
    assert list(drawn) == ["", "-final", "-differences", "-differences-by-m"]
    figure, shown = drawn[""]
    assert shown["dims.m"].fillna(0).tolist() == [0, 31, 62]  # the baseline has no m: a horizontal line
    assert shown["label"].tolist() == ["without feedback", "pool", "pool"]
    assert shown["mean"].tolist() == pytest.approx([92] * 3) and shown["n"].tolist() == [3] * 3
    (ax,) = figure.axes
    assert ax.get_xlabel() == "dims.m" and ax.get_ylabel() == "test accuracy (%)"
    title = figure.get_suptitle().replace("\n", " ").replace("\u00a0", " ")
    shown_is = "Digits: test accuracy after 2 epochs against dims.m, mean and 95% t-interval"
    assert title == f"{shown_is}, n = 3 seeds (of 9 runs, 9 stale)"


def test_differences_are_paired_within_each_value_of_the_other_keys(tmp_path: Path) -> None:
    words = ["model=baseline,pool", "dataset=digits", "train.lr=0.1,0.2", "train.epochs=2", "seed=1,2,3"]
    study = sweep(
        tmp_path,
        *words,
        accuracy=lambda c: 0.5 + c.train.lr + c.seed / 100 + (c.model.name == "pool") * c.train.lr / 10,
    )
    table = study.differences
    assert table is not None
    assert table["label"].tolist() == ["pool, lr=0.1", "pool, lr=0.2"]
    assert table["reference"].tolist() == ["without feedback, lr=0.1", "without feedback, lr=0.2"]
    assert table["difference"].tolist() == pytest.approx([1, 2]) and table["n"].tolist() == [3, 3]


def test_differences_against_a_swept_number_are_paired_with_students_interval(tmp_path: Path) -> None:
    words = ["model=baseline,pool,constant", "dataset=digits", "train.lr=0.1,0.2", "train.epochs=2", "seed=1,2,3,4"]
    chance, reached = np.random.default_rng(0), dict[tuple[str, float, int], float]()

    def accuracy(config: Config) -> float:
        key = config.model.name, config.train.lr, config.seed
        return reached.setdefault(key, chance.uniform(0.8, 0.9))

    figure, shown = figures.figures_of(sweep(tmp_path, *words, accuracy=accuracy))["-differences-by-lr"]
    assert shown[["label", "train.lr"]].to_numpy().tolist() == [
        ["pool", 0.1], ["pool", 0.2], ["constant", 0.1], ["constant", 0.2],
    ]  # fmt: skip
    for _, row in shown.iterrows():
        model, lr = row["label"], row["train.lr"]
        pairs = [100 * (reached[model, lr, seed] - reached["baseline", lr, seed]) for seed in (1, 2, 3, 4)]
        low, high = stats.t.interval(0.95, 3, loc=np.mean(pairs), scale=stats.sem(pairs))
        assert (row["mean"], row["low"], row["high"]) == pytest.approx((np.mean(pairs), low, high))
    (ax,) = figure.axes
    assert ax.get_ylabel() == "difference (points); grey: the margin of 1" and ax.get_xlabel() == "train.lr"
    said = " ".join(figure.get_suptitle().split())
    words = "minus that of 'without feedback', paired by seed, 95% t-interval, n = 4 pairs"
    assert f"{words}; also differs in hidden (60 v 50) (of 24 runs" in said


def test_two_numbers_make_heat_maps_with_one_scale_in_units_of_the_spread(tmp_path: Path) -> None:
    chance = np.random.default_rng(0)
    words = ["model=baseline,pool", "dataset=digits", "train.lr=0.1,0.2", "train.momentum=0,0.5", "seed=1,2,3",
             "train.epochs=2"]  # fmt: skip
    study = sweep(tmp_path, *words, accuracy=lambda config: 0.9 + chance.normal(0, 0.01))
    drawn = figures.figures_of(study)
    assert list(drawn) == ["", "-final", "-differences"]
    figure, shown = drawn[""]
    runs = study.runs.assign(accuracy=100 * study.runs["test_accuracy"])
    cells = runs.groupby(["model.name", "train.lr", "train.momentum"])["accuracy"]
    means, deviations, median = cells.mean(), cells.std(), cells.std().median()
    expected = pd.Series({
        (model, lr, momentum): (mean - means["baseline", lr, momentum])
        / max(deviations[model, lr, momentum], deviations["baseline", lr, momentum], median)
        for (model, lr, momentum), mean in means.items()
    })  # fmt: skip
    ours = shown.set_index(["model.name", "train.lr", "train.momentum"])["spread"]
    pd.testing.assert_series_equal(ours.sort_index(), expected.sort_index(), check_names=False)
    maps = [ax.collections[0] for ax in figure.axes if ax.get_title()]
    assert [ax.get_title() for ax in figure.axes if ax.get_title()] == ["without feedback", "pool"]
    assert {mesh.get_clim() for mesh in maps} == {(-3, 3)}  # noise is pale
    assert max(abs(np.concatenate([mesh.get_array().ravel() for mesh in maps]))) < 2
    words = "reference: 'without feedback' at the same values; unit: standard deviation over seeds, the cell's or the "
    assert figure.get_supxlabel() == f"{words}reference's, at least the median, {median:.2f}"


def test_cells_that_diverge_hide_no_others_in_a_heat_map(tmp_path: Path) -> None:
    words = ["model=baseline,pool", "dataset=digits", "train.lr=0.1,0.2,9", "train.momentum=0,0.5", "seed=1,2,3",
             "train.epochs=2"]  # fmt: skip

    def accuracy(config: Config) -> float:
        if config.train.lr == 9:
            return (0.1, 0.9, 0.1 if config.model.name == "pool" else 0.9)[config.seed - 1]
        return 0.9 + 0.001 * config.seed + 0.01 * (config.model.name == "pool")

    shown = figures.figures_of(sweep(tmp_path, *words, accuracy=accuracy))[""][1]
    spread = shown[shown["model.name"] == "pool"].set_index("train.lr")["spread"]
    assert spread[[0.1, 0.2]].to_numpy() == pytest.approx(10) and (abs(spread[9]) < 1).all()


def test_cells_of_which_all_seeds_diverge_leave_colours_for_others(tmp_path: Path) -> None:
    words = ["model=baseline,pool", "dataset=digits", "train.lr=0.1,0.2,9", "train.momentum=0,0.5", "seed=1,2,3",
             "train.epochs=2"]  # fmt: skip

    def accuracy(config: Config) -> float:
        diverged = config.train.lr == 9 and config.model.name == "pool"
        return 0.1 if diverged else 0.9 + 0.001 * config.seed + 0.003 * (config.model.name == "pool")

    figure, shown = figures.figures_of(sweep(tmp_path, *words, accuracy=accuracy))[""]
    assert shown["spread"].min() < -100
    assert {ax.collections[0].get_clim() for ax in figure.axes if ax.get_title()} == {(-10, 10)}


def test_cells_with_one_seed_have_the_unit_of_those_with_several(tmp_path: Path) -> None:
    words = ["model=baseline,pool", "dataset=digits", "train.momentum=0,0.5", "train.epochs=2"]

    def accuracy(config: Config) -> float:
        return 0.9 + 0.001 * config.seed + 0.002 * (config.model.name == "pool")

    sweep(tmp_path, *words, "train.lr=0.2", accuracy=accuracy)
    sweep(tmp_path, *words, "train.lr=0.1", "seed=1,2", accuracy=accuracy)
    study = gather(asked_for([*words, "train.lr=0.1,0.2", "seed=1,2"]), load_runs(tmp_path))
    shown = figures.figures_of(study)[""][1]
    assert sorted(shown["n"]) == [1, 1, 1, 1, 2, 2, 2, 2]
    deviation = np.std([90.1, 90.2], ddof=1)
    assert shown.loc[shown["model.name"] == "pool", "spread"].tolist() == pytest.approx([0.2 / deviation] * 4)


def test_heat_maps_without_seeds_have_the_spread_of_the_cells(tmp_path: Path) -> None:
    words = ["model=pool", "dataset=digits", "train.lr=0.1,0.2", "train.momentum=0,0.5", "train.epochs=2"]
    study = sweep(tmp_path, *words, accuracy=lambda c: 0.5 + c.train.lr + c.train.momentum / 10)
    drawn = figures.figures_of(study)
    assert list(drawn) == [""]
    values = np.array([60.0, 65, 70, 75])
    spread = (values - values.mean()) / values.std(ddof=1)
    assert drawn[""][1]["spread"].tolist() == pytest.approx(spread)


def test_a_panel_a_data_set_with_one_legend(tmp_path: Path) -> None:
    words = ["model=baseline,pool", "dataset=digits,mnist", "train.epochs=2", "seed=1,2,3"]
    study = sweep(tmp_path, *words, accuracy=lambda config: 0.9)
    drawn = figures.figures_of(study)
    for suffix in ("", "-final", "-differences"):
        assert [ax.get_title() for ax in drawn[suffix][0].axes] == ["Digits", "MNIST"]
    figure, shown = drawn[""]
    assert len(figure.legends) == 1 and all(ax.get_legend() is None for ax in figure.axes)
    labels = ["without feedback (n=3)", "pool (n=3)"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == labels == list(shown["label"].unique())


def test_two_seeds_have_points_and_no_interval(tmp_path: Path) -> None:
    words = ["model=baseline,pool", "dataset=digits", "train.lr=0.1,1", "train.epochs=2", "seed=1,2"]
    study = sweep(tmp_path, *words, accuracy=lambda config: 0.9 + config.seed / 100)
    for suffix, (figure, shown) in figures.figures_of(study).items():
        assert suffix == "-final" or shown[["low", "high"]].isna().all(axis=None)
        assert "interval" not in figure.get_suptitle()
    figure, _ = figures.figures_of(study)[""]
    seeds = {y for line in figure.axes[0].lines if line.get_marker() == "_" for y in line.get_ydata()}
    assert sorted(seeds) == pytest.approx([91, 92])


def test_while_the_swept_runs_are_still_going_on_there_are_learning_curves(tmp_path: Path) -> None:
    words = ["model=baseline,pool", "dataset=digits", "dims=controlled", "dims.m=31,62", "train.epochs=2"]
    for config in expand([*words, f"outputs={tmp_path}"]):
        write_run(
            config, [0.5, 0.6][: 2 - config.model.uses.count("m")], status="running" if config.model.uses else "done"
        )
    study = gather(asked_for(words), load_runs(tmp_path))
    _, shown = figures.figures_of(study)[""]
    assert shown.groupby("label")["epoch"].max().to_dict() == {
        "without feedback (n=1)": 2, "pool, m=31 (n=1)": 1, "pool, m=62 (n=1)": 1,
    }  # fmt: skip


def test_nothing_to_draw_before_the_first_epoch(tmp_path: Path) -> None:
    (config,) = expand(["model=pool", "dataset=digits", f"outputs={tmp_path}"])
    write_run(config, [], status="running")
    with pytest.raises(RunFailed, match="no epoch has ended"):
        figures.figures_of(gather(asked_for(["model=pool", "dataset=digits"]), load_runs(tmp_path)))
