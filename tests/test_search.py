import math
import statistics
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import pytest

from weightnet.config import Config
from weightnet.errors import UserError
from weightnet.sweep.compose import composer
from weightnet.sweep.interval import Interval
from weightnet.sweep.plan import Job, make_plan, trial_jobs
from weightnet.sweep.search import Search, SearchConfig, SearchedArm
from weightnet.sweep.stages import search_stages

optuna = pytest.importorskip("optuna", reason="needs the extra 'search'")

RATE = "train.lr=tag(log,interval(1e-3,1))"
SWEEP = ["dataset=digits", "train.validation=300", "seed=3,5"]
OPTIONS = SearchConfig(trials=12, batch=4, confirm=3)


def search_of(*overrides: str, options: SearchConfig = OPTIONS) -> Search:
    with composer([*SWEEP, *overrides]) as jobs:
        plan = make_plan(jobs, search=options)
    assert plan.search is not None
    return plan.search


def follow(
    overrides: Sequence[str], reach: Callable[[Config], float | None], journal: Path, options: SearchConfig = OPTIONS
) -> list[list[Job]]:
    """Follow a search whose runs reach what a function says; return the jobs of its stages."""

    def reached(jobs: Sequence[Job]) -> dict[str, float]:
        found: dict[str, list[float | None]] = {}
        for job in jobs:
            found.setdefault(job.arm, []).append(reach(job.config))
        return {arm: statistics.mean(each) for arm, each in found.items() if None not in each}  # type: ignore[type-var]

    with composer([*SWEEP, *overrides]) as jobs:
        plan = make_plan(jobs, search=options)
        assert plan.search is not None
        stages = search_stages(plan.search, lambda *asked: trial_jobs(jobs, *asked), reached, journal)
        return [stage.jobs for stage in stages]


def peak(config: Config) -> float:
    """Return 90% at a learning rate of 0.08 (baseline) or 0.2, less the farther away, a little by seed."""
    best = 0.08 if config.model.name == "baseline" else 0.2
    return 90 - 10 * math.log10(config.train.lr / best) ** 2 + 0.1 * config.seed


def rates(jobs: Sequence[Job], model: str) -> list[float]:
    return list(dict.fromkeys(job.config.train.lr for job in jobs if job.config.model.name == model))


def test_a_search_finds_about_the_best_value_of_each_arm(tmp_path: Path) -> None:
    *rounds, confirmation = follow(["model=baseline,pool", RATE], peak, tmp_path / "journal")
    for model, best in (("baseline", 0.08), ("pool", 0.2)):
        (found,) = rates(confirmation, model)
        assert abs(math.log10(found / best)) < 0.15
        assert found == max((rate for jobs in rounds for rate in rates(jobs, model)),
                            key=lambda rate: -abs(math.log10(rate / best)))  # fmt: skip


def test_every_arm_has_the_same_budget_seeds_and_first_values(tmp_path: Path) -> None:
    *rounds, confirmation = follow(["model=baseline,pool,rmp", RATE], peak, tmp_path / "journal")
    assert [len(jobs) for jobs in rounds] == [3 * 2 * trials for trials in (6, 4, 2)]  # arms, seeds
    for model in ("baseline", "pool", "rmp"):
        assert len(rates([job for jobs in rounds for job in jobs], model)) == 12
        assert rates(rounds[0], model) == rates(rounds[0], "baseline")
        for jobs in rounds:
            assert {job.config.seed for job in jobs if job.config.model.name == model} == {3, 5}
        assert [job.config.seed for job in confirmation if job.config.model.name == model] == [6, 7, 8]


def test_the_same_answers_are_followed_by_the_same_questions(tmp_path: Path) -> None:
    asked = ["model=baseline,pool", RATE, "train.momentum=interval(0,0.9)"]
    first, again = (follow(asked, peak, tmp_path / name) for name in ("first", "again"))
    assert [[job.id for job in jobs] for jobs in first] == [[job.id for job in jobs] for jobs in again]
    other = follow(asked, lambda config: -peak(config), tmp_path / "other")
    assert [job.id for job in other[0]] == [job.id for job in first[0]]
    assert [job.id for job in other[1]] != [job.id for job in first[1]]


def test_an_arm_searches_the_keys_that_it_takes() -> None:
    search = search_of("model=baseline,pool", "model.params.gain=tag(log,interval(0.1,10))", RATE)
    assert [arm.keys for arm in search.arms] == [["train.lr"], ["model.params.gain", "train.lr"]]
    alone = search_of("model=baseline,pool", "model.params.gain=tag(log,interval(0.1,10))")
    assert [arm.keys for arm in alone.arms] == [[], ["model.params.gain"]]
    baseline, pool = alone.arms
    assert alone.ask(baseline, []) == [{}] and alone.ask(baseline, [({}, 90.0)]) == []
    assert alone.ask(pool, [])[0] == {"model.params.gain": 1.0}
    assert alone.runs == 2 + 3 + 12 * 2 + 3


def test_whole_numbers_that_are_tried_twice_are_one_run(tmp_path: Path) -> None:
    stages = follow(["model=pool", "train.batch_size=interval(30,33)"], lambda config: 50.0, tmp_path / "journal")
    sizes = [job.config.train.batch_size for jobs in stages[:-1] for job in jobs]
    assert sorted(sizes) == sorted(2 * [*set(sizes)]) and set(sizes) <= {30, 31, 32, 33}  # two seeds


def test_failed_trials_are_no_results(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def failing(config: Config) -> float | None:
        return None if config.model.name == "pool" or (config.train.lr > 0.1 and config.seed == 5) else peak(config)

    *_, confirmation = follow(["model=baseline,pool", RATE], failing, tmp_path / "journal")
    assert {job.config.model.name for job in confirmation} == {"baseline"}
    assert rates(confirmation, "baseline")[0] <= 0.1
    assert "model=pool: none of 12 trials has a result with every seed" in capsys.readouterr().err


def test_a_best_value_at_an_end_is_a_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    follow(["model=baseline,pool", RATE], lambda config: config.train.lr, tmp_path / "journal")
    said = capsys.readouterr()
    assert said.out.count("the best of 12 by validation accuracy") == 2
    assert all("at the upper end of the interval from 0.001 to 1.0" in line for line in said.err.splitlines())
    follow(["model=baseline,pool", RATE], peak, tmp_path / "other")
    assert not capsys.readouterr().err


def test_a_search_without_all_results_stops(tmp_path: Path) -> None:
    with composer([*SWEEP, RATE]) as jobs:
        plan = make_plan(jobs, search=OPTIONS)
        assert plan.search is not None
        make = lambda *asked: trial_jobs(jobs, *asked)  # noqa: E731
        assert len(list(search_stages(plan.search, make, lambda jobs: None, tmp_path / "journal"))) == 1


def test_the_journal_is_optunas(tmp_path: Path) -> None:
    *rounds, _ = follow(["model=baseline,pool", RATE], peak, tmp_path / "journal")
    backend = optuna.storages.journal.JournalFileBackend(str(tmp_path / "journal"))
    storage = optuna.storages.JournalStorage(backend)
    for model in ("baseline", "pool"):
        study = optuna.load_study(study_name=f"model={model}", storage=storage)
        tried = [trial.params["train.lr"] for trial in study.trials]
        assert tried == [rate for jobs in rounds for rate in rates(jobs, model)]
        assert study.best_value == pytest.approx(max(trial.value for trial in study.trials))


@pytest.mark.parametrize("found", [None, "3.6.1"])
def test_without_optuna_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, found: str | None) -> None:
    def version(package: str) -> str:
        if found is None:
            raise PackageNotFoundError(package)
        return found

    monkeypatch.setattr("weightnet.sweep.search.version", version)
    with pytest.raises(UserError, match=r"takes Optuna 4 or later.*: pip install 'weightnet\[search\]'$"):
        search_of(RATE)


def refused(*overrides: str, options: SearchConfig = OPTIONS, **asked: Any) -> str:
    with composer([*SWEEP, "model=baseline,pool", *overrides]) as jobs, pytest.raises(UserError) as caught:
        make_plan(jobs, search=options, **asked)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_cannot_be_searched_is_refused_in_a_line() -> None:
    assert "hydra.sweeper.search.trials=12; else write the values out" in refused(RATE, options=SearchConfig())
    assert refused().startswith("hydra.sweeper.search.trials=12: takes a key to search")
    assert "trials=1: must be from 2 to" in refused(RATE, options=SearchConfig(trials=1))
    assert "confirm=0: must be from 1 to" in refused(RATE, options=SearchConfig(trials=9, confirm=0))
    assert "search and hydra.sweeper.looks exclude" in refused(RATE, looks=[1, 2])
    choose = ["train.momentum=0,0.5", "analysis.choose=train.momentum"]
    assert "search and analysis.choose exclude" in refused(RATE, *choose)
    assert "zip: train.lr cannot move" in refused(RATE, zipped=["model,train.lr"])
    assert "zip: seed cannot move" in refused(RATE, zipped=["model,seed"])
    assert "and model=pool lacks some" in refused(RATE, exclude=["model=pool,seed=5"])
    assert refused("train.lr=0.1,interval(0.2,1)").startswith("train.lr=0.1,interval(0.2,1): a range, glob or interval")
    idle = refused("train.log_interval=interval(1,9)")
    assert idle == "train.log_interval: no run of this sweep changes with it, so there is nothing to search"
    assert refused("train.lr=interval(0,1)") == "train.lr=0.0: must be greater than 0, and finite"


def test_the_first_round_is_half_of_the_trials_but_no_more_than_ten() -> None:
    arm = SearchedArm([], "", ["train.lr"])
    for trials, batch, first in ((2, 4, 2), (4, 4, 4), (12, 4, 6), (13, 4, 7), (100, 4, 10), (100, 16, 16)):
        search = Search({"train.lr": Interval(0.0, 1.0, False, False)}, [arm], [1], trials, batch, 10)
        assert len(search.ask(arm, [])) == first
