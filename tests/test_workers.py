import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import CancelledError
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, make_record

from weightnet.config import Config
from weightnet.errors import Held, RunFailed
from weightnet.identity import run_folder
from weightnet.runs.folder import RunFolder
from weightnet.runs.job import run
from weightnet.sweep import workers
from weightnet.sweep.engine import Outcome, Task, perform
from weightnet.sweep.workers import default_processes, execute

MakeConfig = Callable[..., Config]


def test_as_many_processes_as_cores_for_their_threads(make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    assert default_processes(make_config()) == 8
    assert default_processes(make_config(threads=4)) == 2
    assert default_processes(make_config(threads=16)) == 1
    assert default_processes(make_config(threads=3), cores=7) == 2
    gpu = replace(make_config(), device="cuda")
    assert default_processes(gpu) == default_processes(gpu, cores=7) == 1


def test_no_runs_need_no_workers() -> None:
    assert execute([]) == []


def started(config: Config) -> RunFolder:
    """Return the folder of a run that a process has begun to execute."""
    folder = RunFolder(run_folder(config))
    folder.path.mkdir(parents=True)
    folder.write_record(make_record(config, status="running"))
    return folder


def test_a_death_is_recorded(make_config: MakeConfig) -> None:
    folder = started(make_config())
    outcome = workers.died(make_config(), "worker died of SIGKILL")
    assert outcome.failed and "worker died of SIGKILL" in str(outcome.error)
    record = folder.record()
    assert record is not None and (record.status, record.error) == ("failed", "worker died of SIGKILL")


def test_a_death_says_nothing_of_a_run_that_another_process_took_over(make_config: MakeConfig) -> None:
    folder = started(make_config())
    before = folder.record()
    with folder.lock():
        workers.died(make_config(), "timeout")
    assert folder.record() == before


def test_outcomes() -> None:
    assert not Outcome(0.5).failed and Outcome(error=RunFailed("x")).failed
    assert not Outcome(error=CancelledError()).failed and not Outcome(error=Held("x")).failed


def test_a_task_is_performed_in_any_process(make_config: MakeConfig) -> None:
    task = Task(make_config(epochs=2), ["model=pool"])
    assert isinstance(perform(task, lambda: True).error, CancelledError)  # after its first epoch
    done = perform(task, lambda: False)
    assert done.error is None and done.value == run(task.config).test_accuracy
    assert perform(replace(task, verify_epochs=1), lambda: False) == Outcome("")
    with RunFolder(run_folder(task.config)).lock():
        assert isinstance(perform(task, lambda: False).error, Held)


def child(program: str) -> "workers.Worker":
    """Return a worker whose process runs a program instead."""
    worker = workers.Worker.__new__(workers.Worker)
    worker.process = multiprocessing.get_context("spawn").Process(target=exec, args=(program,))
    worker.process.start()
    return worker


def test_causes_of_death() -> None:
    assert child("import os; os._exit(3)").cause_of_death() == "worker exited with status 3"
    assert child("import os; os._exit(0)").cause_of_death() == "worker exited with status 0"
    assert child("import os; os.kill(os.getpid(), 11)").cause_of_death() == "worker died of SIGSEGV"
    assert child("import os; os.kill(os.getpid(), 9)").cause_of_death() == "worker died of SIGKILL (out of memory?)"


@pytest.mark.slow
def test_workers_that_die_at_birth_are_replaced(make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    born: list[int] = []
    original = workers.Worker.__init__

    def often_killed(self: "workers.Worker", context: Any) -> None:
        original(self, context)
        born.append(1)
        if len(born) <= 3:
            self.process.kill()
            self.process.join()
            with suppress(EOFError, OSError):  # should it have come as far as to say that it is ready
                while self.pipe.poll():
                    self.pipe.recv()

    monkeypatch.setattr(workers.Worker, "__init__", often_killed)
    tasks = [Task(make_config(seed=seed, epochs=1), []) for seed in (1, 2, 3)]
    assert [outcome.failed for outcome in execute(tasks, processes=2)] == [False] * 3
    born.clear()
    monkeypatch.setattr(workers, "MOST_STILLBORN", 2)
    with pytest.raises(RunFailed, match="no worker process starts: worker died of SIGKILL"):
        execute([Task(make_config(seed=9), [])], processes=1)


def test_a_held_run_is_left_alone(make_config: MakeConfig) -> None:
    config = make_config()
    with RunFolder(run_folder(config)).lock(), pytest.raises(Held):
        run(config, wait=False)


def test_what_workers_are_forked_from_follows_its_parent_while_it_still_imports(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("import time\nprint('importing', flush=True)\ntime.sleep(600)\n")
    parent = "from weightnet.sweep.engine import warm_up; import time; warm_up(); time.sleep(600)"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    with subprocess.Popen([sys.executable, "-c", parent], env=environment, stdout=subprocess.PIPE) as started:
        assert started.stdout is not None and started.stdout.readline() == b"importing\n"
        started.kill()
        # returns once nobody holds the pipe any longer
        assert started.communicate(timeout=60) == (b"", None)
    command, gone = [sys.executable, "-c", "import weightnet.sweep.preload"], {"WEIGHTNET_PARENT": "0"}
    ended = subprocess.run(command, env=environment | gone, stdout=subprocess.PIPE, timeout=60)
    assert ended.returncode == 1  # its parent had ended before it began


def test_a_worker_follows_its_parent() -> None:
    parent = """
import multiprocessing, os, signal
from weightnet.sweep.workers import _follow
multiprocessing.get_context("fork").Process(target=_follow).start()
os.kill(os.getpid(), signal.SIGKILL)
"""
    # returns once nobody holds the pipe any longer, the worker included
    ended = subprocess.run([sys.executable, "-c", parent], stdout=subprocess.PIPE, timeout=60)
    assert ended.returncode == -signal.SIGKILL
