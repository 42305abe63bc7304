from collections.abc import Callable
from dataclasses import asdict
from io import StringIO
from pathlib import Path

import pytest
from conftest import make_record
from rich.console import Console
from test_load import write_run

from analysis import status
from weightnet.config import Config


def shown(outputs: Path) -> list[str]:
    console = Console(file=StringIO(), width=200)
    status.show(outputs, console)
    assert isinstance(console.file, StringIO)
    return console.file.getvalue().splitlines()


@pytest.fixture
def outputs(make_config: Callable[..., Config], tmp_path: Path) -> Path:
    for seed, state in enumerate(("failed", "interrupted", "running", "done"), start=1):
        write_run(make_config(seed=seed), [0.5, 0.75] if state == "done" else [0.5], status=state, error="x\nNo: luck")
    config = make_config(seed=5)
    made = asdict(make_record(config))
    write_run(config, [0.5, 0.75], **{key: made[key] for key in ("code", "definitions", "versions")})
    (tmp_path / "outputs" / "runs" / "half").mkdir()
    return tmp_path / "outputs"


def test_each_run_has_a_row(outputs: Path) -> None:
    header, *rows, stale, failed, skipped, old, total = shown(outputs)
    assert header.split() == ["run", "state", "epoch", "accuracy", "age"]
    assert [row.split()[1:-2] for row in rows] == [
        ["done", "2/2", "75.00%"],
        ["stale", "2/2", "75.00%"],
        ["running", "1/2", "50.00%"],
        ["interrupted", "1/2"],  # no digest holds its numbers
        ["failed", "1/2"],
    ]
    assert stale.startswith("1 stale: code c0de, recorded as a whole; torch 2.9, now ") and "s4-" in stale
    assert failed.startswith("1 failed: No: luck (digits-pool-dx26-m31-n25-s1-")
    assert "half: no run.json" in skipped and old.startswith("2 runs recorded before there were digests")
    assert total == "5 runs: 1 done, 1 stale, 1 running, 1 interrupted, 1 failed; 1 folder skipped"


def test_a_run_that_failed_in_its_first_epoch_has_a_row(make_config: Callable[..., Config], tmp_path: Path) -> None:
    folder = write_run(make_config(), [], status="failed", error="Traceback\nZeroDivisionError: by hand")
    for _ in ("a header only", "no file"):
        _, row, failed, total = shown(tmp_path / "outputs")
        assert row.split()[1:3] == ["failed", "0/2"]
        assert failed.startswith("1 failed: ZeroDivisionError: by hand (digits-pool-")
        assert total.startswith("1 run: 0 done") and total.endswith("1 failed; 0 folders skipped")
        (folder / "metrics.csv").unlink(missing_ok=True)


def test_no_runs_yet(tmp_path: Path) -> None:
    assert shown(tmp_path) == ["no runs yet"]


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (59, "59 s"), (60, "1 min"), (7200, "2 h"), (172800.0, "2 d")]
)
def test_ages(seconds: float, text: str) -> None:
    assert status._ago(seconds) == text
