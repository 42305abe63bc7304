"""The sweep's side of a queue, with one of this test's own that starts processes at once."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from weightnet.config import Config
from weightnet.errors import RunFailed, UserError
from weightnet.sweep import crew, slurm, watch
from weightnet.sweep.engine import Task
from weightnet.sweep.handover import read_handover
from weightnet.sweep.slurm import Options, Worker
from weightnet.sweep.watch import execute

MakeConfig = Callable[..., Config]


class Queue:
    """Slurm's commands, as far as processes of this machine can do what they do."""

    def __init__(self) -> None:
        self.started: list[tuple[str, Path, subprocess.Popen[bytes]]] = []
        self.cancelled = False
        self.command = [sys.executable, "-m", "weightnet.sweep.queue_worker"]

    def submit(self, folder: Path, options: Options, workers: int, *, notice: int) -> str:
        job = str(len(self.started) + 1)
        for number in range(workers):
            place = {"JOB_ID": job, "TASK_ID": str(number), "TASK_COUNT": str(workers)}
            env = os.environ | {f"SLURM_ARRAY_{name}": value for name, value in place.items()}
            process = subprocess.Popen([*self.command, str(folder)], cwd=folder / "code", env=env)
            self.started.append((job, folder / "code", process))
        return job

    def workers(self) -> list[Worker]:
        states = {None: "RUNNING", 0: "COMPLETED"}
        ended = "CANCELLED" if self.cancelled else "FAILED"
        return [Worker(job, states.get(process.poll(), ended), "None", code) for job, code, process in self.started]

    def signal(self, number: int) -> None:
        for _, _, process in self.started:
            process.send_signal(number)

    def finish_epochs(self, jobs: Sequence[str]) -> None:
        self.signal(signal.SIGUSR1)

    def cancel(self, jobs: Sequence[str], *, waiting: bool = False) -> None:
        self.cancelled = not waiting
        if not waiting:
            self.signal(signal.SIGKILL)


@pytest.fixture
def queue(monkeypatch: pytest.MonkeyPatch) -> Iterator[Queue]:
    queue = Queue()
    for name in ("submit", "workers", "finish_epochs", "cancel"):
        monkeypatch.setattr(slurm, name, getattr(queue, name))
    monkeypatch.setattr(watch, "ASK", 1.0)
    monkeypatch.setenv("PATH", "")  # no squeue: the workers' time is unlimited
    yield queue
    for _, _, process in queue.started:
        process.wait(timeout=120)


@pytest.fixture
def tasks(make_config: MakeConfig) -> list[Task]:
    return [Task(make_config(seed=seed, epochs=40, subset=256), []) for seed in (1, 2)]


def when(condition: Callable[[], object], act: Callable[[], object]) -> None:
    """Act once a condition holds, beside what the test does."""

    def wait() -> None:
        while not condition():
            time.sleep(0.05)
        act()

    threading.Thread(target=wait, daemon=True).start()


def begun(tasks: list[Task]) -> bool:
    return bool(list(Path(tasks[0].config.outputs).glob("runs/*/metrics.csv")))


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.slow
def test_workers_that_die_are_submitted_again(
    queue: Queue, tasks: list[Task], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    when(lambda: begun(tasks), lambda: queue.signal(signal.SIGKILL))
    outcomes = execute(tasks, tmp_path, Options(workers=2))
    assert [outcome.error for outcome in outcomes] == [None, None]
    out = capsys.readouterr().out
    assert "submitted 2 workers, job 1" in out and re.search(
        r"no worker is left \([a-z, ]*failed\), [12] of 2 runs are", out
    )


@pytest.mark.slow
def test_ctrl_c_lets_the_workers_finish_their_epochs(queue: Queue, tasks: list[Task], tmp_path: Path) -> None:
    when(lambda: begun(tasks), interrupt)
    with pytest.raises(KeyboardInterrupt):
        execute(tasks, tmp_path, Options(workers=2))
    assert [process.poll() for _, _, process in queue.started] == [0, 0] and not queue.cancelled


@pytest.mark.slow
def test_what_workers_are_at_is_followed_and_not_mixed_with_other_code(
    queue: Queue, tasks: list[Task], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first = execute(tasks, tmp_path / "first", Options(workers=1), wait=False)
    assert [outcome.failed for outcome in first] == [False, False] and all(outcome.error for outcome in first)
    with monkeypatch.context() as edited:
        edited.setattr(crew, "codes", lambda tasks: ["c0de"] * len(tasks))
        with pytest.raises(UserError, match=r"\(scancel 1\) execute some of these runs with the code as it was"):
            execute(tasks, tmp_path / "second", Options(workers=1))
    outcomes = execute(tasks, tmp_path / "third", Options(workers=1))
    assert [outcome.error for outcome in outcomes] == [None, None]
    assert len(queue.started) == 1 and "1 worker at these runs already (job 1)" in capsys.readouterr().out


@pytest.mark.slow
def test_workers_that_are_at_other_runs_too_are_left_alone(
    queue: Queue, tasks: list[Task], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    execute(tasks, tmp_path / "first", Options(workers=1), wait=False)
    (outcome,) = execute(tasks[1:], tmp_path / "second", Options(workers=1))
    assert outcome.error is None and len(queue.started) == 2 and "already" not in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("anew", [False, True])
def test_workers_are_followed_though_some_runs_have_ended_since(
    queue: Queue, make_config: MakeConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str], anew: bool
) -> None:
    (tmp_path / "file").write_text("")
    fails = make_config("mnist", data_root=str(tmp_path / "file"))
    configs = [make_config(epochs=1, subset=64), fails, make_config(seed=2, epochs=200, subset=256)]
    tasks = [Task(config, [], anew=anew) for config in configs]
    execute(tasks, tmp_path / "first", Options(workers=1), wait=False)
    (folder,) = (tmp_path / "first").iterdir()
    made, _ = read_handover(folder)
    until = time.monotonic() + 120
    while made.outcome(0) is None or made.outcome(1) is None:
        assert time.monotonic() < until and made.outcome(2) is None
        time.sleep(0.1)
    with pytest.raises(UserError, match=r"\(scancel 1\) are at some of these runs with another hydra\.sweeper\.rerun"):
        execute([replace(task, anew=not anew) for task in tasks], tmp_path / "other", Options(workers=1))
    outcomes = execute(tasks, tmp_path / "second", Options(workers=1))
    assert [outcome.failed for outcome in outcomes] == [False, True, False] and made.outcome(0) == outcomes[0]
    assert len(queue.started) == 1 and not (tmp_path / "second").exists()
    assert "1 worker at these runs already (job 1)" in capsys.readouterr().out


def test_as_many_workers_as_the_runs_can_use(
    tasks: list[Task], make_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    submitted: list[int] = []

    def submit(folder: Path, options: Options, workers: int, *, notice: int) -> str:
        submitted.append(workers)
        return "1"

    monkeypatch.setattr(slurm, "workers", list)
    monkeypatch.setattr(slurm, "submit", submit)
    for device, threads, workers in (("cpu", 1, 1), ("cpu", 3, 2), ("cuda", 1, 4)):  # for four runs
        four = [Task(replace(make_config(seed=seed, threads=threads), device=device), []) for seed in range(4)]
        execute(four, tmp_path / f"{device}{threads}", Options(workers=9, cpus_per_task=8), wait=False)
        assert submitted.pop() == workers


def test_workers_that_end_again_and_again_are_given_up(queue: Queue, tasks: list[Task], tmp_path: Path) -> None:
    queue.command = [sys.executable, "-c", "raise SystemExit(3)"]
    with pytest.raises(RunFailed, match=r"workers ended 4 times in a row and finished no run; their logs are .*log"):
        execute(tasks, tmp_path, Options(workers=1))
    assert len(queue.started) == 4


def refusing(queue: Queue, monkeypatch: pytest.MonkeyPatch, *numbers: int) -> list[str]:
    """Let sbatch refuse these of its calls, and workers work after the first; return who has asked."""
    asked: list[str] = []

    def submit(folder: Path, options: Options, workers: int, *, notice: int) -> str:
        asked.append("sbatch")
        if len(asked) in numbers:
            raise RunFailed("sbatch: by hand")
        job = queue.submit(folder, options, workers, notice=notice)
        queue.command = [sys.executable, "-m", "weightnet.sweep.queue_worker"]
        return job

    queue.command = [sys.executable, "-c", "raise SystemExit(3)"]
    monkeypatch.setattr(slurm, "submit", submit)
    return asked


@pytest.mark.slow
def test_slurm_is_asked_again_for_workers(
    queue: Queue, tasks: list[Task], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = refusing(queue, monkeypatch, 2, 3)
    outcomes = execute(tasks, tmp_path, Options(workers=1))
    assert [outcome.error for outcome in outcomes] == [None, None] and len(asked) == 4
    out = capsys.readouterr().out
    assert out.count("no worker is left") == 1
    assert out.count("no workers; Slurm takes none now, and is asked again (sbatch: by hand)") == 1


def test_slurm_is_not_asked_for_ever(
    queue: Queue, tasks: list[Task], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "MOST_UNHEARD", 1)
    asked = refusing(queue, monkeypatch, 2, 3)
    with pytest.raises(
        RunFailed, match=r"^Slurm takes no workers any more \(sbatch: by hand\); 2 of 2 runs are left, "
    ):
        execute(tasks, tmp_path, Options(workers=1))
    assert len(asked) == 3


def test_what_slurm_refuses_at_first_is_the_users_mistake(
    queue: Queue, tasks: list[Task], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusing(queue, monkeypatch, 1)
    with pytest.raises(UserError, match="^sbatch: by hand; no worker was submitted$"):
        execute(tasks, tmp_path, Options(workers=1))


@pytest.mark.slow
def test_a_slurm_that_does_not_answer_is_said_to_be_so(
    queue: Queue, tasks: list[Task], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def silent() -> list[Worker]:
        raise RunFailed("squeue: Unknown host")

    monkeypatch.setattr(slurm, "workers", silent)
    with pytest.raises(UserError, match=r"Slurm does not answer \(squeue: Unknown host\); nothing was submitted"):
        execute(tasks, tmp_path / "sweep", Options(workers=2))
    assert not queue.started and not (tmp_path / "sweep").exists()


def test_workers_are_followed_though_slurm_takes_no_more(
    queue: Queue, tasks: list[Task], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    execute(tasks, tmp_path / "first", Options(workers=1), wait=False)
    refusing(queue, monkeypatch, 1)
    outcomes = execute(tasks, tmp_path / "second", Options(workers=2))
    assert [outcome.error for outcome in outcomes] == [None, None] and len(queue.started) == 1
    assert "no more workers now (sbatch: by hand)" in capsys.readouterr().err


REFUSES = """
import os, pathlib, sys
job, number = os.environ["SLURM_ARRAY_JOB_ID"], os.environ["SLURM_ARRAY_TASK_ID"]
if job == "1" and number in {numbers!r}:
    pathlib.Path(sys.argv[1], "refused", job + "_" + number).write_text("by hand")
if job == "1":
    raise SystemExit(1)
from weightnet.sweep import queue_worker
queue_worker.main()
"""


@pytest.mark.slow
def test_one_worker_that_refuses_ends_no_sweep(
    queue: Queue, tasks: list[Task], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    queue.command = [sys.executable, "-c", REFUSES.format(numbers="0")]
    outcomes = execute(tasks, tmp_path, Options(workers=2))
    assert [outcome.error for outcome in outcomes] == [None, None]
    assert capsys.readouterr().err.count("worker 1_0 refuses to work: by hand") == 1


def test_workers_that_all_refuse_end_it(queue: Queue, tasks: list[Task], tmp_path: Path) -> None:
    queue.command = [sys.executable, "-c", REFUSES.format(numbers="01")]
    with pytest.raises(RunFailed, match="^no worker can work: by hand; 2 of 2 runs are left, .* once that is mended$"):
        execute(tasks, tmp_path, Options(workers=2))
    assert len(queue.started) == 2


def test_when_a_worker_hears_that_its_time_is_up(make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    tasks = [Task(make_config(epochs=2), [])]
    for epoch, minutes, seconds in ((1, None, 30), (1, 1, 15), (300, None, 600), (300, 30, 600), (300, 10, 300)):
        monkeypatch.setattr(crew, "estimate", lambda configs, outputs, epoch=epoch: [2 * epoch])
        assert crew._notice(tasks, Options(workers=1, timeout_min=minutes)) == seconds
