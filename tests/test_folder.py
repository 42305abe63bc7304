import errno
import hashlib
import io
import json
import os
import random
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
import yaml
from conftest import make_record

from weightnet.config import Config
from weightnet.fingerprint import Origin
from weightnet.net.epoch import EpochResult
from weightnet.runs import checkpoint
from weightnet.runs.checkpoint import Checkpoint
from weightnet.runs.folder import RunFolder, RunState, State, write_whole
from weightnet.runs.record import Record, read_record, record_of, record_text, verification

MakeConfig = Callable[..., Config]
HISTORY = [
    EpochResult(epoch=1, step=23, train_loss=0.1 + 0.2, test_loss=1.5, test_accuracy=0.5, seconds=1.0,
                step_losses=[(10, 2.25), (20, 2.125)], feedback=(1.5, 0.25)),
    EpochResult(epoch=2, step=46, train_loss=1 / 3, test_loss=1.25, test_accuracy=0.75, seconds=1.0,
                step_losses=[(30, 2.0)], feedback=(1.25, 0.5)),
]  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path)


NOW = Origin("c0de", {"net.a": "1", "net.b": "2"}, "da7a", "2.9")


def record(make_config: MakeConfig, **fields: object) -> Record:
    made = {"code": "c0de", "definitions": NOW.definitions, "data": "da7a", "versions": {"torch": "2.9"}}
    return make_record(make_config(), **made | fields)


def test_state_and_lease(folder: RunFolder, make_config: MakeConfig) -> None:
    run = RunFolder(folder.path / f"run-{record(make_config).signature[:8]}")
    assert run.state(NOW) == RunState(State.MISSING) and not run.is_held()
    run.path.mkdir()
    run.write_record(record(make_config))
    assert run.state(NOW) == RunState(State.DAMAGED, "no metrics.csv")
    run.write_history(HISTORY)
    error = "Traceback\n  line\nZeroDivisionError: by hand\n"
    for fields, state, why in (
        ({}, "done", ""),
        ({"code": "old", "definitions": {"net.a": "1", "net.b": "3"}}, "stale", "net.b changed"),
        ({"code": "old", "definitions": {"net.a": "1", "net.c": "3"}}, "stale", "net.b, net.c changed"),
        ({"code": "old", "definitions": {}}, "stale", "code old, recorded as a whole"),
        ({"data": "0123"}, "stale", "data changed"),
        ({"data": None}, "done", ""),  # unknown: from before it was recorded
        ({"versions": {"torch": "3.0"}}, "stale", "torch 3.0, now 2.9"),
        ({"status": "failed", "error": error}, "failed", "ZeroDivisionError: by hand"),
        ({"status": "interrupted"}, "interrupted", ""),
        ({"status": "running"}, "interrupted", ""),
    ):
        run.write_record(record(make_config, **fields))
        assert run.state(NOW) == RunState(State(state), why)
    with run.lock():
        assert run.is_held() and run.state(NOW).state == State.RUNNING
    assert not run.is_held()


def test_a_verified_run_is_current(folder: RunFolder, make_config: MakeConfig) -> None:
    made = record(make_config, code="old", definitions={}, data=None, versions={"torch": "2.0"})
    made.verified = verification(NOW, epochs=1, files=["metrics.csv"])
    folder = RunFolder(folder.path / f"run-{made.signature[:8]}")
    folder.path.mkdir()
    folder.write_history(HISTORY)
    folder.write_record(made)
    assert folder.record() == made and folder.state(NOW).state == State.DONE
    undone = Origin("old", {}, None, "2.0")  # as it was made: that holds as well
    assert folder.state(undone).state == State.DONE
    later = replace(NOW, code="late", definitions=NOW.definitions | {"net.a": "9"})
    assert folder.state(later) == RunState(State.STALE, "net.a changed")


def test_the_first_number_that_differs_is_named(folder: RunFolder) -> None:
    folder.write_history(HISTORY)
    assert folder.difference(HISTORY) == (["metrics.csv", "steps.csv", "feedback.csv"], "")
    assert folder.difference([replace(HISTORY[0], seconds=9.0)])[1] == ""  # a shorter replay, at another speed
    assert folder.difference([HISTORY[0], replace(HISTORY[1], test_loss=1.2500000000000002)]) == (
        ["metrics.csv"], "metrics.csv, epoch 2: test_loss was 1.25, now 1.2500000000000002"
    )  # fmt: skip
    assert folder.difference([replace(HISTORY[0], step_losses=[(10, 2.25), (20, 2.0)])]) == (
        ["metrics.csv", "steps.csv"], "steps.csv, step 20: loss was 2.125, now 2.0"
    )  # fmt: skip
    (folder.path / "steps.csv").unlink()  # as in docs/results/runs.tar.xz
    assert folder.difference(HISTORY) == (["metrics.csv", "feedback.csv"], "")


def test_a_finished_run_gives_way_to_a_successor_that_is_done(folder: RunFolder, make_config: MakeConfig) -> None:
    run = RunFolder(folder.path / "run")
    for number in range(3):
        for place in (run, run.successor()):
            place.path.mkdir(parents=True, exist_ok=True)
        run.write_record(record(make_config, parameters=number))
        run.successor().write_record(record(make_config, parameters=number + 1, status="interrupted"))
        run.give_way()  # not yet
        before = run.record()
        assert before and before.parameters == number
        run.successor().write_record(record(make_config, parameters=number + 1))
        run.give_way()
        after = run.record()
        assert after and after.parameters == number + 1 and not run.successor().path.exists()
    kept = sorted((folder.path / ".old").glob("*/run.json"))
    assert [json.loads(path.read_text())["parameters"] for path in kept] == [0, 1, 2]


def test_the_files_of_a_finished_run_must_be_those_that_it_left(folder: RunFolder, make_config: MakeConfig) -> None:
    made = record(make_config)
    run = RunFolder(folder.path / f"run-{made.signature[:8]}")
    run.path.mkdir()
    assert run.damage(made) == "no metrics.csv"
    run.write_history([])
    assert run.damage(made) == "metrics.csv has no epoch"
    run.write_history(HISTORY)
    assert run.damage(made) == ""  # recorded before there were digests
    made.files = run.digests()
    assert set(made.files) == {"metrics.csv", "steps.csv", "feedback.csv"} and run.damage(made) == ""
    text = (run.path / "metrics.csv").read_text()
    (run.path / "metrics.csv").write_text(text.replace("0.75", "0.76"))
    assert run.damage(made) == "metrics.csv is not what the run left"
    (run.path / "metrics.csv").write_text(text)
    (run.path / "steps.csv").unlink()
    assert run.damage(made) == "steps.csv: No such file or directory"
    run.write_history(HISTORY)
    assert run.damage(replace(made, signature="0" * 64)) == "run.json is that of another run"
    linked = RunFolder(folder.path / "elsewhere" / run.path.name)
    linked.path.parent.mkdir()
    linked.path.symlink_to(run.path)
    assert linked.damage(made) == "is a symbolic link"


@pytest.mark.parametrize(
    "change",
    [
        {"status": "donm"}, {"pid": 2**70}, {"pid": "7"}, {"versions": ["2.9"]}, {"versions": {"torch": 2}},
        {"signature": None}, {"seconds": 1e300}, {"seconds": "long"}, {"parameters": True}, {"verified": {"origin": 3}},
        {"verified": {"epochs": 1}}, {"overrides": "model=pool"}, {"definitions": {"net": {}}}, {"files": 3},
    ],
    ids=str,
)  # fmt: skip
def test_a_record_with_impossible_values_is_none(
    folder: RunFolder, make_config: MakeConfig, change: dict[str, object]
) -> None:
    folder.write_record(record(make_config))
    plain = json.loads((folder.path / "run.json").read_text())
    assert folder.record()
    (folder.path / "run.json").write_text(json.dumps(plain | change))
    assert folder.record() is None


def test_evidence_of_other_types_is_none(make_config: MakeConfig) -> None:
    made = record(make_config)
    made.verified = verification(NOW, epochs=1, files=["metrics.csv"])
    plain = json.loads(record_text(made))
    plain.pop("digest")
    assert record_of(plain).verified == made.verified
    plain["verified"]["origin"]["definitions"] = 5
    with pytest.raises(ValueError, match="evidence"):
        record_of(plain)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 50_000, "", "null", "\x00", "NaN", '"x"'])
def test_a_record_that_is_none_is_no_traceback(folder: RunFolder, text: str) -> None:
    (folder.path / "run.json").write_text(text)
    assert folder.record() is None
    with pytest.raises(ValueError, match="run.json|Expecting"):
        read_record(folder.path / "run.json")


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
    assert read["model"] == {
        "name": "pool", "feedback": "pool", "uses": ["dx", "m", "n"], "kind": None, "scale": None,
        "parameters_of": None, "params": {"gain": 1.0, "fill": 1.0},
    }  # fmt: skip
    assert read["dims"] == {"rule": "published", "dx": 26, "m": 31, "n": 25, "hidden": 60}
    assert read["train"]["lr"] == 0.01 and read["seed"] == 1


def test_record_survives_a_broken_file(folder: RunFolder, make_config: MakeConfig) -> None:
    assert folder.record() is None
    made = record(make_config)
    folder.write_record(made)
    assert folder.record() == made
    for broken in ("", "{", "[1]", '{"status": "done"}', json.dumps(asdict(made) | {"status": "donm"})):
        (folder.path / "run.json").write_text(broken)
        assert folder.record() is None


def test_checkpoint_round_trip(folder: RunFolder) -> None:
    assert checkpoint.load(folder, "cpu") is None
    saved = Checkpoint({"signature": "x"}, {"model": {"w": torch.arange(3.0)}, "optimizer": {"state": {}}}, HISTORY)
    checkpoint.save(folder, saved)
    loaded = checkpoint.load(folder, "cpu")
    assert loaded is not None and loaded.history == HISTORY and loaded.origin == {"signature": "x"}
    assert torch.equal(loaded.state["model"]["w"], torch.arange(3.0))
    checkpoint.remove(folder)
    checkpoint.remove(folder)
    assert checkpoint.load(folder, "cpu") is None


def test_a_damaged_checkpoint_is_noticed(folder: RunFolder) -> None:
    saved = Checkpoint({"torch": "2.9"}, {"model": {"weight": torch.arange(1000.0)}}, HISTORY)
    assert checkpoint.load(folder, "cpu") is None
    checkpoint.save(folder, saved)
    loaded, path = checkpoint.load(folder, "cpu"), folder.path / "checkpoint.pt"
    assert loaded and loaded.history == HISTORY and loaded.origin == saved.origin
    assert torch.equal(loaded.state["model"]["weight"], saved.state["model"]["weight"])
    whole, chance = path.read_bytes(), random.Random(0)
    for number in range(120):
        place = chance.randrange(len(whole))
        flipped = whole[:place] + bytes([whole[place] ^ 1 << chance.randrange(8)]) + whole[place + 1 :]
        path.write_bytes([flipped, whole[:place], whole + b"\0", whole[place:]][number % 4])
        with pytest.raises(ValueError, match="checksum"):
            checkpoint.load(folder, "cpu")


def test_a_checkpoint_that_is_too_large_to_be_one_of_ours_is_not_read(folder: RunFolder) -> None:
    (folder.path / "checkpoint.pt").touch()
    os.truncate(folder.path / "checkpoint.pt", 1 << 40)
    with pytest.raises(ValueError, match="is larger than 16 GB"):
        checkpoint.load(folder, "cpu")


class Gadget:
    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, ("hacked",)


def test_a_checkpoint_cannot_run_code(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.path)
    buffer = io.BytesIO()
    torch.save({"origin": Gadget(), "state": {}, "history": []}, buffer)
    content = buffer.getvalue()
    (folder.path / "checkpoint.pt").write_bytes(content + hashlib.sha256(content).digest())
    with pytest.raises(ValueError, match="UnpicklingError"):
        checkpoint.load(folder, "cpu")
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
