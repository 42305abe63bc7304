import errno
import json
import logging
import math
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pandas as pd
import pytest
import yaml

from weightnet import native
from weightnet.config import Config
from weightnet.errors import RunFailed, UserError
from weightnet.experiment import Training, origins
from weightnet.identity import arm, run_folder, signature
from weightnet.net import data
from weightnet.net.feedback import PoolFeedback
from weightnet.runs import checkpoint, job
from weightnet.runs.folder import RunFolder, RunState, State
from weightnet.runs.job import run, verify
from weightnet.runs.record import new_record

MakeConfig = Callable[..., Config]


def metrics(folder: Path) -> str:
    """Return metrics.csv without its column of seconds."""
    return pd.read_csv(folder / "metrics.csv", dtype=str).drop(columns="seconds").to_csv(index=False)


def record(folder: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((folder / "run.json").read_text())
    return loaded


def test_a_run_leaves_the_files_of_the_design(make_config: MakeConfig) -> None:
    config = make_config()
    outcome = run(config, overrides=["model=pool"])
    folder = run_folder(config)
    assert outcome.folder == folder and outcome.epochs == 2
    assert {path.name for path in folder.iterdir()} == {
        "config.yaml", "metrics.csv", "steps.csv", "feedback.csv", "run.json", "run.log"
    }  # fmt: skip
    read = record(folder)
    assert read["status"] == "done" and read["overrides"] == ["model=pool"] and read["error"] is None
    assert read["signature"] == signature(config) and read["arm"] == arm(config)
    assert read["dw"] == 22 and read["seconds"] > 0
    # conv1, conv2, fc1 (60, 160 + 26) with bias, fc2
    assert read["parameters"] == 5 * 26 + 10 * 126 + 60 * 187 + 10 * 61
    assert yaml.safe_load((folder / "config.yaml").read_text())["dims"]["hidden"] == 60
    table = pd.read_csv(folder / "metrics.csv")
    assert table["epoch"].tolist() == [1, 2] and table["step"].tolist() == [23, 46]
    assert outcome.test_accuracy == table["test_accuracy"].iloc[-1]
    assert pd.read_csv(folder / "steps.csv")["step"].tolist() == [40]
    assert "epoch 2/2" in (folder / "run.log").read_text()
    assert "drops the last 10 of 60 rows" in (folder / "run.log").read_text()


def test_a_validation_split_adds_two_columns(make_config: MakeConfig) -> None:
    outcome = run(make_config(epochs=1, validation=300))
    table = pd.read_csv(outcome.folder / "metrics.csv")
    assert list(table)[-3:] == ["seconds", "validation_loss", "validation_accuracy"]
    assert table["step"].tolist() == [18]  # of 1138 examples
    assert table["validation_accuracy"].between(0, 1).all() and (table["validation_loss"] > 0).all()


def test_a_finished_run_is_not_run_again(make_config: MakeConfig, caplog: pytest.LogCaptureFixture) -> None:
    config = make_config()
    first = run(config)
    before = {path.name: path.stat().st_mtime_ns for path in first.folder.iterdir()}
    with caplog.at_level(logging.INFO):
        again = run(config)
    assert again == first
    assert "done already, accuracy" in caplog.text
    assert before == {path.name: path.stat().st_mtime_ns for path in first.folder.iterdir()}


def test_a_changed_data_set_makes_a_run_stale(
    make_config: MakeConfig, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = make_config(epochs=1, data_root=str(tmp_path))
    config.dataset = replace(config.dataset, files=["digits.*"])
    (tmp_path / "digits.bin").write_bytes(b"pixels")
    folder = RunFolder(run(config).folder)
    assert folder.state(next(origins([config]))) == RunState(State.DONE)
    (tmp_path / "digits.bin").write_bytes(b"\0" * 6)
    assert folder.state(next(origins([config]))) == RunState(State.STALE, "data changed")
    with caplog.at_level(logging.INFO):
        run(config)
    assert "(stale: data changed; the same words with -m and hydra.sweeper.rerun=stale run it anew)" in caplog.text


def test_a_replay_is_compared_bit_for_bit(make_config: MakeConfig) -> None:
    config = make_config(epochs=3)
    folder = RunFolder(run(config).folder)
    made = folder.record()
    assert made is not None
    folder.write_record(replace(made, code="0" * 12, definitions={}))
    assert verify(config, epochs=2) == ""
    verified = folder.record()
    assert verified is not None and verified.verified is not None and verified.code == "0" * 12
    assert verified.verified.epochs == 2 and verified.verified.files == ["metrics.csv", "steps.csv", "feedback.csv"]
    assert folder.state(next(origins([config]))) == RunState(State.DONE)

    path = folder.path / "metrics.csv"
    lines = path.read_text().splitlines()
    changed = lines[2].split(",")
    changed[3] = repr(math.nextafter(float(changed[3]), 9.0))  # the last bit of the second epoch's test loss
    path.write_text("\n".join([*lines[:2], ",".join(changed), *lines[3:]]) + "\n")
    assert verify(config, epochs=1) == ""
    assert verify(config, epochs=5).startswith(f"metrics.csv, epoch 2: test_loss was {changed[3]}, now ")
    with pytest.raises(KeyboardInterrupt):
        verify(config, epochs=2, stop=lambda: True)


def test_a_replay_writes_its_rows_as_far_apart_as_the_run_did(make_config: MakeConfig) -> None:
    config = make_config(epochs=2, log_interval=9)
    folder = RunFolder(run(config).folder)
    steps = (folder.path / "steps.csv").read_text()
    assert verify(make_config(epochs=2, log_interval=4), epochs=2) == ""
    run(make_config(epochs=2, log_interval=4, save_model=True))  # replayed for it
    assert (folder.path / "model.pt").exists() and (folder.path / "steps.csv").read_text() == steps


def interrupt_after(monkeypatch: pytest.MonkeyPatch, epoch: int, error: BaseException) -> None:
    """Raise in place of the step after the epoch's last."""
    original = Training.epochs

    def interrupted(self: Training, **kwargs: Any) -> Any:
        for result in original(self, **kwargs):
            yield result
            if result.epoch == epoch:
                raise error

    monkeypatch.setattr(Training, "epochs", interrupted)


@pytest.mark.parametrize(
    ("model", "changes"),
    [
        ("baseline", {}),
        ("pool", {"params": {"gain": 3.0, "fill": 0.0}}),
        ("rmp", {}),
        ("twin", {}),
        ("constant", {"params": {"gain": 3.0}}),
        ("noise", {"params": {"gain": 3.0}}),
        ("bias_lr", {"params": {"gain": 3.0}}),
        ("pool", {"init": "notebook", "validation": 100}),
    ],
)
def test_an_interrupted_run_resumes_to_the_same_numbers(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, model: str, changes: dict[str, Any]
) -> None:
    undisturbed = run(make_config(model=model, epochs=4, outputs=str(tmp_path / "other"), **changes))
    config = make_config(model=model, epochs=4, **changes)
    folder = run_folder(config)
    with monkeypatch.context() as patch:
        interrupt_after(patch, 2, KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            run(config)
    assert record(folder)["status"] == "interrupted"
    assert len(metrics(folder).splitlines()) == 1 + 2
    assert (folder / "checkpoint.pt").exists()
    started = record(folder)["started"]
    run(config)
    assert metrics(folder) == metrics(undisturbed.folder)
    for name in {"steps.csv", "feedback.csv"} & {path.name for path in undisturbed.folder.iterdir()}:
        assert (folder / name).read_text() == (undisturbed.folder / name).read_text()
    assert record(folder)["status"] == "done" and record(folder)["started"] == started
    assert not (folder / "checkpoint.pt").exists()
    assert "going on after epoch 2" in (folder / "run.log").read_text()


def test_a_failed_run_keeps_its_traceback_and_goes_on(make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    config = make_config(epochs=3)
    folder = run_folder(config)
    with monkeypatch.context() as patch:
        interrupt_after(patch, 1, ZeroDivisionError("by hand"))
        with pytest.raises(
            RunFailed, match=f"{folder.name}.*ZeroDivisionError: by hand.*; its traceback is in {folder}/run.log"
        ):
            run(config)
    assert record(folder)["status"] == "failed"
    assert "ZeroDivisionError: by hand" in record(folder)["error"]
    assert "ZeroDivisionError: by hand" in (folder / "run.log").read_text()
    assert run(config).epochs == 3
    assert record(folder)["error"] is None


def test_what_breaks_at_the_end_or_before_the_beginning_says_where_it_stands(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = make_config(epochs=1)
    folder = run_folder(config)
    with monkeypatch.context() as patch:
        patch.setattr(Training, "__init__", Mock(side_effect=MemoryError("by hand")))
        with pytest.raises(RunFailed) as error:
            run(config)
        assert str(error.value) == f"{folder.name} failed (MemoryError: by hand)"  # there is no log yet
    with monkeypatch.context() as patch:
        patch.setattr(Training, "products", Mock(side_effect=MemoryError("by hand")))
        with pytest.raises(RunFailed, match=f"its traceback is in {folder}/run.log"):
            run(config)
    assert record(folder)["status"] == "failed" and "MemoryError: by hand" in (folder / "run.log").read_text()
    assert run(config).epochs == 1
    with monkeypatch.context() as patch:
        interrupt_after(patch, 1, ZeroDivisionError("by hand"))
        with pytest.raises(RunFailed, match=r"its traceback is in .*/\.new/.*/run\.log"):  # the old run stays
            run(config, anew=True)


def test_a_network_that_cannot_be_built_is_a_failed_run(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: object, *given: object) -> None:
        raise ZeroDivisionError("by hand")

    monkeypatch.setattr(PoolFeedback, "begin", broken)
    config = make_config()
    with pytest.raises(RunFailed, match="ZeroDivisionError: by hand"):
        run(config)
    folder = run_folder(config)
    assert record(folder)["status"] == "failed" and "ZeroDivisionError: by hand" in record(folder)["error"]
    assert "ZeroDivisionError: by hand" in (folder / "run.log").read_text()


def test_other_code_starts_anew(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    config = make_config(epochs=2)
    with monkeypatch.context() as patch:
        patch.setattr(job, "new_record", lambda *given: replace(new_record(*given), code="0" * 12))
        interrupt_after(patch, 1, KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            run(config)
    run(config)
    assert "starts anew" in caplog.text
    assert "going on" not in caplog.text


def test_other_convolutions_start_anew(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    config = make_config()
    with pytest.raises(KeyboardInterrupt):
        run(config, stop=lambda: True)
    before = record(run_folder(config))["convolutions"]
    monkeypatch.setattr(native, "_kernel", lambda: "no compiler" if before == "native" else native.build())
    assert run(config).epochs == 2
    assert "starts anew, its checkpoint was made by other code, data, versions or convolutions" in caplog.text
    assert record(run_folder(config))["convolutions"] != before


def test_a_full_disk_is_one_line_and_loses_nothing(make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    config = make_config(epochs=3)
    folder = run_folder(config)
    original = checkpoint.save
    saved: list[int] = []

    def full_at_the_second(folder: RunFolder, written: checkpoint.Checkpoint) -> None:
        saved.append(1)
        if len(saved) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        original(folder, written)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save", full_at_the_second)
        with pytest.raises(RunFailed, match="No space left on device.*goes on where this one stopped") as caught:
            run(config)
    assert "\n" not in str(caught.value)
    assert len(metrics(folder).splitlines()) == 1 + 1
    assert run(config).epochs == 3
    assert "going on after epoch 1" in (folder / "run.log").read_text()


def test_a_missing_data_set_leaves_no_run_folder(make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise ConnectionError("no network")

    monkeypatch.setattr(data, "mnist", fail)
    config = make_config("mnist")
    with pytest.raises(UserError, match="dataset=mnist"):
        run(config)
    assert not run_folder(config).exists()


def test_a_loss_that_is_not_finite_is_warned_of(make_config: MakeConfig, caplog: pytest.LogCaptureFixture) -> None:
    run(make_config(lr=1e9, epochs=1))
    assert "the training loss is not finite" in caplog.text


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_outputs_that_cannot_be_written_are_one_line(make_config: MakeConfig) -> None:
    with pytest.raises(RunFailed, match="cannot use /dev/full/runs"):
        run(make_config(outputs="/dev/full"))
