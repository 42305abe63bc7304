import random
import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from test_load import write_run

from analysis.stages import check, decided, reached
from weightnet.errors import UserError
from weightnet.sweep.compose import composer
from weightnet.sweep.plan import Job, Plan, make_plan
from weightnet.sweep.search import SearchConfig
from weightnet.sweep.stages import Looks, look_stages, stages

SWEEP = ["model=baseline,pool,ones", "dataset=digits", "train.epochs=2"]


def plan_of(*overrides: str, looks: Sequence[int] = (8, 10)) -> Plan:
    with composer([*SWEEP, f"seed=range(0,{max(looks)})", *overrides]) as jobs:
        return make_plan(jobs, looks=looks)


@pytest.mark.parametrize(
    ("overrides", "wrong"),
    [
        (["train.lr=0.1,0.2", "train.validation=9", "analysis.choose=train.lr"], "hydra.sweeper.looks and analysis.ch"),
        (
            ["analysis.primary=accuracy:mean:3"],
            "analysis.primary=accuracy:mean:3: takes 3 epochs, and these runs have 2",
        ),
        (["analysis.primary=acuracy"], "analysis.primary=acuracy:last: must be of a metric of these runs: accuracy"),
        (["analysis.primary=validation_accuracy"], "analysis.primary=validation_accuracy:last: must be of a metric"),
        (["train.lr=0.1,0.2", "dims.m=31,62"], ""),
        (["analysis.primary=train_loss:mean:1-2"], ""),
        (["analysis.primary=validation_accuracy", "train.validation=9"], ""),
    ],
)
def test_what_can_be_looked_at(overrides: list[str], wrong: str) -> None:
    plan = plan_of(*overrides)
    if not wrong:
        return check(plan)
    with pytest.raises(UserError, match=f"^{re.escape(wrong)}"):
        check(plan)
    return None


def test_a_look_is_at_the_runs_of_its_seeds_alone(tmp_path: Path) -> None:
    plan = plan_of(f"outputs={tmp_path}")
    chance = random.Random(0)
    for job in plan.jobs:
        gain = {"baseline": 0.0, "pool": 0.3, "ones": 0.0}[job.config.model.name]
        late = job.config.seed >= 8  # runs of other code
        accuracy = 0.3 + gain + chance.uniform(0, 0.1)
        write_run(job.config, [accuracy] * 2, **({"code": "beef"} if late else {}))
    words = decided(plan, plan.looks[0], tmp_path)
    assert list(words.values()) == ["digits, pool: better"]
    with pytest.raises(UserError, match="these runs differ in code"):
        decided(plan, plan.looks[1], tmp_path)


def test_the_reference_is_needed_until_all_are_decided(tmp_path: Path) -> None:
    plan = plan_of(f"outputs={tmp_path}")
    assert decided(plan, plan.looks[0], tmp_path) == {}
    chance = random.Random(0)
    for job in plan.jobs:
        gain = {"baseline": 0.0, "pool": 0.2, "ones": -0.2}[job.config.model.name]
        write_run(job.config, [0.6 + gain + chance.uniform(0, 0.1)] * 2)
    words = decided(plan, plan.looks[0], tmp_path)
    assert sorted(words.values()) == [
        "digits, ones: worse", "digits, pool: better", "without feedback: all that is compared with it",
    ]  # fmt: skip


def test_what_a_look_decides_does_not_run(capsys: pytest.CaptureFixture[str]) -> None:
    plan, asked = plan_of(looks=(7, 8, 10)), list[Sequence[int]]()
    pool = next(job.arm for job in plan.jobs if job.config.model.name == "pool")

    def look(seeds: Sequence[int]) -> dict[str, str]:
        asked.append(seeds)
        return {pool: "pool is decided"} if len(seeds) == 8 else {}

    found = list(look_stages(plan, look))
    assert [len(seeds) for seeds in asked] == [7, 8]
    assert [len(stage.jobs) for stage in found] == [21, 3, 4]
    assert {job.id for job in found[2].needless} == {
        job.id for job in plan.jobs if job.arm == pool and job.config.seed > 7
    }
    assert capsys.readouterr().out.splitlines() == [
        "look at 7 seeds: nothing is decided", "look at 8 seeds: pool is decided"
    ]  # fmt: skip


def test_a_plan_without_looks_is_one_stage(tmp_path: Path) -> None:
    with composer([*SWEEP, "seed=1,2"]) as jobs:
        plan = make_plan(jobs)
        (stage,) = stages(plan, jobs, no_looks, tmp_path, tmp_path)
    assert stage.jobs == plan.jobs and not stage.needless


def no_looks() -> Looks:
    raise AssertionError("nothing is asked")


VALIDATED = ["model=pool", "train.lr=0.1,0.2", "train.validation=9", "seed=1,2", "dataset=digits", "train.epochs=2"]


def write_validated(job: Job, validation: list[float], test: float = 0.5) -> None:
    folder = write_run(job.config, [test, test])
    header, *epochs = (folder / "metrics.csv").read_text().splitlines()
    rows = [f"{epoch},0.7,{accuracy}" for epoch, accuracy in zip(epochs, validation, strict=True)]
    lines = [f"{header},validation_loss,validation_accuracy", *rows]
    (folder / "metrics.csv").write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize("test", [0.0, 0.5, 1.0])
def test_what_trials_reached_is_validation_over_the_primary_epochs(tmp_path: Path, test: float) -> None:
    with composer([*VALIDATED, "analysis.primary=accuracy:mean:1-2", f"outputs={tmp_path}"]) as jobs:
        plan = make_plan(jobs)
    for job in plan.jobs:
        write_validated(job, [0.5, 0.5 + job.config.train.lr + 0.1 * job.config.seed], test * job.config.seed / 2)
    found = reached(plan, plan.jobs, tmp_path)
    lower, higher = dict.fromkeys(job.arm for job in plan.jobs)
    assert found == {lower: pytest.approx(50 + 0.5 * (10 + 15)), higher: pytest.approx(50 + 0.5 * (20 + 15))}


def test_a_trial_that_lacks_a_seed_has_reached_nothing(tmp_path: Path) -> None:
    with composer([*VALIDATED, f"outputs={tmp_path}"]) as jobs:
        plan = make_plan(jobs)
    for job in plan.jobs[1:]:
        write_validated(job, [0.5, 0.75])
    assert reached(plan, plan.jobs, tmp_path) == {plan.jobs[-1].arm: pytest.approx(75)}


def test_a_search_needs_a_validation_split_and_the_epochs_of_its_outcome() -> None:
    def wrong(*overrides: str) -> str:
        with composer([*SWEEP, "seed=1,2", "train.lr=interval(0.1,0.2)", *overrides]) as jobs:
            plan = make_plan(jobs, search=SearchConfig(trials=4))
        with pytest.raises(UserError) as caught:
            check(plan)
        return str(caught.value)

    pytest.importorskip("optuna", reason="needs the extra 'search'")
    assert wrong() == "hydra.sweeper.search: the runs must have a validation split, as by train.validation=1000"
    assert "takes 3 epochs, and these runs have 2" in wrong("train.validation=9", "analysis.primary=accuracy:mean:3")
