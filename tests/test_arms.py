from collections.abc import Callable

from conftest import expand

from analysis.arms import columns, name_arms
from analysis.experiments import arms_of, asked_for
from analysis.pictures import choose_axes
from weightnet.config import Config


def told(*overrides: str) -> list[str]:
    return [arm.label for arm in asked_for([*overrides, "dataset=digits"]).arms.values()]


def test_labels_tell_the_swept_keys_and_not_what_follows_from_them() -> None:
    assert told("model=baseline,pool", "dims=controlled", "dims.m=31,62") == [
        "without feedback",
        "pool, m=31",
        "pool, m=62",
    ]
    assert told("model=pool", "train.lr=0.1,1e-3", "train.momentum=0.0,0.5")[:2] == [
        "pool, lr=0.1, momentum=0",
        "pool, lr=0.1, momentum=0.5",
    ]


def test_no_two_arms_have_the_same_label() -> None:
    assert told("model=pool", "train.lr=0.1234567,0.1234568") == ["pool, lr=0.1234567", "pool, lr=0.1234568"]
    channels = told("model=baseline", "dataset.channels=[5,10],[5,12]")
    assert channels == ["without feedback, channels=[5, 10]", "without feedback, channels=[5, 12]"]


def test_parameters_are_told_where_they_differ() -> None:
    assert told("model=baseline,pool,padding", "model.params.fill=0,1") == [
        "without feedback", "pool, fill=0", "pool, fill=1", "filler alone",
    ]  # fmt: skip
    assert told("model=pool,bias_lr", "model.params.gain=0.5,1,2") == [
        "pool, gain=0.5", "pool, gain=1", "pool, gain=2",
        "bias learning rate, gain=0.5", "bias learning rate, gain=1", "bias learning rate, gain=2",
    ]  # fmt: skip
    assert told("model=pool", "model.params.gain=1") == ["pool"]
    assert told("model=bias_lr", "model.params.multiplier=null,5") == [
        "bias learning rate", "bias learning rate, multiplier=5",
    ]  # fmt: skip
    assert told("model=baseline,twin") == ["without feedback", "without feedback, twin"]


def test_the_gain_is_an_axis_and_so_is_what_it_amounts_to() -> None:
    experiment = asked_for(["model=baseline,pool,ones", "dataset=digits", "model.params.gain=0,1,2"])
    assert choose_axes(experiment.arms, experiment.axes) == ["model.params.gain"]
    assert choose_axes(experiment.arms, experiment.axes, x="dose") == ["dose"]
    assert set(experiment.labels(["model.params.gain"]).values()) == {"without feedback", "pool", "ones"}
    assert set(experiment.labels(["dose"]).values()) == {"without feedback", "pool", "ones"}
    of_ones = [arm.values["dose"] for arm in experiment.arms.values() if arm.model == "ones"]
    assert of_ones == [1, 1 + 26, 1 + 4 * 26]


def test_an_axis_needs_no_mention() -> None:
    experiment = asked_for(["model=baseline,pool", "dataset=digits,mnist", "train.lr=0.1,0.01", "dims=controlled"])
    assert set(experiment.labels(["train.lr"]).values()) == {"without feedback", "pool"}
    assert set(experiment.labels().values()) >= {"without feedback, lr=0.1", "pool, lr=0.01"}


def test_an_arm_has_only_the_keys_that_its_model_uses(make_config: Callable[..., Config]) -> None:
    baseline, ones, pool = name_arms([make_config(model=model) for model in ("baseline", "ones", "pool")])
    assert {"dims.dx", "dims.m", "eval.feedback"} & baseline.values.keys() == set()
    assert {"dims.dx", "dims.m", "eval.feedback"} & ones.values.keys() == {"dims.dx", "eval.feedback"}
    assert pool.values["dims.m"] == 31 and baseline.values["train.lr"] == 0.01


def test_a_group_stands_for_the_key_that_names_its_choice_or_for_what_differs() -> None:
    arms = list(arms_of(expand(["dataset=digits", "model=pool", "train.lr=0.1,0.2"]), []).values())
    assert columns("model", arms) == ["model.name"] and columns("+train.lr", arms) == ["train.lr"]
    assert columns("dims@dims", arms) == ["dims.rule"] and columns("train", arms) == ["train.lr"]
