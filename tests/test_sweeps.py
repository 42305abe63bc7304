import json
import shlex
from collections.abc import Sequence
from pathlib import Path

import pytest
from test_load import write_run

from analysis.load import load_runs
from analysis.sweeps import draw_sweep, experiments_of, last_sweep, read_sweep, studies_of
from weightnet.config import Config
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
        folder / "plan.csv", [["id", "differing", "state", "parameters"], *([j.id, "", "", 1] for j in plan.jobs)]
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
    assert "90.15" in (folder / "table.md").read_text() and "90.15" in capsys.readouterr().out


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
