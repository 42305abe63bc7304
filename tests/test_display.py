from collections.abc import Callable
from concurrent.futures import CancelledError
from io import StringIO

import pytest
from conftest import make_record
from rich.console import Console
from rich.text import Text

from weightnet.config import Config
from weightnet.errors import RunFailed
from weightnet.identity import run_folder, run_id
from weightnet.net.epoch import EpochResult
from weightnet.runs.folder import RunFolder
from weightnet.sweep import display as display_module
from weightnet.sweep.display import MOST_ROWS, Display, as_table
from weightnet.sweep.engine import Outcome, Task


def test_lines_and_table(
    make_config: Callable[..., Config], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(display_module, "LOOK", 0)
    configs = [make_config(seed=seed) for seed in (1, 2, 3, 4)]
    tasks = [Task(config, []) for config in configs]
    with Display(tasks) as display:
        display.started(tasks[0])
        display.ended(tasks[0], Outcome(0.975))
        display.ended(tasks[1], Outcome(error=RunFailed("x")))
        display.started(tasks[2])
        for task in tasks[2:]:
            display.ended(task, Outcome(error=CancelledError()))
        lines = capsys.readouterr().out.splitlines()
        assert lines[0].startswith(f"[1/4] {run_id(configs[0])}: done, accuracy 97.50%; about 0:0")
        assert f"[2/4] {run_id(configs[1])}: failed" in lines[1]
        assert lines[2:] == [f"{run_id(configs[2])}: not finished"]  # and no word of what was not begun

        display.title = "sweep 3"
        folder = RunFolder(run_folder(configs[3]))
        folder.path.mkdir(parents=True)
        display.started(tasks[3])
        folder.write_history([EpochResult(1, 23, 0.5, 0.5, 0.75, 1.0, [])])
        console = Console(file=StringIO(), width=120)
        console.print(display.table())
        assert isinstance(console.file, StringIO)
        title, header, row, failure, counts = console.file.getvalue().splitlines()
        assert title == "sweep 3" and failure == f"failed: {run_id(configs[1])}: x"
        assert row.split() == [run_id(configs[3]), "1/2", "75.00%"]
        named = Task(configs[3], [], differing="model=pool seed=4")
        display.started(named)
        console.print(display.table())
        assert "model=pool seed=4" in console.file.getvalue()
        assert counts.startswith("1 done, 1 failed, 1 running, 1 left; about 0:0")


def test_who_waits_says_once_for_whom(make_config: Callable[..., Config], capsys: pytest.CaptureFixture[str]) -> None:
    config = make_config()
    folder = RunFolder(run_folder(config))
    folder.path.mkdir(parents=True)
    folder.write_record(make_record(config, host="far", pid=77, started="2026-11-25T00:00:00+00:00", status="running"))
    with Display([Task(config, [])]) as display:
        for _ in range(3):
            display.started(Task(config, []))
            display.paused(Task(config, []))
    holder = "executed by process 77 on far, since 2026-11-25T00:00:00+00:00"
    assert capsys.readouterr().out.count(f"{run_id(config)} is {holder}; this sweep waits for it") == 1


def test_a_long_table_says_what_a_short_one_does() -> None:
    rows = [(f"run-{number}", Text("done", "green"), "[1/2]") for number in range(MOST_ROWS + 1)]

    def lines(count: int) -> list[list[str]]:
        console = Console(file=StringIO(), width=200, markup=False)
        console.print(as_table(["run", "state", "epoch"], rows[:count]))
        assert isinstance(console.file, StringIO)
        return [line.split() for line in console.file.getvalue().splitlines()]

    short, long = lines(MOST_ROWS), lines(MOST_ROWS + 1)
    assert long[:-1] == short and long[-1] == [f"run-{MOST_ROWS}", "done", "[1/2]"]
