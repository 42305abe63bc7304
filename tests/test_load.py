import json
import os
import shutil
import socket
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from analysis.load import load_runs, refuse_mixture, report_skipped
from weightnet.config import Config
from weightnet.errors import UserError
from weightnet.fingerprint import origins
from weightnet.identity import arm, run_folder, signature
from weightnet.net.epoch import METRICS
from weightnet.runs.folder import RunFolder
from weightnet.runs.lease import Lease

MakeConfig = Callable[..., Config]
LEASES: list[Lease] = []


def write_run(config: Config, accuracies: list[float], **record: Any) -> Path:
    """Write a run folder by hand, as the design fixes it; one that is running has a lease in this process."""
    folder = run_folder(config)
    folder.mkdir(parents=True)
    rows = [f"{e},{23 * e},0.5,0.6,{accuracy},1.5" for e, accuracy in enumerate(accuracies, start=1)]
    (folder / "metrics.csv").write_text("\n".join([",".join(METRICS), *rows]) + "\n")
    (folder / "config.yaml").write_text(yaml.safe_dump(asdict(config)))
    fields = {
        "status": "done", "arm": arm(config), "signature": signature(config), "code": "c0de", "started": "2026-11-23",
        "finished": "2026-11-23", "parameters": 100, "dw": 22,
        "versions": {"torch": "2.9"}, "host": socket.gethostname(), "pid": os.getpid(),
    }  # fmt: skip
    (folder / "run.json").write_text(json.dumps(fields | record))
    if record.get("status") == "running":
        LEASES.append(RunFolder(folder).lock())
        LEASES[-1].acquire(wait=False)
    return folder


@pytest.fixture
def outputs(make_config: MakeConfig, tmp_path: Path) -> Path:
    write_run(make_config(seed=1), [0.5, 0.75])
    write_run(make_config(seed=2), [0.25, 0.5])
    return tmp_path / "outputs"


def test_frames_are_tidy(outputs: Path) -> None:
    loaded = load_runs(outputs)
    assert len(loaded.runs) == 2 and len(loaded.epochs) == 4 and loaded.skipped == []
    first = loaded.runs.set_index("seed").loc[1]
    assert first["test_accuracy"] == 0.75 and first["epoch"] == 2 and first["seconds"] == 3.0
    assert first["model.name"] == "pool" and first["dims.dx"] == 26 and first["dataset.shape"] == "[1, 28, 28]"
    pd.testing.assert_series_equal(
        loaded.epochs.groupby("seed")["test_accuracy"].max(), pd.Series({1: 0.75, 2: 0.5}, name="test_accuracy"),
        check_names=False,
    )  # fmt: skip


def test_every_key_of_the_config_is_a_column(outputs: Path, make_config: MakeConfig) -> None:
    keys = set()
    for key, value in asdict(make_config()).items():
        inner = value.items() if isinstance(value, dict) else ()
        keys |= {f"{key}.{name}" for name, part in inner if not isinstance(part, dict)} if inner else {key}
    keys |= {"model.params.gain", "model.params.fill"}
    loaded = load_runs(outputs)
    assert keys <= set(loaded.runs.columns) and keys <= set(loaded.epochs.columns)


def test_no_runs_at_all(tmp_path: Path) -> None:
    loaded = load_runs(tmp_path / "nowhere")
    assert loaded.runs.empty and loaded.epochs.empty and loaded.skipped == []
    assert "status" in loaded.runs


def breakage(name: str) -> Callable[[Path], object]:
    return {
        "no record": lambda folder: (folder / "run.json").unlink(),
        "no config": lambda folder: (folder / "config.yaml").unlink(),
        "no metrics": lambda folder: (folder / "metrics.csv").unlink(),
        "half a record": lambda folder: (folder / "run.json").write_text('{"status": "do'),
        "record is a list": lambda folder: (folder / "run.json").write_text("[]"),
        "record lacks fields": lambda folder: (folder / "run.json").write_text('{"status": "done"}'),
        "config is no YAML": lambda folder: (folder / "config.yaml").write_text("a: [1"),
        "config is a word": lambda folder: (folder / "config.yaml").write_text("a"),
        "config lacks keys": lambda folder: (folder / "config.yaml").write_text("seed: 1"),
        "empty metrics": lambda folder: (folder / "metrics.csv").write_text(""),
        "other columns": lambda folder: (folder / "metrics.csv").write_text("a,b\n1,2\n"),
        "words for numbers": lambda folder: (folder / "metrics.csv").write_text(
            ",".join(METRICS) + "\n1,23,x,1,1,1\n2,46,1,1,1,1\n"
        ),
        "done but short": lambda folder: (folder / "metrics.csv").write_text(",".join(METRICS) + "\n1,23,1,1,1,1\n"),
        "an epoch twice": lambda folder: (folder / "metrics.csv").write_text(
            ",".join(METRICS) + "\n1,23,1,1,1,1\n1,23,1,1,1,1\n"
        ),
        "record is no text": lambda folder: (folder / "run.json").write_text(
            (folder / "run.json").read_text().replace("c0de", "\\ud800")
        ),
        "binary": lambda folder: (folder / "run.json").write_bytes(b"\xff\xfe\x00"),
        "emptied folder": lambda folder: [path.unlink() for path in folder.iterdir()],
    }[name]


@pytest.mark.parametrize(
    "name",
    ["no record", "no config", "no metrics", "half a record", "record is a list", "record lacks fields",
     "record is no text", "config is no YAML", "config is a word", "config lacks keys", "empty metrics",
     "other columns", "words for numbers", "done but short", "an epoch twice", "binary", "emptied folder"],
)  # fmt: skip
def test_a_broken_folder_is_named_and_skipped(outputs: Path, make_config: MakeConfig, name: str) -> None:
    broken = run_folder(make_config(seed=2))
    breakage(name)(broken)
    loaded = load_runs(outputs)
    assert loaded.runs["seed"].tolist() == [1]
    assert set(loaded.epochs["seed"]) == {1}
    (line,) = loaded.skipped
    assert str(broken) in line and "\n" not in line


def test_many_broken_folders_are_a_few_lines(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(40):
        folder = outputs / "runs" / f"broken-{number:02}"
        folder.mkdir()
        if number % 4 == 3:
            (folder / "run.json").write_text("[]")
    loaded = report_skipped(load_runs(outputs))
    *named, last = capsys.readouterr().err.splitlines()
    assert named == [f"skipped {line}" for line in loaded.skipped[:5]] and len(loaded.skipped) == 40
    assert last == "skipped 35 more: 26 x no run.json, 9 x run.json is not a mapping"
    few = replace(loaded, skipped=loaded.skipped[:5])
    assert few.skipped_in_short() == named


def test_a_reason_does_not_quote_a_whole_file(outputs: Path, make_config: MakeConfig) -> None:
    (run_folder(make_config(seed=2)) / "metrics.csv").write_text("column," * 100_000)
    (line,) = load_runs(outputs).skipped
    assert "metrics.csv has the columns ['column', " in line and len(line) < 1000


def test_only_the_runs_that_are_named_are_read(outputs: Path, make_config: MakeConfig) -> None:
    (outputs / "runs" / "half").mkdir()
    second, first = (run_folder(make_config(seed=seed)).name for seed in (2, 1))
    loaded = load_runs(outputs, [second, "missing", first])
    assert loaded.runs["run"].tolist() == [second, first] and loaded.skipped == []
    assert list(loaded.configs) == [second, first] and loaded.configs[second].seed == 2


def add_own(folder: Path, **own: list[float]) -> None:
    """Add own metrics to a run's metrics.csv, a value an epoch."""
    header, *rows = (folder / "metrics.csv").read_text().splitlines()
    columns = [[name, *map(str, values)] for name, values in own.items()]
    lines = [",".join([line, *cells]) for line, *cells in zip([header, *rows], *columns, strict=True)]
    (folder / "metrics.csv").write_text("\n".join(lines) + "\n")


def test_own_metrics_are_columns_of_both_frames(outputs: Path, make_config: MakeConfig) -> None:
    add_own(run_folder(make_config(seed=1)), **{"per_class.0": [0.25, 0.5], "seed": [7, 7], "accuracy": [7, 7]})
    loaded = load_runs(outputs)
    assert loaded.own == ["per_class.0"]  # names that the frames have already are not taken over
    assert loaded.runs.set_index("seed")["per_class.0"].fillna(-1).to_dict() == {1: 0.5, 2: -1}
    assert loaded.epochs["per_class.0"].dropna().tolist() == [0.25, 0.5]
    assert loaded.runs["accuracy"].tolist() == [75, 50] or set(loaded.runs["accuracy"]) == {75, 50}


def test_a_run_that_failed_before_its_first_epoch_is_a_run(outputs: Path, make_config: MakeConfig) -> None:
    folder = write_run(make_config(seed=3), [], status="failed", error="x\nNo: luck")
    (folder / "metrics.csv").unlink()
    loaded = load_runs(outputs)
    failed = loaded.runs.set_index("seed").loc[3]
    assert (failed["status"], failed["why"], failed["epoch"]) == ("failed", "No: luck", 0) and loaded.skipped == []


def test_a_yaml_file_cannot_run_code(outputs: Path, make_config: MakeConfig, tmp_path: Path) -> None:
    path = run_folder(make_config(seed=2)) / "config.yaml"
    path.write_text(f"a: !!python/object/apply:os.mkdir [{tmp_path}/hacked]")
    assert len(load_runs(outputs).skipped) == 1
    assert not (tmp_path / "hacked").exists()


def test_a_run_without_a_lease_is_an_interrupted_run(outputs: Path, make_config: MakeConfig) -> None:
    write_run(make_config(seed=3), [0.5], status="running")
    LEASES[-1].release()  # its process has ended
    write_run(make_config(seed=4), [0.5], status="running")
    write_run(make_config(seed=5), [0.5], status="running", pid=1, host="another machine")
    write_run(make_config(seed=6), [], status="running")
    states = load_runs(outputs).runs.set_index("seed")["status"]
    assert states.loc[[3, 4, 5, 6]].tolist() == ["interrupted", "running", "running", "running"]


def test_a_stale_run_says_why(make_config: MakeConfig, tmp_path: Path) -> None:
    write_run(make_config(seed=1), [0.5, 0.6])
    (row,) = load_runs(tmp_path / "outputs").runs.to_dict("records")
    assert row["status"] == "done" and row["why"].startswith("code c0de, recorded as a whole; torch 2.9, now ")


def test_locks_and_stray_files_are_no_runs(outputs: Path) -> None:
    (outputs / "runs" / ".locks").mkdir()
    (outputs / "runs" / "notes.txt").write_text("mine")
    loaded = load_runs(outputs)
    assert len(loaded.runs) == 2 and loaded.skipped == []


def test_a_copied_folder_is_no_seed(outputs: Path, make_config: MakeConfig) -> None:
    source = run_folder(make_config(seed=1))
    shutil.copytree(source, source.with_name("copy"))
    source.with_name(source.name + "-link").symlink_to(source)
    loaded = load_runs(outputs)
    assert len(loaded.runs) == 2 and len(loaded.skipped) == 2
    assert f"copy: is not the run that its config.yaml says ({source.name})" in loaded.skipped[0]
    assert "is a symbolic link" in loaded.skipped[1]


def test_runs_of_other_code_or_versions_are_not_mixed_silently(make_config: MakeConfig, tmp_path: Path) -> None:
    write_run(make_config(seed=1), [0.5, 0.6])
    write_run(make_config(seed=2), [0.5, 0.6])
    refuse_mixture(load_runs(tmp_path / "outputs").runs)
    write_run(make_config(seed=3), [0.5, 0.6], code="beef", versions={"torch": "3.0"})
    with pytest.raises(UserError, match=r"code c0de \(2 runs\), beef \(1 run\); torch 2.9 \(2 runs\), 3.0 \(1 run\)"):
        refuse_mixture(load_runs(tmp_path / "outputs").runs)


def test_arms_reach_different_code_and_may_be_compared(make_config: MakeConfig, tmp_path: Path) -> None:
    def write(config: Config, **changed: str) -> None:
        (origin,) = origins([config])
        write_run(config, [0.5, 0.6], code=origin.code, definitions=origin.definitions | changed)

    write(make_config(model="pool"))
    write(make_config(model="baseline"))
    refuse_mixture(load_runs(tmp_path / "outputs").runs)
    write(make_config(model="baseline", seed=2), **{"net.training.fit": "0123"})
    with pytest.raises(UserError, match=r"differ in net.training.fit \w{8} \(2 runs\), 0123 \(1 run\): the same"):
        refuse_mixture(load_runs(tmp_path / "outputs").runs)


@pytest.mark.parametrize("row", ["1,-1,0.5", "1,1_0,0.5", "1,1.0,-0.5", "2,1,0.5", "1, 1,0.5", "nan,1,0.5"])
def test_impossible_feedback_of_an_old_run_is_named(outputs: Path, make_config: MakeConfig, row: str) -> None:
    (run_folder(make_config(seed=1)) / "feedback.csv").write_text(f"epoch,norm,change\n{row}\n")
    loaded = load_runs(outputs)
    assert len(loaded.runs) == 1 and "feedback.csv has " in loaded.skipped[0]


def test_more_epochs_than_there_can_be_are_named_quickly(outputs: Path, make_config: MakeConfig) -> None:
    path, header = run_folder(make_config(seed=1)) / "metrics.csv", ",".join(METRICS)
    for count in (3, 1_000_000):
        path.write_text(f"{header}\n" + "1,23,1,1,1,1\n" * count)
        before = time.monotonic()
        loaded = load_runs(outputs)
        assert len(loaded.runs) == 1 and "metrics.csv" in loaded.skipped[0] and time.monotonic() - before < 2
