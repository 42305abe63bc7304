import json
from pathlib import Path
from typing import Any

import pytest
from test_sweeps import finish, write_sweep

from analysis.beforehand import chosen_later
from analysis.experiments import asked_for, load_experiment
from analysis.figures import figures_of
from analysis.load import load_runs
from analysis.study import gather

WORDS = ["model=baseline,pool", "dataset=digits", "train.epochs=2", "seed=1,2,3"]


def record(outputs: Path, name: str, *words: str, **chosen: Any) -> list[str]:
    """Write the record of a sweep, and its runs as finished unless they are there; return their ids."""
    folder, configs = write_sweep(outputs, *WORDS, *words, name=name)
    asked = json.loads((folder / "sweep.json").read_text())
    (folder / "sweep.json").write_text(json.dumps(asked | chosen))
    if not (outputs / "runs").exists():
        finish(configs)
    return [path.name for path in (outputs / "runs").iterdir()]


def later(outputs: Path, runs: list[str], *words: str) -> list[str]:
    return chosen_later(asked_for([*WORDS, *words]), outputs, runs)


def test_an_outcome_that_was_chosen_after_the_runs_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record(tmp_path, "2026-11-25_10-00-00")
    words, said = (
        [*WORDS, "analysis.primary=accuracy:mean:2"],
        "analysis.primary=accuracy:mean:2 was chosen later: of 6 runs the plan had accuracy:last",
    )
    study = gather(asked_for(words), load_runs(tmp_path))
    assert study.later == [said] and said in capsys.readouterr().err
    for figure, _ in figures_of(study).values():
        assert said in figure.get_suptitle()


def test_what_was_chosen_before_the_runs_needs_no_word(tmp_path: Path) -> None:
    runs = record(tmp_path, "2026-11-25_10-00-00", primary="mean:2", margin=0.5)  # short for accuracy:mean:2
    assert later(tmp_path, runs, "analysis.primary=accuracy:mean:2", "analysis.margin=0.5") == []
    assert (
        gather(asked_for([*WORDS, "analysis.primary=mean:2", "analysis.margin=0.5"]), load_runs(tmp_path)).later == []
    )


def test_the_first_sweep_that_has_a_run_decides(tmp_path: Path) -> None:
    runs = record(tmp_path, "2026-11-25_10-00-00", primary="accuracy:last")
    record(tmp_path, "2026-11-25_11-00-00", primary="accuracy:mean:2")  # the same command again, with another outcome
    assert later(tmp_path, runs, "analysis.primary=mean:2") == [
        "analysis.primary=accuracy:mean:2 was chosen later: of 6 runs the plan had accuracy:last"
    ]
    assert later(tmp_path, runs) == []


def test_looks_at_other_times_are_named(tmp_path: Path) -> None:
    runs = record(tmp_path, "2026-11-25_10-00-00", looks=[[1, 2], [1, 2, 3]])
    assert later(tmp_path, runs, "hydra.sweeper.looks=[2,3]") == []
    assert later(tmp_path, runs, "hydra.sweeper.looks=[3]") == [
        "hydra.sweeper.looks=[3] was chosen later: of 6 runs the plan had [2,3]"
    ]
    assert later(tmp_path, runs) == ["hydra.sweeper.looks=[] was chosen later: of 6 runs the plan had [2,3]"]


def test_seeds_that_are_left_out_are_named(tmp_path: Path) -> None:
    runs = record(tmp_path, "2026-11-25_10-00-00")
    of_seeds = {seeds: asked_for([*WORDS[:-1], seeds]) for seeds in ("seed=1,3", "seed=range(1,5)")}
    assert chosen_later(of_seeds["seed=1,3"], tmp_path, runs[:2]) == [
        "seed=1,3 was chosen later: of 2 runs the plan had range(1,4)"
    ]
    assert chosen_later(of_seeds["seed=range(1,5)"], tmp_path, runs) == []  # more of the same


def test_of_the_published_experiments_any_seed_stands_for_any(tmp_path: Path) -> None:
    folder, _ = write_sweep(tmp_path, "experiment=fig1", "seed=1,2,3", name="2026-11-25_10-00-00")
    runs = [line.partition(",")[0] for line in (folder / "plan.csv").read_text().splitlines()[1:]]
    assert chosen_later(load_experiment("fig1"), tmp_path, runs) == []
    assert chosen_later(load_experiment("fig1", ["seed=2"]), tmp_path, runs) == [
        "seed=2 was chosen later: of 6 runs the plan had range(1,4)"
    ]


@pytest.mark.parametrize("text", ["", "{", '{"command": 1}', None])
def test_nothing_is_said_of_runs_without_a_readable_record(tmp_path: Path, text: str | None) -> None:
    runs = record(tmp_path, "2026-11-25_10-00-00")
    path = tmp_path / "sweeps" / "2026-11-25_10-00-00" / "sweep.json"
    path.unlink() if text is None else path.write_text(text)
    assert later(tmp_path, runs, "analysis.primary=mean:2") == []
