import os
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import CancelledError, Future

import pytest
from cli import workers
from cli.workers import default_processes, execute
from hydra.core.utils import JobStatus
from pebble import ProcessExpired
from weightnet.job import run
from weightnet.store import RunFolder

from weightnet.config import Config, run_folder
from weightnet.errors import Held, RunFailed

MakeConfig = Callable[..., Config]


def test_as_many_processes_as_cores_for_their_threads(make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    assert default_processes(make_config()) == 8
    assert default_processes(make_config(threads=4)) == 2
    assert default_processes(make_config(threads=16)) == 1


def test_no_runs_need_no_workers() -> None:
    assert execute([], []) == []


def future(error: BaseException | None = None) -> "Future[float]":
    made: Future[float] = Future()
    if error is None:
        made.set_result(0.5)
    else:
        made.set_exception(error)
    return made


def test_outcomes(make_config: MakeConfig) -> None:
    config = make_config()
    done = workers._outcome(config, [], future(), None)
    assert done is not None and done.status == JobStatus.COMPLETED and done.return_value == 0.5
    assert not workers.is_failure(done)
    assert workers._outcome(config, [], future(Held("x")), None) is None
    failed = workers._outcome(config, ["seed=1"], future(RunFailed("x")), None)
    assert failed is not None and workers.is_failure(failed)
    stopped = workers._outcome(config, [], future(CancelledError()), None)
    assert stopped is not None and stopped.status == JobStatus.FAILED and not workers.is_failure(stopped)


def test_a_death_is_recorded(make_config: MakeConfig) -> None:
    config = make_config()
    folder = RunFolder(run_folder(config))
    folder.path.mkdir(parents=True)
    folder.write_record({"status": "running"})
    outcome = workers._outcome(config, [], future(ProcessExpired("died", code=-9)), None)
    assert outcome is not None and workers.is_failure(outcome)
    assert folder.record()["status"] == "failed"
    assert folder.record()["error"] == "worker died of SIGKILL (out of memory?)"


def test_a_death_says_nothing_of_a_run_that_another_process_took_over(make_config: MakeConfig) -> None:
    config = make_config()
    folder = RunFolder(run_folder(config))
    folder.path.mkdir(parents=True)
    folder.write_record({"status": "running"})
    with folder.lock():
        workers._outcome(config, [], future(TimeoutError()), 5.0)
    assert folder.record() == {"status": "running"}


def test_causes_of_death() -> None:
    assert workers._cause_of_death(3) == "worker exited with status 3"
    assert workers._cause_of_death(-11) == "worker died of SIGSEGV"
    assert workers._cause_of_death(-250) == "worker died of 250"


def test_a_held_run_is_left_alone(make_config: MakeConfig) -> None:
    config = make_config()
    with RunFolder(run_folder(config)).lock(), pytest.raises(Held):
        run(config, wait=False)


def test_a_worker_follows_its_parent() -> None:
    parent = """
import multiprocessing, os, signal
from cli.workers import _follow
multiprocessing.get_context("fork").Process(target=_follow).start()
os.kill(os.getpid(), signal.SIGKILL)
"""
    # returns once nobody holds the pipe any longer, the worker included
    ended = subprocess.run([sys.executable, "-c", parent], stdout=subprocess.PIPE, timeout=60)
    assert ended.returncode == -signal.SIGKILL
