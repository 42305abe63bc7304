import re

import pandas as pd
import pytest

from analysis.choice import choose, validated
from analysis.experiments import Experiment, load_experiment
from analysis.metrics import read_outcome
from weightnet.errors import UserError

OVERRIDES = ["model=baseline,pool", "train.lr=0.01,0.1,1", "train.subset=300", "train.epochs=2", "seed=1,2"]


@pytest.fixture
def experiment() -> Experiment:
    return load_experiment("fair", OVERRIDES)


def frames(experiment: Experiment, reached: dict[tuple[str, float], list[float]]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return runs and their epochs, two each; `reached`: (model, rate) -> each seed's validation accuracy."""
    runs, epochs = [], []
    for key, arm in experiment.arms.items():
        for seed, accuracy in enumerate(reached[arm.model, arm.values["train.lr"]]):
            run = {"run": f"{arm.label}-{seed}", "arm": key, "seed": seed, "status": "done", "train.epochs": 2}
            runs.append({**run, "validation_accuracy": accuracy, "accuracy": 90.0, "test_loss": 1.0, "train_loss": 1.0})
            epochs += [{**runs[-1], "epoch": epoch} for epoch in (1, 2)]
    return pd.DataFrame(runs), pd.DataFrame(epochs)


REACHED = {
    ("baseline", 0.01): [80, 82], ("baseline", 0.1): [90, 70], ("baseline", 1.0): [50, 50],
    ("pool", 0.01): [80, 80], ("pool", 0.1): [85, 85], ("pool", 1.0): [86, 10],
}  # fmt: skip


def test_each_arm_is_taken_at_its_best_mean_over_seeds(
    experiment: Experiment, capsys: pytest.CaptureFixture[str]
) -> None:
    runs, epochs = frames(experiment, REACHED)
    chosen = choose(runs, epochs, experiment, read_outcome("last", ""))
    rates = {experiment.arms[arm].model: experiment.arms[arm].values["train.lr"] for arm in chosen["arm"]}
    assert rates == {"baseline": 0.01, "pool": 0.1} and len(chosen) == 4
    said = capsys.readouterr().err.splitlines()
    assert said == [
        "fair: by validation accuracy, 81.00%, 'without feedback, lr=0.01' is the best of 3, the least",
        "fair: by validation accuracy, 85.00%, 'pool, lr=0.1' is the best of 3",
    ]


@pytest.mark.parametrize(
    ("override", "wrong"),
    [
        (
            "train.validation=null",
            "choose=train.lr: the runs must have a validation split, as by train.validation=1000",
        ),
        (
            "analysis.choose=train.momentum",
            "choose=train.momentum: must be a key that is swept, one of model.name, train",
        ),
        ("analysis.choose=seed", "choose=seed: must be a key that is swept, one of model.name, train"),
    ],
)
def test_what_cannot_be_chosen_by_is_refused(override: str, wrong: str) -> None:
    experiment = load_experiment("fair", [*OVERRIDES, override])
    with pytest.raises(UserError, match=re.escape(f"analysis.{wrong}")):
        choose(*frames(experiment, REACHED), experiment, read_outcome("last", ""))


def test_before_a_run_has_finished_nothing_is_chosen(experiment: Experiment) -> None:
    runs, epochs = frames(experiment, REACHED)
    outcome = read_outcome("last", "")
    assert choose(runs.assign(status="running"), epochs, experiment, outcome).empty
    failed = runs.drop(columns="validation_accuracy").assign(status="failed")  # in their first epoch
    assert validated(failed, epochs, outcome).empty and choose(failed, epochs, experiment, outcome).empty
