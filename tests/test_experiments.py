from pathlib import Path

import pytest
from conftest import expand

from analysis.experiments import asked_for, experiment_names, file_name, load_drawn, load_experiment
from weightnet.errors import UserError
from weightnet.identity import run_id

HEADER = "# @package _global_\n"


@pytest.fixture
def own(tmp_path: Path) -> str:
    """Write a folder of YAML with good and broken experiments."""
    (tmp_path / "experiment").mkdir()
    for name, text in {
        "mine": f"{HEADER}train:\n  epochs: 3\n",  # no hydra block: one run
        "nothing": HEADER,
        "several": f"{HEADER}hydra:\n  callbacks:\n    figures:\n      names: [fig1, mine]\n",
        "as_before": f"{HEADER}hydra:\n  callbacks:\n    figures:\n"
        "      _target_: analysis.callback.DrawFigures\n      names: [as_before]\n",
        "empty": "", "headless": "train:\n  epochs: 3\n", "yaml": "a: [1", "listed": f"{HEADER}- a\n",
        "unknown": f"{HEADER}train:\n  epoks: 3\n", "wrong": f"{HEADER}seed: many\n",
        "chosen": f"{HEADER}analysis:\n  primary: train_loss:mean:1-5\n  margin: 0.01\n",
    }.items():  # fmt: skip
        (tmp_path / "experiment" / f"{name}.yaml").write_text(text)
    (tmp_path / "experiment" / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    return str(tmp_path)


BROKEN = ["binary", "empty", "headless", "listed", "unknown", "wrong", "yaml"]


def test_broken_experiments_are_named_and_the_others_found(own: str, capsys: pytest.CaptureFixture[str]) -> None:
    names = experiment_names(own)
    assert {"fig1", "demo", "mine", "nothing", "as_before"} <= set(names)
    assert not {*BROKEN, "several", "paper"} & set(names)
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(" is broken: ")[0] for line in lines] == [f"experiment={name}" for name in BROKEN]


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_experiment_that_is_asked_for_is_a_mistake_in_a_line(own: str, name: str) -> None:
    with pytest.raises(UserError, match=f"^experiment={name} is broken: .*") as mistake:
        load_drawn(name, config_dir=own)
    assert "\n" not in str(mistake.value)


def test_an_experiment_that_does_not_exist(own: str) -> None:
    with pytest.raises(UserError, match=r"^experiment=min: there is no such experiment; did you mean mine\? Choices: "):
        load_experiment("min", config_dir=own)
    with pytest.raises(UserError, match=r"with --config-dir=FOLDER also those of FOLDER/experiment$"):
        load_experiment("mine")
    with pytest.raises(UserError, match=r"^experiment=mine.yaml: there is no such experiment; did you mean mine\?"):
        load_experiment("mine.yaml", config_dir=own)
    with pytest.raises(UserError, match="--config-dir=/nowhere: there is no such folder"):
        load_experiment("mine", config_dir="/nowhere")


def test_an_experiment_draws_itself_or_those_that_it_names(own: str) -> None:
    assert [one.name for one in load_drawn("fig1")] == ["fig1"]
    assert [one.name for one in load_drawn("as_before", config_dir=own)] == ["as_before"]
    several = load_drawn("several", ["dataset=digits", "train.lr=0.5"], config_dir=own)
    assert [one.name for one in several] == ["fig1", "mine"]
    assert {arm.dataset for one in several for arm in one.arms.values()} == {"mnist"}  # each keeps its own
    assert {arm.values["train.lr"] for one in several for arm in one.arms.values()} == {0.5}


def test_overrides_ask_for_exactly_the_runs_of_the_sweep() -> None:
    overrides = ["model=baseline,pool", "dataset=digits", "dims=controlled", "dims.m=31,62", "seed=1,2"]
    experiment = asked_for(overrides)
    assert experiment.runs is not None
    assert list(experiment.runs) == [run_id(config) for config in expand(overrides)] and len(experiment.runs) == 6
    assert experiment.axes == [["model"], ["dims.m"], ["seed"]]
    assert asked_for(["experiment=fig3", "seed=2"]).seeds == {2}


def test_files_have_names_that_file_systems_take() -> None:
    assert file_name(["fig1", "train.lr=0.1"]) == "fig1-train.lr=0.1"
    assert file_name(["a/../b", "x='y z'"]) == "a_.._b-x=_y_z_"
    long = [f"train.lr={','.join(str(n / 1000) for n in range(100))}"]
    assert len(file_name(long)) < 160 and file_name(long) != file_name([*long, "seed=1"])


@pytest.mark.parametrize(
    ("words", "count", "seen"),
    [
        (["filler"], 7 * 20, range(1, 7)),
        (["filler", "dataset=mnist", "seed=range(21,41)"], 7 * 20, range(1, 21)),
        (["dose"], 2 * (2 + 4 * 8) * 6, range(1, 109)),
        (["controlled_cifar"], 5 * 16, range(1, 27)),  # those of `filler` share their first five epochs
    ],
)
def test_what_is_to_be_confirmed_takes_fresh_seeds(words: list[str], count: int, seen: range) -> None:
    configs = expand([f"experiment={words[0]}", *words[1:]])
    assert len(configs) == count and not {config.seed for config in configs} & set(seen)
    assert {config.dims.hidden for config in configs} <= {50, 500}


def test_weights_adds_one_arm_to_those_of_filler() -> None:
    filler, weights = asked_for(["experiment=filler"]).runs, asked_for(["experiment=weights"]).runs
    assert filler and weights
    added = weights.keys() - filler.keys()
    assert len(weights) == 5 * 20 and len(added) == 20 and all("gain9.0-fill0.0" in run for run in added)


def test_fair_gives_small_subsets_more_epochs_and_holds_out_what_rates_are_chosen_by() -> None:
    experiment = load_experiment("fair")
    arms = [arm.values for arm in experiment.arms.values()]
    assert len(arms) == 3 * 5 * 3 and {arm["train.validation"] for arm in arms} == {5000}
    pairs = {(arm.get("train.subset"), arm["train.epochs"]) for arm in arms}
    assert pairs == {(300, 60), (3000, 30), (None, 6)}


def test_the_primary_outcome_is_the_experiments_and_part_of_no_run(own: str) -> None:
    chosen, plain = load_experiment("chosen", config_dir=own), load_experiment("nothing", config_dir=own)
    assert (str(chosen.primary), chosen.margin) == ("train_loss:mean:1-5", 0.01)
    assert (str(plain.primary), plain.margin, plain.margins) == ("accuracy:last", None, {"mnist": 0.1})
    assert chosen.arms.keys() == plain.arms.keys()
    assert asked_for(["seed=1,2", "analysis.primary=mean:3"]).runs == asked_for(["seed=1,2"]).runs


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["analysis.primary=mean:0"], "analysis.primary=mean:0: must be METRIC:last"),
        (["analysis.margin=-1"], "analysis.margin=-1: must be greater than 0"),
        (["analysis.primary=last,mean:3"], "analysis.primary=last,mean:3: the runs of a sweep are compared in one way"),
        (["+analysis.second=last"], "analysis: has the keys primary, margin, choose, not "),
    ],
)
def test_mistakes_in_how_runs_are_compared(words: list[str], message: str) -> None:
    with pytest.raises(UserError, match=f"^{message}"):
        asked_for(words)
