"""What is damaged is named, or right: never taken for another result. Every file of a run, mutated at random."""

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_job import metrics

from analysis.load import load_runs
from benchmarks.mutations import FILES, KINDS, mutate, verdict
from weightnet.config import Config
from weightnet.errors import RunFailed
from weightnet.fingerprint import Origin, origins
from weightnet.identity import run_folder
from weightnet.runs.folder import RunFolder, RunState, State
from weightnet.runs.job import run, verify

MakeConfig = Callable[..., Config]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an output root with two finished runs that differ in their seed."""
    return tmp_path_factory.mktemp("finished")


@pytest.fixture
def outputs(finished: Path, make_config: MakeConfig) -> Path:
    for seed in (1, 2):
        run(make_config(seed=seed, epochs=2, outputs=str(finished), data_root=str(finished)))
    return finished


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(FILES), st.sampled_from(KINDS), st.integers(0, 2**32))
def test_a_mutated_file_is_named_or_right(
    outputs: Path, tmp_path_factory: pytest.TempPathFactory, make_config: MakeConfig, name: str, kind: str, seed: int
) -> None:
    right = load_runs(outputs)
    copy = tmp_path_factory.mktemp("copy")
    shutil.copytree(outputs / "runs", copy / "runs")
    first, second = sorted(path for path in (copy / "runs").glob("digits-*"))
    mutate(first / name, second / name, kind, random.Random(seed))
    assert verdict(right, copy, first.name) in ("named", "right")
    shutil.rmtree(copy)


def test_a_damaged_run_is_executed_again_and_kept(outputs: Path, make_config: MakeConfig, tmp_path: Path) -> None:
    shutil.copytree(outputs / "runs", tmp_path / "outputs" / "runs")
    config = make_config(seed=1)
    folder, right = run_folder(config), load_runs(outputs).runs.set_index("seed").loc[1]
    for name in ("metrics.csv", "run.json", "config.yaml"):
        (folder / name).write_text("damaged")
        assert len(load_runs(tmp_path / "outputs").skipped) == 1
        run(config)
        again = load_runs(tmp_path / "outputs")
        assert not again.skipped and again.runs.set_index("seed").loc[1, "test_loss"] == right["test_loss"]
    assert len(list((folder.parent / ".old").iterdir())) == 3


def test_old_records_without_digests_are_read(outputs: Path, tmp_path: Path) -> None:
    shutil.copytree(outputs / "runs", tmp_path / "runs")
    for path in (tmp_path / "runs").glob("*/run.json"):
        plain = json.loads(path.read_text())
        del plain["files"], plain["digest"]
        path.write_text(json.dumps(plain))
    assert len(load_runs(tmp_path).runs) == 2


@pytest.mark.parametrize("name", ["metrics.csv", "steps.csv", "feedback.csv", "run.json", "config.yaml"])
@pytest.mark.parametrize("what", ["pipe", "endless", "folder", "long field", "loop", "sparse"])
def test_what_never_ends_is_named(outputs: Path, tmp_path: Path, name: str, what: str) -> None:
    shutil.copytree(outputs / "runs", tmp_path / "runs")
    folder = min((tmp_path / "runs").glob("digits-*"))
    path = folder / name
    path.unlink()
    if what == "pipe":
        os.mkfifo(path)
    elif what == "endless":
        path.symlink_to("/dev/zero")
    elif what == "folder":
        path.mkdir()
    elif what == "loop":
        path.symlink_to(path)
    elif what == "sparse":
        path.touch()
        os.truncate(path, 1 << 40)
    else:
        path.write_text("x" * 200_000)
    (line,) = load_runs(tmp_path).skipped
    assert folder.name in line
    if name != "config.yaml":  # of which a plan has its own
        assert RunFolder(folder).state(Origin("", {}, None, None)).state == "damaged"


def test_a_network_that_is_too_large_to_be_one_of_ours_is_named(
    outputs: Path, tmp_path: Path, make_config: MakeConfig
) -> None:
    config = make_config(epochs=1, save_model=True, data_root=str(outputs))
    folder = run(config).folder
    for size, why in ((1 << 40, "model.pt: is larger than 16 GB"), (1 << 20, "model.pt is not what the run left")):
        os.truncate(folder / "model.pt", size)
        assert RunFolder(folder).state(next(origins([config]))) == RunState(State.DAMAGED, why)
        assert load_runs(tmp_path / "outputs").skipped == [f"{folder}: {why}"]


def test_a_file_in_place_of_a_run_is_named(outputs: Path, tmp_path: Path, make_config: MakeConfig) -> None:
    shutil.copytree(outputs / "runs", tmp_path / "runs")
    folder = min((tmp_path / "runs").glob("digits-*"))
    shutil.rmtree(folder)
    folder.write_text("")
    assert load_runs(tmp_path).skipped == [f"{folder}: is no folder"]
    config = make_config(seed=1, outputs=str(tmp_path))
    assert run_folder(config) == folder and run(config).folder == folder
    assert len(load_runs(tmp_path).runs) == 2 and len(list((tmp_path / "runs" / ".old").iterdir())) == 1


@pytest.mark.parametrize("name", ["run.log", "metrics.csv", "steps.csv"])
def test_a_replay_reads_and_writes_nothing_that_never_ends(
    outputs: Path, tmp_path: Path, make_config: MakeConfig, name: str
) -> None:
    shutil.copytree(outputs / "runs", tmp_path / "runs")
    config = make_config(seed=1, outputs=str(tmp_path), data_root=str(outputs))
    path = run_folder(config) / name
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(RunFailed, match=f"{name} \\(is no file\\)"):
        verify(config, epochs=1)


def test_what_finished_runs_move_to_is_looked_at_before_the_work(
    outputs: Path, tmp_path: Path, make_config: MakeConfig
) -> None:
    shutil.copytree(outputs / "runs", tmp_path / "runs")
    (tmp_path / "runs" / ".old").write_text("")
    with pytest.raises(RunFailed, match=r"\.old \(File exists\)"):
        run(make_config(seed=1, outputs=str(tmp_path), data_root=str(outputs)), anew=True)
    assert not (tmp_path / "runs" / ".new").exists()


def test_a_damaged_run_is_executed_anew_and_kept(make_config: MakeConfig, caplog: pytest.LogCaptureFixture) -> None:
    config = make_config()
    first = run(config)
    right = metrics(first.folder)
    (first.folder / "metrics.csv").unlink()
    assert run(config).folder == first.folder and metrics(first.folder) == right
    assert "no metrics.csv; it is executed anew" in caplog.text
    text = (first.folder / "metrics.csv").read_text()
    (first.folder / "metrics.csv").write_text(text.replace("2,46", "2,47"))
    run(config)
    assert metrics(first.folder) == right
    kept = sorted((first.folder.parent / ".old").iterdir())
    assert len(kept) == 2 and "2,47" in (kept[1] / "metrics.csv").read_text()


def test_a_run_that_is_executed_anew_counts_until_that_is_done(make_config: MakeConfig) -> None:
    config = make_config(epochs=3)
    first = run(config)
    before = (first.folder / "run.json").read_bytes()
    with pytest.raises(KeyboardInterrupt):
        run(config, anew=True, stop=lambda: True)
    assert (first.folder / "run.json").read_bytes() == before and run(config).folder == first.folder
    assert not list((first.folder.parent / ".old").iterdir())
    run(config, anew=True)  # goes on where it was stopped
    assert len((first.folder / "run.log").read_text().split("going on after epoch 1")) == 2
    assert len(list((first.folder.parent / ".old").iterdir())) == 1

    # killed between the two renames
    successor = RunFolder(first.folder).successor().path
    first.folder.rename(successor)
    assert run(config).folder == first.folder and not successor.exists()


def test_a_damaged_checkpoint_is_named(make_config: MakeConfig, caplog: pytest.LogCaptureFixture) -> None:
    config = make_config()
    with pytest.raises(KeyboardInterrupt):
        run(config, stop=lambda: True)
    path = run_folder(config) / "checkpoint.pt"
    path.write_bytes(path.read_bytes()[:-1])
    assert run(config).epochs == 2
    assert "starts anew, its checkpoint is damaged (its checksum does not agree)" in caplog.text
