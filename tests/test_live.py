from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console
from test_load import write_run
from test_sweeps import write_sweep

from analysis import live


def frames(outputs: Path, keys: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The lines of all frames, each key pressed at the end of one."""
    pressed = iter([*keys])

    def wait(seconds: float) -> str:
        if not (key := next(pressed, "")):
            raise KeyboardInterrupt
        return key

    monkeypatch.setattr("analysis.live._none", wait)
    console = Console(file=StringIO(), width=200, height=60)
    live.watch(outputs, console)
    assert isinstance(console.file, StringIO)
    return console.file.getvalue().splitlines()


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    _, configs = write_sweep(tmp_path, "model=baseline,pool", "dataset=digits", "seed=1,2,3")
    states = ("done", "running", "failed", "interrupted")
    for config, status in zip(configs, states, strict=False):
        written = [0.5] * (config.train.epochs if status == "done" else 1)
        write_run(config, written, status=status, error="x\nNo: luck")
    return tmp_path


def test_a_sweep_is_shown_with_what_its_runs_differ_in(outputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "\n".join(frames(outputs, "", monkeypatch))
    assert "1/6 runs" in text and "2 not begun" in text and "model=baseline,pool" in text
    assert "model=baseline seed=2" in text and "1 failed: No: luck" in text and "left" in text


def test_a_damaged_run_is_not_taken_for_one_that_has_not_begun(
    outputs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    next((outputs / "runs").glob("*/run.json")).write_text("{")
    damaged = outputs / "sweeps" / "0"
    damaged.mkdir()
    (damaged / "sweep.json").write_text("{")
    text = "\n".join(frames(outputs, "aaa", monkeypatch))
    assert "2 not begun" in text and "3 not begun" not in text and "skipped" in text
    assert capsys.readouterr().err.count(str(damaged)) == 1  # not at every look


def test_keys_filter_and_end(outputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "\n".join(frames(outputs, "fq", monkeypatch))
    last = text[text.rindex("1/6 runs") :]
    assert "model=baseline seed=3" in last and "model=baseline seed=2" not in last


def test_after_the_last_sweep_all_runs_are_shown(outputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "4 runs: " in "\n".join(frames(outputs, "n", monkeypatch))


def test_without_a_sweep_it_waits_for_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert any("no runs yet" in line for line in frames(tmp_path, "", monkeypatch))
