import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from weightnet.errors import RunFailed, UserError
from weightnet.sweep import slurm
from weightnet.sweep.slurm import Options, Worker


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], Path]:
    """Return what makes a command that does as a script of shell says; its arguments are in the file returned."""
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    (tmp_path / "bin").mkdir()

    def make(name: str, script: str) -> Path:
        path, arguments = tmp_path / "bin" / name, tmp_path / f"{name}.arguments"
        path.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >> {shlex.quote(str(arguments))}\n{script}\n')
        path.chmod(0o755)
        return arguments

    return make


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"workers": 0}, "hydra.launcher.workers=0: must be greater than 0"),
        ({"mem_gb": -1.0}, "hydra.launcher.mem_gb=-1.0: must be greater than 0"),
        ({"gpus_per_node": 2}, "one run at a time on a GPU; take 1"),
        ({"additional": {"time": 3}}, "hydra.launcher.additional.time: give hydra.launcher.timeout_min="),
        ({"additional": {"job-name": "x"}}, "hydra.launcher.additional.job-name: give nothing"),
    ],
)
def test_impossible_options(command: Callable[[str, str], Path], options: dict[str, Any], said: str) -> None:
    for name in ("sbatch", "squeue", "scancel"):
        command(name, "")
    Options(workers=1).check()
    with pytest.raises(UserError) as error:
        Options(**{"workers": 1} | options).check()
    assert said in str(error.value)


def test_without_slurm_it_says_what_to_take(command: Callable[[str, str], Path], monkeypatch: Any) -> None:
    monkeypatch.setattr(slurm.shutil, "which", lambda name: None)
    with pytest.raises(UserError, match="there is no sbatch here; .* take hydra/launcher=local"):
        Options(workers=1).check()


def test_what_is_submitted(command: Callable[[str, str], Path], tmp_path: Path) -> None:
    arguments = command("sbatch", "echo '17;cluster'")
    options = Options(
        workers=9, partition="p q", timeout_min=30, cpus_per_task=4, mem_gb=1.5, setup=["module load x"],
        additional={"exclusive": True, "nice": 5, "contiguous": False},
    )  # fmt: skip
    assert slurm.submit(tmp_path, options, 3, notice=90) == "17"
    given = arguments.read_text().splitlines()
    expected = {
        "--array=0-2", "--requeue", "--open-mode=append", "--signal=B:USR1@90", "--partition=p q", "--time=30",
        "--cpus-per-task=4", "--mem=1536M", "--exclusive", "--nice=5",
    }  # fmt: skip
    assert expected <= set(given)
    assert not [word for word in given if word.startswith(("--account", "--contiguous", "--constraint"))]
    lines = Path(given[-1]).read_text().splitlines()
    assert lines[0] == "#!/bin/bash" and "module load x" in lines
    assert shlex.split(lines[-1])[:4] == ["exec", sys.executable, "-m", "weightnet.sweep.queue_worker"]


def test_no_option_is_executed_as_shell(command: Callable[[str, str], Path], tmp_path: Path) -> None:
    arguments = command("sbatch", "echo 17")
    slurm.submit(
        tmp_path, Options(workers=1, account="a\ntouch x", additional={"comment": "b\r\ntouch y"}), 1, notice=60
    )
    assert "--account=a\ntouch x" in arguments.read_text()
    lines = (tmp_path / "worker.sh").read_text().splitlines()
    assert not [line for line in lines if line.startswith("touch")] and len(lines) == 6


def test_what_sbatch_refuses(command: Callable[[str, str], Path], tmp_path: Path) -> None:
    command("sbatch", "echo 'sbatch: error: invalid account' >&2; exit 1")
    with pytest.raises(RunFailed, match="^sbatch: invalid account$"):
        slurm.submit(tmp_path, Options(workers=1), 1, notice=60)


def test_what_the_queue_says(command: Callable[[str, str], Path]) -> None:
    command("squeue", "echo '7|PENDING|Resources|/a/b|c/code'; echo '8|COMPLETED|None|/d'; echo damaged")
    first, second = slurm.workers()
    assert first == Worker("7", "PENDING", "Resources", Path("/a/b|c/code")) and first.alive and not second.alive
    command("squeue", "echo 'squeue: error: cannot contact' >&2; exit 1")
    with pytest.raises(RunFailed, match="squeue: cannot contact"):
        slurm.workers()


@pytest.mark.parametrize(
    ("said", "seconds"),
    [("45", 45), ("3:05", 185), ("1:00:00", 3600), ("2-01:00:01", 176401), ("UNLIMITED", float("inf")),
     ("NOT_SET", float("inf")), ("", float("inf")), ("1-\n1-", float("inf"))],
)  # fmt: skip
def test_the_time_left(monkeypatch: pytest.MonkeyPatch, said: str, seconds: float) -> None:
    def run(command: Sequence[str]) -> str:
        assert "--jobs=7_0" in command
        return said

    monkeypatch.setattr(slurm, "_run", run)
    assert slurm.seconds_left("7_0") == seconds


def test_where_there_is_nobody_nobody_is_told(command: Callable[[str, str], Path]) -> None:
    told = command("scancel", "")
    slurm.cancel([], waiting=True)  # scancel itself would take a filter alone for all jobs
    slurm.finish_epochs([])
    assert not told.exists()
    slurm.cancel(["7"], waiting=True)
    assert told.read_text().split() == ["--state=PENDING", "7"]
