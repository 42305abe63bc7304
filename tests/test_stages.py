import random
import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from test_load import write_run

from analysis.stages import check, decided
from weightnet.errors import UserError
from weightnet.sweep.compose import composer
from weightnet.sweep.plan import Plan, make_plan
from weightnet.sweep.sweep import _stages

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

    stages = list(_stages(plan, plan.jobs, look))
    assert [len(seeds) for seeds in asked] == [7, 8]
    assert [len(stage.jobs) for stage in stages] == [21, 3, 4]
    assert {job.id for job in stages[2].needless} == {
        job.id for job in plan.jobs if job.arm == pool and job.config.seed > 7
    }
    assert capsys.readouterr().out.splitlines() == [
        "look at 7 seeds: nothing is decided", "look at 8 seeds: pool is decided"
    ]  # fmt: skip


def test_a_plan_without_looks_is_one_stage() -> None:
    with composer([*SWEEP, "seed=1,2"]) as jobs:
        plan = make_plan(jobs)
    (stage,) = _stages(plan, plan.jobs, lambda seeds: {})
    assert stage.jobs == plan.jobs and stage.needless == []
