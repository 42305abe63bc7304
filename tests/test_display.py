from collections.abc import Callable
from io import StringIO

import pytest
from cli.display import Display
from rich.console import Console
from weightnet.store import RunFolder
from weightnet.training import EpochResult

from weightnet.config import Config, run_folder, run_id


def test_lines_and_table(make_config: Callable[..., Config], capsys: pytest.CaptureFixture[str]) -> None:
    configs = [make_config(seed=seed) for seed in (1, 2, 3, 4)]
    with Display(configs) as display:
        display.ended(configs[0], 0.975, failed=False)
        display.ended(configs[1], None, failed=True)
        display.ended(configs[2], None, failed=False)
        lines = capsys.readouterr().out.splitlines()
        assert lines[0].startswith(f"[1/4] {run_id(configs[0])}: done, accuracy 97.50%; about 0:0")
        assert f"[2/4] {run_id(configs[1])}: failed" in lines[1]
        assert f"[3/4] {run_id(configs[2])}: not finished" in lines[2]

        folder = RunFolder(run_folder(configs[3]))
        folder.path.mkdir(parents=True)
        folder.write_record({"status": "running"})
        folder.write_history([EpochResult(1, 23, 0.5, 0.5, 0.75, 1.0, [])])
        console = Console(file=StringIO(), width=120)
        with folder.lock():
            console.print(display.table())
        assert isinstance(console.file, StringIO)
        header, row, counts = console.file.getvalue().splitlines()
        assert row.split() == [run_id(configs[3]), "1/2", "75.00%"]
        assert counts.startswith("1 done, 1 failed, 1 running, 0 left; about 0:0")
