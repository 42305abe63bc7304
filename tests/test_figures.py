from collections.abc import Callable
from pathlib import Path
from shutil import rmtree
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import expand
from scipy import stats
from test_load import write_run

from analysis import figures
from analysis.experiments import asked_for, experiment_names, load_experiment, published
from analysis.load import load_runs, report_skipped
from analysis.plots import COLOURS
from analysis.study import Options, gather
from weightnet.config import Config
from weightnet.errors import RunFailed, UserError
from weightnet.identity import arm

MakeConfig = Callable[..., Config]


def draw(name: str, *overrides: str, outputs: Path, data: bool = False, **options: Any) -> Path:
    study = gather(load_experiment(name, overrides), load_runs(outputs), Options(**options))
    figures.draw(study, data=data)
    return Path(f"{study.files[0]}.png")


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    """Write the runs of figure 1, and others that do not belong to it."""
    for overrides, accuracy in (
        (["experiment=fig1", "seed=1,2,3"], 0.9),
        (["model=pool", "dataset=mnist", "train.epochs=1"], 0.1),
        (["model=pool", "dataset=mnist", "train.subset=1000"], 0.1),
        (["model=rmp", "dataset=mnist"], 0.1),
    ):
        for config in expand([*overrides, f"outputs={tmp_path}"]):
            write_run(config, [accuracy + 0.001 * config.seed] * config.train.epochs)
    return tmp_path


def test_every_published_figure_is_an_experiment() -> None:
    assert set(experiment_names()) >= {"fig1", "fig2", "fig3", "fig4", "demo"}
    assert "paper" not in experiment_names()


def test_only_the_experiments_own_runs_are_taken(outputs: Path) -> None:
    chosen = gather(load_experiment("fig1"), load_runs(outputs)).runs
    assert sorted(zip(chosen["model.name"], chosen["seed"], strict=True)) == [
        (model, seed) for model in ("baseline", "pool") for seed in (1, 2, 3)
    ]
    assert set(chosen["train.epochs"]) == {6} and chosen["train.subset"].isna().all()


def test_seeds_can_be_restricted(outputs: Path) -> None:
    loaded = load_runs(outputs)
    assert len(gather(asked_for(["experiment=fig1"]), loaded).runs) == 2
    assert len(gather(load_experiment("fig1", ["seed=2,3"]), loaded).runs) == 4


def test_an_experiment_of_several_seeds_keeps_to_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for config in expand(["experiment=demo", "seed=range(2,8)", f"outputs={tmp_path}"]):  # it plans 1, 2, 3
        write_run(config, [0.9 + 0.001 * config.seed] * config.train.epochs)
    loaded = load_runs(tmp_path)
    assert sorted(gather(load_experiment("demo"), loaded).runs["seed"]) == [2, 2, 2, 3, 3, 3]
    said = capsys.readouterr().err.splitlines()
    each = "'without feedback' 1, 'pool' 1, 'random projection' 1"
    again = f"python run.py experiment=demo outputs={tmp_path}"
    assert f"demo: 3 of 9 runs without a result: {each}; run them with: {again}" in said
    assert "demo: 12 runs of other seeds than it plans left out; with them: 'seed=range(1,8)'" in said
    assert len(gather(load_experiment("demo", ["seed=range(1,8)"]), loaded).runs) == 18
    assert "left out" not in capsys.readouterr().err
    for path in (tmp_path / "runs").glob("*-s[23]-*"):
        rmtree(path)
    with pytest.raises(RunFailed, match=r"runs \(12 runs of other seeds .* 'seed=range\(1,8\)'\); run it with: "):
        gather(load_experiment("demo"), load_runs(tmp_path))
    with pytest.raises(RunFailed, match=r"runs \(of its arms there is seed=range\(4,8\)\); run it with: .* seed=9"):
        gather(load_experiment("demo", ["seed=9"]), load_runs(tmp_path))


def test_runs_with_other_threads_than_planned_are_finished_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for config in expand(["experiment=demo", "seed=1,2", "threads=2", f"outputs={tmp_path}"]):
        write_run(config, [0.9 + 0.001 * config.seed] * config.train.epochs)
    study = gather(load_experiment("demo"), load_runs(tmp_path))
    assert "demo: 3 of 9 runs without a result: " in capsys.readouterr().err
    figure, _ = figures.figures_of(study)[""]
    assert "of 9 runs, 3 not finished" in " ".join(figure.get_suptitle().split())


def test_labels_say_in_what_arms_differ() -> None:
    assert [arm.label for arm in load_experiment("fig3").arms.values()] == [
        "without feedback",
        "pool",
        "random projection",
    ]
    kernels = load_experiment("fig1", ["dims=controlled", "dims.m=31,62"])
    assert [arm.label for arm in kernels.arms.values()] == ["without feedback", "pool, m=31", "pool, m=62"]
    sets = load_experiment("fig1", ["dataset=mnist,kmnist", "model=pool"])
    assert [arm.label for arm in sets.arms.values()] == ["pool, dataset=mnist", "pool, dataset=kmnist"]
    subsets = load_experiment("fig1", ["train.subset=300,null", "model=pool"])
    assert [arm.label for arm in subsets.arms.values()] == ["pool, subset=300", "pool, no subset"]


def test_an_arm_has_the_same_colour_in_every_experiment() -> None:
    kinds = load_experiment("projections")
    assert {arm.label: COLOURS[arm.colour] for arm in kinds.arms.values()} == {
        "without feedback": COLOURS["baseline"],
        "projection, kind=dense": COLOURS["rmp"],
        "projection, kind=sparse": COLOURS["projection"],
        **{f"projection, kind={kind}": COLOURS[f"projection {kind}"] for kind in ("kron", "srht", "countsketch")},
    }
    assert "projection" in [arm.colour for arm in load_experiment("controlled", ["seed=1"]).arms.values()]


def test_arms_are_those_of_run_json(make_config: MakeConfig) -> None:
    (config,) = expand(["dataset=mnist", "model=baseline"])
    assert arm(config) in load_experiment("fig1").arms


def test_the_same_arm_and_seed_twice_is_refused(outputs: Path) -> None:
    for config in expand(["experiment=fig1", "threads=2", f"outputs={outputs}"]):
        write_run(config, [0.9] * 6)
    with pytest.raises(UserError, match=r"4 runs share arm and seed but differ in threads \(1, 2\)|threads \(2, 1\)"):
        draw("fig1", outputs=outputs)


def test_a_figure_is_drawn_and_its_table_printed(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = draw("fig1", outputs=outputs)
    assert path == outputs / "figures" / "fig1.png"
    header = path.read_bytes()[:24]
    assert header.startswith(b"\x89PNG") and int.from_bytes(header[16:20], "big") == 1280  # 6.4 in at 200 dpi
    svg = path.with_suffix(".svg").read_text()
    assert "<svg" in svg
    assert "90.20" in capsys.readouterr().out
    names = [
        f"fig1{what}.{suffix}"
        for what in ("-differences", "-differences-by-epoch", "-final", "")
        for suffix in ("png", "svg")
    ]
    assert sorted(p.name for p in path.parent.iterdir()) == sorted(names)


def test_a_figure_holds_the_ids_of_its_runs_and_its_data_on_request(outputs: Path) -> None:
    path = draw("fig1", outputs=outputs, data=True)
    ids = [run.name for run in (outputs / "runs").iterdir() if "mnist-baseline-s" in run.name]
    assert len(ids) == 3
    for name in ("fig1", "fig1-final", "fig1-differences"):
        png, svg = (path.with_name(f"{name}.{suffix}") for suffix in ("png", "svg"))
        assert all(run.encode() in png.read_bytes() and run in svg.read_text() for run in ids)
    shown = pd.read_csv(path.with_name("fig1-final.csv"))
    assert len(shown) == 6 and shown["accuracy"].min() == pytest.approx(90.1)
    assert shown["seed"].tolist() == [1, 2, 3, 1, 2, 3]
    assert pd.read_csv(path.with_name("fig1-differences.csv"))["difference"].tolist() == pytest.approx([0], abs=1e-9)


def test_runs_of_other_code_are_refused_unless_asked_for(outputs: Path) -> None:
    (config,) = expand(["model=pool", "dataset=mnist", "seed=4", f"outputs={outputs}"])
    write_run(config, [0.9] * 6, code="beef")
    with pytest.raises(UserError, match="--mixed"):
        draw("fig1", outputs=outputs)
    assert draw("fig1", outputs=outputs, mixed=True).exists()


def test_against_one_of_its_own_values_a_number_is_no_axis(tmp_path: Path) -> None:
    words = ["model=pool", "dataset=digits", "train.epochs=2", "train.lr=0.01,0.1,0.2", "seed=1,2,3"]
    for config in expand([*words, f"outputs={tmp_path}"]):
        write_run(config, [0.9 + 0.001 * config.seed + 0.1 * config.train.lr] * 2)
    study = gather(asked_for(words), load_runs(tmp_path), Options(reference="train.lr=0.1"))
    drawn = figures.figures_of(study)
    assert {suffix for suffix in drawn if "differences" in suffix} == {
        "-differences-from-train.lr=0.1", "-differences-by-epoch-from-train.lr=0.1"
    }  # fmt: skip
    assert drawn["-differences-from-train.lr=0.1"][1]["difference"].tolist() == pytest.approx([-0.9, 1.0])


def test_another_model_can_be_the_reference(outputs: Path) -> None:
    path = draw("fig1", outputs=outputs, data=True, reference="pool")
    shown = pd.read_csv(path.with_name("fig1-differences-from-pool.csv"))
    assert shown["label"].tolist() == ["without feedback (n=3)\nhidden (50 v 60)"]
    assert shown["reference"].tolist() == ["pool"]
    with pytest.raises(UserError, match=r"fig1: no arm is of that model\. There are baseline, pool"):
        draw("fig1", outputs=outputs, reference="rmp")


def test_missing_arms_and_broken_folders_are_named(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (outputs / "runs" / "half").mkdir()
    draw("fig3", outputs=outputs)
    draw("fig1", "model=baseline,projection", outputs=outputs)
    report_skipped(load_runs(outputs))
    errors = capsys.readouterr().err
    assert f"skipped {outputs}/runs/half: no run.json" in errors
    assert "fig1: 1 of 2 runs without a result: 'projection' 1; run them with: python run.py" in errors


def test_a_variant_leaves_the_published_figure_alone(outputs: Path) -> None:
    draw("fig1", "train.epochs=1", "seed=1", "model=pool", outputs=outputs)
    names = sorted(path.name for path in (outputs / "figures").iterdir())
    assert names == ["fig1-train.epochs=1-model=pool.png", "fig1-train.epochs=1-model=pool.svg"]


@pytest.mark.parametrize(
    ("name", "overrides", "file"),
    [
        ("fig1", ["seed=1,2"], "fig1"),
        ("filler", [], "filler"),
        ("filler", ["dataset=mnist", "seed=7,9"], "filler-dataset=mnist-seed=7,9"),
        ("gone", ["seed=1,2"], "gone"),
    ],
)
def test_other_seeds_than_an_experiment_names_are_another_picture(name: str, overrides: list[str], file: str) -> None:
    assert published(name, overrides) == Path("figures", file)


def test_nothing_to_draw_says_how_to_run_it(tmp_path: Path) -> None:
    with pytest.raises(RunFailed, match="python run.py experiment=fig2 train.epochs=1"):
        draw("fig2", "train.epochs=1", outputs=tmp_path)


def test_the_feedback_vectors_length_is_drawn_where_it_was_written(outputs: Path) -> None:
    for run in (outputs / "runs").glob("mnist-pool-*"):
        (run / "feedback.csv").write_text("epoch,norm,change\n" + "".join(f"{e},{e / 2},0.5\n" for e in range(1, 7)))
    path = draw("fig1", outputs=outputs, data=True)
    shown = pd.read_csv(path.with_name("fig1-feedback.csv"))
    lengths = shown[shown["of"] == "me_norm"].set_index("epoch")["mean"]
    assert lengths.tolist() == [e / 2 for e in range(1, 7)] and set(shown["label"]) == {"pool (n=3)"}


def test_differences_by_epoch_are_paired_by_seed_with_students_interval(tmp_path: Path) -> None:
    words = ["model=baseline,pool", "dataset=digits", "train.epochs=2", "seed=1,2,3,4"]
    chance, accuracies = np.random.default_rng(0), {}
    for config in expand([*words, f"outputs={tmp_path}"]):
        accuracies[config.model.name, config.seed] = chance.uniform(0.8, 0.9, size=2)
        if (config.model.name, config.seed) != ("baseline", 4):  # a seed that has no partner
            write_run(config, list(accuracies[config.model.name, config.seed]))
    drawn = figures.figures_of(gather(asked_for(words), load_runs(tmp_path)))
    figure, shown = drawn["-differences-by-epoch"]
    assert shown["epoch"].tolist() == [1, 2] and shown["n"].tolist() == [3, 3]
    for epoch, row in shown.iterrows():
        pairs = [100 * (accuracies["pool", seed] - accuracies["baseline", seed])[int(epoch)] for seed in (1, 2, 3)]  # type: ignore[call-overload]
        low, high = stats.t.interval(0.95, 2, loc=np.mean(pairs), scale=stats.sem(pairs))
        assert (row["mean"], row["low"], row["high"]) == pytest.approx((np.mean(pairs), low, high))
    (ax,) = figure.axes
    assert ax.get_title() == "pool (n=3)" and ax.get_ylim()[0] < 0 < ax.get_ylim()[1]
    assert figure.get_supylabel() == "difference (points); grey: within the margin"


def test_a_picture_says_that_its_outcome_is_exploratory(outputs: Path) -> None:
    for outcome, there in ((None, False), ("mean:2", True)):
        study = gather(load_experiment("fig1"), load_runs(outputs), Options(outcome=outcome))
        for figure, _ in figures.figures_of(study).values():
            assert ("exploratory: the primary outcome is test accuracy, last epoch" in figure.get_suptitle()) == there
