"""Sweeps that ask between two stages what is next: looks and searches."""

import json
import os
import re
import signal
from pathlib import Path

import pytest
from conftest import ROOT
from processes import records, rows, start, sweep, wait_until


@pytest.mark.slow
def test_arms_that_a_look_decides_do_not_go_on(tmp_path: Path) -> None:
    arguments = [
        "model=baseline,twin,padding", "train.epochs=1", "train.subset=64", "seed=range(1,17)", "dataset.margin=0.5",
        "hydra.sweeper.looks=[8,16]", f"outputs={tmp_path}",
    ]  # fmt: skip
    first = sweep(ROOT, *arguments)
    assert first.returncode == 0, first.stderr
    assert "48 to run, less what looks at 8 seeds make needless" in first.stdout
    assert re.search(r"^look at 8 seeds: digits, without feedback, twin: equivalent$", first.stdout, re.MULTILINE)
    assert "48 runs: 40 done, 8 not needed" in first.stdout and "without a result" not in first.stderr
    ran = {(model, int(seed[1:])) for _, model, *_, seed, _ in (name.split("-") for name in records(tmp_path))}
    wanted = {"baseline": range(1, 17), "padding": range(1, 17), "twin": range(1, 9)}
    assert ran == {(model, seed) for model, seeds in wanted.items() for seed in seeds}
    summary = rows(next((tmp_path / "sweeps").iterdir()) / "summary.csv")
    assert [row["state"] for row in summary].count("not needed") == 8
    again = sweep(ROOT, *arguments)
    assert again.returncode == 0 and "48 runs: 40 done, 8 not needed" in again.stdout  # and nothing has run again


def numbers(outputs: Path) -> dict[str, list[dict[str, str]]]:
    """Return metrics.csv without its column of seconds, by run."""
    files = (outputs / "runs").glob("*/metrics.csv")
    return {file.parent.name: [row | {"seconds": ""} for row in rows(file)] for file in files}


@pytest.mark.slow
def test_a_search_that_was_killed_goes_on_to_the_same_end(tmp_path: Path) -> None:
    pytest.importorskip("optuna", reason="needs the extra 'search'")
    arguments = [
        "model=baseline,pool", "train.epochs=1", "train.subset=128", "train.validation=100", "seed=1",
        "train.lr=tag(log,interval(1e-3,1))", "hydra.sweeper.search={trials: 6, batch: 2, confirm: 2}",
        "hydra.launcher.processes=1",
    ]  # fmt: skip
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    whole = sweep(ROOT, *arguments, f"outputs={undisturbed}")
    assert whole.returncode == 0, whole.stderr
    process = start(ROOT, *arguments, f"outputs={killed}")
    wait_until(lambda: len(records(killed)) > 6)  # in the second round
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    done = {run: record for run, record in records(killed).items() if record["status"] == "done"}
    assert len(done) >= 6
    again = sweep(ROOT, *arguments, f"outputs={killed}")
    assert again.returncode == 0, again.stderr
    assert "6 runs: 6 done; 0 to run at first" in again.stdout
    assert {run: records(killed)[run]["finished"] for run in done} == {run: done[run]["finished"] for run in done}
    assert numbers(killed) == numbers(undisturbed) and len(numbers(killed)) == 2 * 6 + 2 * 2
    best = re.compile(r"^model=.*, the best of 6 by validation accuracy.*$", re.MULTILINE)
    assert best.findall(again.stdout) == best.findall(whole.stdout) and len(best.findall(again.stdout)) == 2
    *_, folder = sorted((killed / "sweeps").iterdir())
    assert json.loads((folder / "sweep.json").read_text())["search"]["trials"] == 6
    assert {row["id"] for row in rows(folder / "plan.csv")} == set(records(killed))
    assert {"figure-differences.png", "figure-search-train.lr.png", "search.journal"} <= {
        p.name for p in folder.iterdir()
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["model=baseline,pool", "seed=range(1,17)", "hydra.sweeper.looks=[8,12]"], "the last one that of all seeds of "
         "this sweep, 16"),
        (["model=baseline,pool", "seed=range(1,17)", "hydra.sweeper.looks=[16,8]"], "each greater than the one before"),
        (["model=baseline,pool", "seed=range(1,17)", "hydra.sweeper.looks=[4,16]"], "4 seeds can decide nothing; the "
         "first look must be at 7 or more"),
        (["model=pool,ones", "seed=range(1,17)", "hydra.sweeper.looks=[8,16]"], "each arm is compared with one arm of "
         "model=baseline, and 'pool' has 0 here"),
        (["model=baseline,pool", "analysis.primary=acc"], "analysis.primary=acc:last: must be of a metric of these "
         "runs: accuracy"),
    ],
    ids=["fewer", "falling", "early", "alone", "outcome"],
)  # fmt: skip
def test_impossible_looks_and_outcomes_are_refused_before_any_work(
    tmp_path: Path, arguments: list[str], message: str
) -> None:
    done = sweep(ROOT, *arguments, f"outputs={tmp_path}")
    assert done.returncode == 2 and message in done.stderr and len(done.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())
