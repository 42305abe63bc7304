import json
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import expand
from test_load import write_run

from analysis.figures import figures_of
from analysis.load import load_runs
from analysis.records import last_sweep, read_sweep
from analysis.report import write_report
from analysis.study import Options
from analysis.sweeps import draw_sweep, experiments_of, studies_of
from weightnet.config import Config
from weightnet.errors import UserError
from weightnet.identity import arm, run_id
from weightnet.runs.folder import write_csv
from weightnet.sweep.compose import composer
from weightnet.sweep.plan import make_plan


def write_sweep(outputs: Path, *overrides: str, name: str = "2026-11-25_10-00-00") -> tuple[Path, list[Config]]:
    """Write a sweep's folder as `weightnet.sweep` does; return it, and the configs of its jobs."""
    with composer([*overrides, f"outputs={outputs}"]) as jobs:
        plan = make_plan(jobs, zipped=jobs.master.hydra.sweeper.get("zip") or [])
    folder = outputs / "sweeps" / name
    folder.mkdir(parents=True)
    command = shlex.join(["run.py", "-m", *overrides])
    asked = {"command": command, "overrides": list(overrides), "axes": plan.axes}
    (folder / "sweep.json").write_text(json.dumps(asked))
    write_csv(
        folder / "plan.csv",
        [["id", "arm", "differing", "state", "parameters"], *([j.id, j.arm, j.differing, "", 1] for j in plan.jobs)],
    )
    return folder, [job.config for job in plan.jobs]


def finish(configs: Sequence[Config]) -> None:
    for config in configs:
        write_run(config, [0.9 + 0.001 * config.seed] * config.train.epochs)


def test_a_sweep_is_drawn_into_its_own_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, configs = write_sweep(tmp_path, "model=baseline,pool", "dataset=digits", "seed=1,2")
    finish(configs)
    sweep = read_sweep(folder)
    draw_sweep(sweep, studies_of(sweep, load_runs(tmp_path, sweep.runs)))
    suffixes = ("", "-final", "-differences")
    figures = {f"figure{suffix}.{kind}" for suffix in suffixes for kind in ("png", "svg")}
    assert {path.name for path in folder.iterdir()} == {*figures, "table.md", "table.csv", "sweep.json", "plan.csv"}
    assert not (tmp_path / "figures").exists()
    tables, printed = (folder / "table.md").read_text(), capsys.readouterr().out
    assert all(words in tables and words in printed for words in ("90.15", "difference in test accuracy", "better in:"))


def test_a_sweep_is_compared_as_it_was_planned(tmp_path: Path) -> None:
    folder, configs = write_sweep(tmp_path, "model=baseline,pool", "dataset=digits", "seed=1,2")
    finish(configs)
    asked = json.loads((folder / "sweep.json").read_text())
    how = {"primary": "test_loss:mean:2", "margin": 0.3, "margins": {"digits": 2.0}}
    (folder / "sweep.json").write_text(json.dumps(asked | how))
    sweep = read_sweep(folder)
    (study,) = studies_of(sweep, load_runs(tmp_path, sweep.runs))
    assert str(study.outcome) == "test_loss:mean:2" and not study.outcome.exploratory
    assert study.differences is not None and study.differences["margin"].tolist() == [0.3]


def test_an_experiments_sweep_is_drawn_once_to_both_places(tmp_path: Path) -> None:
    folder, configs = write_sweep(tmp_path, "experiment=fig1", "train.epochs=1")
    finish(configs)
    sweep = read_sweep(folder)
    draw_sweep(sweep, studies_of(sweep, load_runs(tmp_path, sweep.runs)))
    published = tmp_path / "figures" / "fig1-train.epochs=1.png"
    assert published.read_bytes() == (folder / "figure.png").read_bytes()


def test_an_experiment_that_has_gone_since_is_drawn_all_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, configs = write_sweep(tmp_path, "model=pool", "dataset=digits")
    finish(configs)
    asked = json.loads((folder / "sweep.json").read_text())
    (folder / "sweep.json").write_text(json.dumps(asked | {"overrides": ["experiment=gone", "model=pool"]}))
    sweep = read_sweep(folder)
    (study,) = studies_of(sweep, load_runs(tmp_path, sweep.runs))
    assert study.files == [tmp_path / "figures" / "gone-model=pool", folder / "figure"]
    assert "experiment=gone: there is no such experiment" in capsys.readouterr().err


def test_only_the_sweeps_own_runs_are_read(tmp_path: Path) -> None:
    _, others = write_sweep(tmp_path, "model=baseline", "dataset=digits", "seed=5", name="2026-11-24_10-00-00")
    folder, configs = write_sweep(tmp_path, "model=baseline,pool", "dataset=digits", "seed=1")
    finish([*others, *configs])
    sweep = read_sweep(folder)
    loaded = load_runs(tmp_path, sweep.runs)
    assert loaded.runs["run"].tolist() == list(sweep.runs) and set(loaded.runs["seed"]) == {1}
    (study,) = studies_of(sweep, loaded)
    assert study.experiment.axes == [["model"]]


def test_an_experiment_that_names_others_draws_those(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, configs = write_sweep(tmp_path, "experiment=paper", "dataset=mnist", "seed=1")
    finish(configs)
    sweep = read_sweep(folder)
    draw_sweep(sweep, studies_of(sweep, load_runs(tmp_path, sweep.runs), ["fig1", "fig2", "fig3"]))
    assert sorted(path.name for path in (tmp_path / "figures").glob("*.png")) == ["fig1.png", "fig3.png"]
    assert (folder / "fig3.png").read_bytes() == (tmp_path / "figures" / "fig3.png").read_bytes()
    assert "fig2: no finished or running run" in capsys.readouterr().err


def test_what_has_no_result_is_said_in_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, configs = write_sweep(tmp_path, "model=baseline,pool", "dataset=digits", "seed=1,2")
    finish(configs[:2])
    write_run(configs[2], [], status="failed", error="x\nNo: luck")
    sweep = read_sweep(folder)
    studies_of(sweep, load_runs(tmp_path, sweep.runs))
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "result" in line]
    assert line.startswith(
        "sweep 2026-11-25_10-00-00: 2 of 4 runs without a result (1 failed, 1 missing): digits-pool-"
    )
    assert f"python run.py -m model=baseline,pool dataset=digits seed=1,2 outputs={tmp_path}" in line


def test_the_last_sweep_is_the_newest(tmp_path: Path) -> None:
    assert last_sweep(tmp_path) is None
    for name in ("2026-11-25_10-00-00-2", "2026-11-25_10-00-00-10", "2026-11-25_10-00-00", "2026-11-24_23-00-00"):
        write_sweep(tmp_path, "dataset=digits", name=name)
    (tmp_path / "sweeps" / "2027-01-01_00-00-00").mkdir()  # a sweep that could not begin
    found = last_sweep(tmp_path)
    assert found and found.folder.name == "2026-11-25_10-00-00-10"


DAMAGES = {
    "sweep.json": ['{"command": "run.py", "overrides": [], "axes": [], "margins": {"mnist": "x"}}',
                   "", "[1]", "{}", '{"command": 1, "overrides": [], "axes": []}', "[" * 100_000, "\xff\x00",
                   '{"command": "run.py", "overrides": ["a"], "axes": ["model"]}',
                   '{"command": "run.py \'", "overrides": [], "axes": []}'],
    "plan.csv": ["", "id\n", "name\nx\n", "id\n../../etc\n", "id\n.hidden\n", "id\na\x00b\n", "id\n/etc\n", "\x00"],
}  # fmt: skip


@pytest.mark.parametrize(("file", "content"), [(file, text) for file, texts in DAMAGES.items() for text in texts])
def test_a_damaged_sweep_is_named_and_the_one_before_is_taken(
    tmp_path: Path, file: str, content: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before, _ = write_sweep(tmp_path, "dataset=digits", name="2026-11-24_10-00-00")
    damaged, _ = write_sweep(tmp_path, "dataset=digits")
    (damaged / file).write_bytes(content.encode("latin-1"))
    found = last_sweep(tmp_path)
    assert found and found.folder == before
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"skipped {damaged}: ")


def test_the_command_is_the_recorded_one(tmp_path: Path) -> None:
    zipped = ("model=pool", "dims=auto", "dims.dx=29,36", "dims.m=27,28", 'hydra.sweeper.zip=["dims.dx,dims.m"]')
    folder, configs = write_sweep(tmp_path, *zipped, "dataset=digits")
    finish(configs)
    sweep = read_sweep(folder)
    (experiment,) = experiments_of(sweep, load_runs(tmp_path, sweep.runs))
    assert experiment.command == ["python", "run.py", "-m", *zipped, "dataset=digits"]
    assert experiment.selection == [*zipped, "dataset=digits"]
    assert experiment.axes == [["dims.dx", "dims.m"]]
    for flag in ("--config-dir", "-cd"):  # as argparse takes them: in two words
        again = replace(sweep, command=sweep.command.replace("run.py -m", f"run.py {flag} own -m"))
        (experiment,) = experiments_of(again, load_runs(tmp_path, sweep.runs))
        assert experiment.command[:4] == ["python", "run.py", "--config-dir=own", "-m"]
        assert experiment.selection == [*zipped, "dataset=digits"]


SEARCH = {"intervals": {"train.lr": {"low": 0.01, "high": 1.0, "log": True, "whole": False}}, "seeds": [1, 2]}
SEARCHED = ["dataset=digits", "train.validation=9", "train.epochs=2"]


def write_search(outputs: Path, *confirmed: str) -> Path:
    """Write a search of two arms with three trials each, of which these are confirmed, and all of its runs."""
    folder, trials = write_sweep(outputs, *SEARCHED, "model=baseline,pool", "train.lr=0.02,0.1,0.5", "seed=1,2")
    for config in trials:
        finish_validated(config, 0.9 - abs(config.train.lr - (0.1 if config.model.name == "pool" else 0.5)))
    chosen = [config for words in confirmed for config in expand([*SEARCHED, *words.split(), f"outputs={outputs}"])]
    for config in chosen:
        finish_validated(config, 0.3)
    asked = json.loads((folder / "sweep.json").read_text()) | {"search": SEARCH}
    (folder / "sweep.json").write_text(json.dumps(asked))
    write_csv(folder / "plan.csv", [["id", "arm"], *([run_id(config), arm(config)] for config in [*trials, *chosen])])
    return folder


def finish_validated(config: Config, validation: float) -> None:
    folder = write_run(config, [0.9 + 0.001 * config.seed] * config.train.epochs)
    header, *epochs = (folder / "metrics.csv").read_text().splitlines()
    lines = [f"{header},validation_loss,validation_accuracy", *(f"{epoch},0.7,{validation}" for epoch in epochs)]
    (folder / "metrics.csv").write_text("\n".join(lines) + "\n")


CONFIRMED = ("model=baseline train.lr=0.5 seed=range(3,6)", "model=pool train.lr=0.1 seed=range(3,6)")


def test_a_search_is_its_confirmed_arms_and_before_them_its_trials(tmp_path: Path) -> None:
    sweep = read_sweep(write_search(tmp_path, *CONFIRMED))
    (study,) = studies_of(sweep, load_runs(tmp_path, sweep.runs))
    assert sorted(study.runs["seed"].unique()) == [3, 4, 5] and len(study.runs) == 6
    assert study.axes == [] and str(study.outcome) == "accuracy:last"
    assert study.differences is not None and study.differences["n"].tolist() == [3]
    assert "lr (0.1 v 0.5)" in study.differences["confounds"][0]
    assert study.search is not None and study.search.differences is None
    assert str(study.search.outcome) == "validation_accuracy:last" and len(study.search.runs) == 12
    draw_sweep(sweep, [study])
    names = {path.name for path in sweep.folder.glob("*.png")}
    assert names == {"figure.png", "figure-final.png", "figure-differences.png", "figure-differences-by-epoch.png",
                     "figure-search-train.lr.png"}  # fmt: skip
    page = write_report([study], sweep.folder / "report.html").read_text()
    assert "of every trial of the search" in page and f"report --outputs={tmp_path}" in page  # of the last sweep


def test_a_key_that_is_searched_may_be_an_added_one(tmp_path: Path) -> None:
    folder, _ = write_sweep(tmp_path, "model=pool", "dataset=digits")
    asked = json.loads((folder / "sweep.json").read_text())
    added = {f"+{key}": interval for key, interval in SEARCH["intervals"].items()}  # type: ignore[attr-defined]
    (folder / "sweep.json").write_text(json.dumps(asked | {"search": SEARCH | {"intervals": added}}))
    trials = read_sweep(folder).trials
    assert trials is not None and list(trials.intervals) == ["train.lr"]


def test_a_search_without_confirmation_shows_its_trials_alone(tmp_path: Path) -> None:
    sweep = read_sweep(write_search(tmp_path))
    (study,) = studies_of(sweep, load_runs(tmp_path, sweep.runs))
    assert study.experiment.trials is not None and not study.experiment.trials.chosen
    with pytest.raises(UserError, match="trials of a search are not compared"):
        studies_of(sweep, load_runs(tmp_path, sweep.runs), options=Options(reference="baseline"))
    draw_sweep(sweep, [study])
    assert {path.name for path in sweep.folder.glob("*.png")} == {"figure-search-train.lr.png"}
    assert "validation accuracy" in (sweep.folder / "table.md").read_text()


def test_the_figure_of_a_search_shows_every_trial_and_marks_the_chosen(tmp_path: Path) -> None:
    sweep = read_sweep(write_search(tmp_path, *CONFIRMED))
    (study,) = studies_of(sweep, load_runs(tmp_path, sweep.runs))
    assert study.search is not None
    figure, shown = figures_of(study.search)["-search-train.lr"]
    assert shown["train.lr"].tolist() == [0.02, 0.1, 0.5] * 2 and shown["count"].tolist() == [2] * 6
    assert shown.loc[shown["chosen"], ["label", "train.lr"]].to_numpy().tolist() == [
        ["without feedback", 0.5], ["pool", 0.1]
    ]  # fmt: skip
    assert shown["mean"].tolist() == pytest.approx([42, 50, 90, 82, 90, 50])
    (ax,) = figure.axes
    assert ax.get_xscale() == "log" and ax.get_xlim()[0] < 0.01 and ax.get_xlim()[1] > 1
    assert "validation accuracy after 2 epochs against train.lr, mean and range" in figure.get_suptitle().replace(
        "\n", " "
    )


@pytest.mark.parametrize(
    "search",
    [
        [], {}, {"seeds": [1]}, SEARCH | {"seeds": ["1"]}, SEARCH | {"intervals": {}},
        SEARCH | {"intervals": {"train.lr": {"low": 0, "high": 1, "log": True, "whole": False}}},
        SEARCH | {"intervals": {"train.lr": {"low": 1, "high": 1, "log": False, "whole": False}}},
        SEARCH | {"intervals": {"train.lr": {"low": 0, "high": 1}}},
    ],
    ids=str,
)  # fmt: skip
def test_a_search_that_no_sweep_writes_is_damage(tmp_path: Path, search: object) -> None:
    folder, _ = write_sweep(tmp_path, "model=pool", "dataset=digits")
    asked = json.loads((folder / "sweep.json").read_text())
    (folder / "sweep.json").write_text(json.dumps(asked | {"search": search}))
    with pytest.raises(ValueError, match="does not say search as a sweep does"):
        read_sweep(folder)


def test_experiments_with_other_outcomes_have_a_table_each(tmp_path: Path) -> None:
    folder, configs = write_sweep(tmp_path, "model=baseline,pool", "dataset=digits", "seed=1,2")
    for config in configs:
        write_run(config, [0.9] * config.train.epochs)
    sweep = read_sweep(folder)
    loaded = load_runs(tmp_path, sweep.runs)
    both = [study for outcome in (None, "test_loss") for study in studies_of(sweep, loaded, options=Options(outcome))]
    draw_sweep(sweep, both)
    assert "test accuracy %" in (folder / "table-accuracy.csv").read_text().splitlines()[0]
    assert "test loss" in (folder / "table-test_loss.csv").read_text().splitlines()[0]
