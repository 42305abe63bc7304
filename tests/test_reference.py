"""Which arms are compared with which."""

from pathlib import Path

import pytest

from analysis.experiments import asked_for
from analysis.reference import called, no_such_arm, partners, referred
from weightnet.errors import UserError


def pairs(reference: str, *overrides: str) -> dict[str, list[str]]:
    experiment = asked_for([*overrides, "dataset=digits"])
    names = experiment.labels()
    found = partners(experiment.arms, experiment.swept, reference)
    return {names[arm]: [names[other] for other in others] for arm, others in found.items()}


def test_arms_are_compared_within_the_values_of_what_was_swept() -> None:
    assert pairs("baseline", "model=baseline,pool", "train.lr=0.1,0.2") == {
        "pool, lr=0.1": ["without feedback, lr=0.1"],
        "pool, lr=0.2": ["without feedback, lr=0.2"],
    }


def test_a_reference_without_the_key_is_compared_with_every_value() -> None:
    assert pairs("baseline", "model=baseline,pool", "dims=controlled", "dims.m=31,62", "train.lr=0.1,0.2") == {
        f"pool, m={m}, lr={lr}": [f"without feedback, lr={lr}"] for m in (31, 62) for lr in (0.1, 0.2)
    }
    both = pairs("pool", "model=baseline,pool", "dims=controlled", "dims.m=31,62")
    assert both == {"without feedback": ["pool, m=31", "pool, m=62"]}  # more than one: refused


def test_a_reference_with_one_value_of_a_models_parameter_is_compared_with_every_value() -> None:
    swept = ["model=pool,padding", "dims=controlled", "model.params.gain=1,9"]
    one = 'hydra.sweeper.exclude=["model=padding,model.params.gain=9"]'
    assert pairs("padding", *swept, one) == {f"pool, gain={gain}": ["filler alone"] for gain in (1, 9)}
    assert pairs("padding", *swept) == {f"pool, gain={gain}": [f"filler alone, gain={gain}"] for gain in (1, 9)}


def test_a_rule_that_makes_no_difference_to_the_reference_does_not_part_it_from_the_arms() -> None:
    found = pairs("baseline", "model=baseline,pool", "dims=published,controlled")  # one baseline: 50 by both rules
    assert found == {"pool, hidden=60": ["without feedback"], "pool, hidden=50": ["without feedback"]}


def test_a_value_is_compared_with_the_other_values_within_each_model() -> None:
    swept = ["model=baseline,pool", "train.lr=0.1,0.2,0.3"]
    expected = {
        f"{model}, lr={lr}": [f"{model}, lr=0.1"] for model in ("without feedback", "pool") for lr in (0.2, 0.3)
    }
    assert pairs("train.lr=0.1", *swept) == pairs("train.lr=1e-1", *swept) == expected


def test_a_value_is_compared_within_the_values_of_what_else_was_swept() -> None:
    found = pairs("train.subset=null", "model=pool", "train.subset=null,300", "train.lr=0.1,0.2")
    assert found == {f"pool, subset=300, lr={lr}": [f"pool, no subset, lr={lr}"] for lr in (0.1, 0.2)}


def test_arms_that_a_key_says_nothing_of_are_not_compared_in_it() -> None:
    swept = ["model=baseline,pool,padding", "dims=controlled", "model.params.gain=1,2"]
    assert pairs("model.params.gain=1", *swept) == {
        "pool, gain=2": ["pool, gain=1"], "filler alone, gain=2": ["filler alone, gain=1"],
    }  # fmt: skip
    start = pairs("train.init=shared", "model=baseline,pool", "dims=published", "train.init=shared,notebook")
    assert start == {"pool, init=notebook": ["pool"]}  # without feedback both are one arm


def test_a_group_is_a_key_and_data_sets_are_not_compared() -> None:
    rules = pairs("dims=controlled", "model=pool", "dims=published,controlled")
    assert rules == {"pool, hidden=60": ["pool, hidden=50"]}
    arms = asked_for(["model=pool", "dataset=digits,mnist"])
    assert list(partners(arms.arms, arms.swept, "dataset=mnist").values()) == [[]]


def test_what_is_no_reference_is_refused() -> None:
    arms = asked_for(["dataset=digits", "model=pool", "train.lr=0.1,0.2"]).arms
    assert not referred(arms, "baseline") and not referred(arms, "train.lr=3") and not referred(arms, "train.rate=0.1")
    with pytest.raises(UserError, match="must be a model, or one value"):
        referred(arms, "train.lr=0.1,0.2")
    with pytest.raises(UserError, match="seeds are what is paired"):
        referred(arms, "seed=1")


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("pol", "no arm is of that model; did you mean pool? There are pool"),
        ("train.lr", "give one of its values, train.lr=VALUE"),
        ("train.lr=3", "no arm has that value. Of train.lr there is 0.1, 0.2"),
        ("lr=0.1", "lr was not swept; did you mean train.lr? What was: train.lr"),
        ("trian.lr=0.1", "trian.lr was not swept; did you mean train.lr? What was: train.lr"),
        ("train.epochs=30", "train.epochs was not swept. What was: train.lr"),
    ],
)
def test_what_there_is_is_said(reference: str, said: str) -> None:
    experiment = asked_for(["dataset=digits", "model=pool", "train.lr=0.1,0.2", "seed=1,2"])
    assert no_such_arm(experiment.arms, experiment.swept, reference) == said


def test_a_model_of_ones_own_is_called_by_its_class_or_as_it_was_asked_for(own_folder: Path) -> None:
    assert pairs("my_feedback.py:MeanFeedback", "model=pool,my_feedback.py:MeanFeedback") == {"pool": ["MeanFeedback"]}


def test_words() -> None:
    assert called("rmp") == "'random projection'" and called("train.lr=0.1") == "train.lr=0.1"
