import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from weightnet.store import Checkpoint, RunFolder, write_whole
from weightnet.training import EpochResult

from weightnet.config import Config

HISTORY = [
    EpochResult(epoch=1, step=23, train_loss=0.1 + 0.2, test_loss=1.5, test_accuracy=0.5, seconds=1.0,
                step_losses=[(10, 2.25), (20, 2.125)], feedback=(1.5, 0.25)),
    EpochResult(epoch=2, step=46, train_loss=1 / 3, test_loss=1.25, test_accuracy=0.75, seconds=1.0,
                step_losses=[(30, 2.0)], feedback=(1.25, 0.5)),
]  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path)


def test_state_and_lease(folder: RunFolder) -> None:
    run = RunFolder(folder.path / "run")
    assert run.state("c0de") == "missing" and not run.is_held()
    run.path.mkdir()
    for status, code, state in (
        ("done", "c0de", "done"), ("done", "old", "stale"), ("failed", "c0de", "failed"),
        ("interrupted", "c0de", "interrupted"), ("running", "c0de", "interrupted"),
    ):  # fmt: skip
        run.write_record({"status": status, "code": code})
        assert run.state("c0de") == state
    with run.lock():
        assert run.is_held() and run.state("c0de") == "running"
    assert not run.is_held()


def test_what_is_set_aside_is_kept(folder: RunFolder) -> None:
    run = RunFolder(folder.path / "run")
    for number in range(2):
        run.path.mkdir()
        run.write_record({"status": "done", "number": number})
        with run.lock():  # another process has begun: hands off
            run.set_aside()
        assert run.path.exists()
        run.set_aside()
        assert not run.path.exists()
    kept = sorted((folder.path / ".old").glob("*/run.json"))
    assert [path.read_text().count(f'"number": {number}') for number, path in enumerate(kept)] == [1, 1]


def test_history_is_written_in_full_precision(folder: RunFolder) -> None:
    folder.write_history(HISTORY)
    header, *rows = [line.split(",") for line in (folder.path / "metrics.csv").read_text().splitlines()]
    assert header == ["epoch", "step", "train_loss", "test_loss", "test_accuracy", "seconds"]
    assert [float(row[2]) for row in rows] == [0.1 + 0.2, 1 / 3]
    assert (folder.path / "steps.csv").read_text() == "step,loss\n10,2.25\n20,2.125\n30,2.0\n"
    assert (folder.path / "feedback.csv").read_text() == "epoch,norm,change\n1,1.5,0.25\n2,1.25,0.5\n"
    assert folder.metrics()[-1]["test_accuracy"] == 0.75


def test_config_is_readable_yaml(folder: RunFolder, make_config: Callable[..., Config]) -> None:
    config = make_config()
    folder.write_config(config)
    read = yaml.safe_load((folder.path / "config.yaml").read_text())
    assert read["model"] == {"name": "pool", "feedback": "pool", "kind": None, "scale": None, "parameters_of": None}
    assert read["dims"] == {"rule": "published", "dx": 26, "m": 31, "n": 25, "hidden": 60}
    assert read["train"]["lr"] == 0.01 and read["seed"] == 1


def test_record_survives_a_broken_file(folder: RunFolder) -> None:
    assert folder.record() == {}
    folder.write_record({"status": "done"})
    assert folder.record() == {"status": "done"}
    for broken in ("", "{", "[1]"):
        (folder.path / "run.json").write_text(broken)
        assert folder.record() == {}


def test_checkpoint_round_trip(folder: RunFolder) -> None:
    assert folder.load_checkpoint("cpu") is None
    saved = Checkpoint({"signature": "x"}, {"w": torch.arange(3.0)}, {"state": {}, "param_groups": []}, HISTORY)
    folder.save_checkpoint(saved)
    loaded = folder.load_checkpoint("cpu")
    assert loaded is not None and loaded.history == HISTORY and loaded.origin == {"signature": "x"}
    assert torch.equal(loaded.model["w"], torch.arange(3.0))
    folder.remove_checkpoint()
    folder.remove_checkpoint()
    assert folder.load_checkpoint("cpu") is None


def test_a_broken_checkpoint_is_no_checkpoint(folder: RunFolder) -> None:
    folder.save_checkpoint(Checkpoint({}, {}, {}, HISTORY))
    path = folder.path / "checkpoint.pt"
    path.write_bytes(path.read_bytes()[:-50])
    assert folder.load_checkpoint("cpu") is None
    path.write_bytes(b"")
    assert folder.load_checkpoint("cpu") is None


class Gadget:
    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, ("hacked",)


def test_a_checkpoint_cannot_run_code(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.path)
    torch.save({"origin": Gadget(), "model": {}, "optimizer": {}, "history": []}, folder.path / "checkpoint.pt")
    assert folder.load_checkpoint("cpu") is None
    assert not (folder.path / "hacked").exists()


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "metrics.csv"
    write_whole(path, b"old")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
