import tarfile
from pathlib import Path

import naive
import pytest
import torch

from analysis.load import load_runs
from benchmarks import archive, many, notebook
from benchmarks.sweep_overhead import TRIVIAL, write_finished
from weightnet.runs.folder import RunState, State
from weightnet.sweep.compose import composer
from weightnet.sweep.plan import make_plan
from weightnet.sweep.states import read_states


@pytest.mark.parametrize(("dataset", "model"), [key for key in naive.NETWORKS if key != ("cifar", "rmp")], ids="-".join)
def test_what_we_compare_with_is_the_notebooks_network(dataset: str, model: str) -> None:
    net, reference = notebook.Net(dataset, model), naive.NETWORKS[dataset, model]()
    reference.load_state_dict(net.state_dict())
    if isinstance(reference, naive._Projection):
        reference.P = net.P
    images = torch.randn(4, *((1, 28, 28) if dataset == "mnist" else (3, 32, 32)))
    torch.testing.assert_close(net(images), reference(images), rtol=1e-4, atol=1e-5)


def test_finished_runs_are_written_as_executing_them_would(tmp_path: Path) -> None:
    write_finished(3, tmp_path)
    loaded = load_runs(tmp_path)
    assert loaded.skipped == [] and loaded.runs["seed"].tolist() == [0, 1, 2]
    assert set(loaded.runs["status"]) == {"done"} and set(loaded.runs["why"]) == {""} and loaded.runs["digests"].all()
    with composer([*TRIVIAL, "seed=range(0,3)", f"outputs={tmp_path}"]) as jobs:
        states = read_states(make_plan(jobs).jobs)
    assert list(states.values()) == [RunState(State.DONE)] * 3


def test_a_run_waits_for_the_disk_seven_times(tmp_path: Path) -> None:
    said = many.of_one_run(tmp_path)
    # config.yaml, run.json at the start and at the end, checkpoint.pt, and a row in each of three CSV files
    assert said.startswith("A run of one epoch leaves 6 files (config.yaml, feedback.csv") and "with 7 fsyncs" in said


def test_many_finished_runs_are_planned_as_done(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    many.write_finished(4, tmp_path)
    loaded = load_runs(tmp_path)
    assert loaded.skipped == [] and set(loaded.runs["status"]) == {"done"} and set(loaded.runs["why"]) == {""}
    with composer(many.words(4, tmp_path)) as jobs:
        assert set(read_states(make_plan(jobs).jobs).values()) == {RunState(State.DONE)}
    if not Path("/proc/self/status").exists():
        pytest.skip("the peak of a process's memory is read as Linux tells it")
    seconds, own, peak = many.measure("plan", many.words(4, tmp_path))
    assert 0 < own < seconds and 1e7 < peak < 5e8


def test_an_archive_holds_what_is_done_and_no_path_of_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_finished(2, tmp_path / "secret")
    (damaged, whole) = sorted((tmp_path / "secret" / "runs").iterdir())
    (damaged / "metrics.csv").write_text("")
    monkeypatch.setattr("sys.argv", ["archive", str(tmp_path / "a.tar.xz"), f"--outputs={tmp_path / 'secret'}"])
    archive.main()
    with tarfile.open(tmp_path / "a.tar.xz") as packed:
        packed.extractall(tmp_path / "unpacked", filter="data")
    loaded = load_runs(tmp_path / "unpacked")
    assert loaded.skipped == [] and loaded.runs["run"].tolist() == [whole.name]
    assert not any("secret" in path.read_text() for path in (tmp_path / "unpacked").rglob("*.*"))
