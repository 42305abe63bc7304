"""Executes runs as tasks of Ray: a Ray of their own on this machine, or a cluster that shares the disk of `outputs`.

Ray decides where a task is executed, and begins it again where it lost the process or the machine; the run then goes on
after its last whole epoch. Workers execute a copy of the code, the user's own included, which Ray takes to them.
"""

import logging
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError
from dataclasses import replace
from functools import cache
from pathlib import Path
from socket import create_connection
from tempfile import TemporaryDirectory
from typing import Any

from weightnet.errors import RunFailed, UserError
from weightnet.experiment import copy_code, run_folder
from weightnet.runs.folder import RunFolder
from weightnet.runs.probe import Probe
from weightnet.sweep.engine import Outcome, Task, perform
from weightnet.sweep.handover import absolute
from weightnet.sweep.interrupt import ignored
from weightnet.sweep.workers import available_cores, share_out

PATIENCE = 0.5  # seconds until somebody looks again for Ctrl-C and for runs that others have left
MOST_UNREST = 30.0  # seconds that processes which were told to end may take for it

_OURS = {  # of a Ray of our own
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # listens on 127.0.0.1 alone, on Linux as well
    "RAY_USAGE_STATS_ENABLED": "0",  # tells its makers nothing
    "RAY_worker_niceness": "0",  # else 15: last of all that runs on this machine
}


def execute(
    tasks: Sequence[Task], sweep: Path, *, address: str | None, max_failures: int | None, title: str, **needs: Any
) -> list[Outcome]:
    """Execute tasks in the Ray of an address, or in one of their own (None): as `share_out` does.

    `sweep` is the sweep's folder, on a disk that the workers share. `needs` are a task's `num_cpus`, `num_gpus` (None:
    what its config asks for) and `max_retries`, as Ray has them. The errors are those of `share_out`, and:

    UserError: there is no such Ray, or no room in it for a run. RunFailed: Ray does not start, loses all machines, or a
    worker cannot work.
    """
    if not tasks:
        return []
    tasks = [replace(task, config=absolute(task.config)) for task in tasks]
    config = tasks[0].config
    needs["num_cpus"] = needs["num_cpus"] or config.threads
    needs["num_gpus"] = needs["num_gpus"] or int(config.device == "cuda")
    with Probe(run_folder(config).parent):
        slots = _Slots(_ray(address, tasks, needs["max_retries"]), sweep.absolute() / "stop", needs)
        if not slots.room():
            slots.close()
            what = f"{needs['num_cpus']} CPUs and {needs['num_gpus']} GPUs"
            raise UserError(f"hydra/launcher=ray: a run takes {what}, and no machine of this Ray has that")
        return share_out(tasks, slots, max_failures=max_failures, title=title)


def _ray(address: str | None, tasks: Sequence[Task], max_retries: int) -> Any:
    """Start Ray, or join the one of an address, whose workers then execute the tasks' code as it is now."""
    os.environ["RAY_task_oom_retries"] = str(max_retries)  # else without end
    own: dict[str, Any] = {}
    if address is None:
        own = {"num_cpus": available_cores(), "include_dashboard": False}
        os.environ |= _OURS
    with TemporaryDirectory() as code, ignored():  # signals: from the birth of its processes
        copy_code([task.config for task in tasks], Path(code))
        import ray

        try:
            if address not in (None, "auto"):  # Ray itself would try for many minutes
                host, _, port = str(address).rpartition(":")
                create_connection((host.rpartition("/")[2].strip("[]"), int(port)), timeout=10).close()
            ray.init(address or "local", runtime_env={"working_dir": code}, log_to_driver=False,
                     logging_level=logging.ERROR, **own)  # fmt: skip
        except Exception as error:
            why = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}; nothing was run"
            if address is None:
                raise RunFailed(f"Ray does not start: {why}") from error
            raise UserError(f"hydra.launcher.address={address}: must be auto, or HOST:PORT of a Ray; {why}") from error
    return ray


def _perform(task: Task, stop: Path) -> Outcome:
    """Execute a task in a worker. RunFailed: this machine cannot work."""
    logging.getLogger("weightnet").propagate = False  # the log goes to the run folders
    if stop.exists():
        return Outcome(error=CancelledError())
    if why := _contradiction(run_folder(task.config).parent):
        raise RunFailed(why)
    return perform(task, stop=stop.exists)


@cache  # once a process
def _contradiction(runs: Path) -> str:
    return Probe(runs).contradiction()


class _Slots:
    """What Ray has room for: `weightnet.sweep.workers.Slots`."""

    def __init__(self, ray: Any, stop: Path, needs: dict[str, Any]) -> None:
        self.ray, self.stop, self.needs = ray, stop, needs
        self.remote = ray.remote(**needs)(_perform)
        self.begun: dict[Any, tuple[int, Task]] = {}  # by what Ray calls the outcome to come

    def room(self) -> int:
        """Return how many runs Ray's machines have room for in all."""
        needs = {"CPU": self.needs["num_cpus"], "GPU": self.needs["num_gpus"]}
        alive = [node["Resources"] for node in self.ray.nodes() if node["Alive"]]
        return sum(min(int(has.get(kind, 0) / need) for kind, need in needs.items() if need) for has in alive)

    def idle(self) -> list["_Slots"]:
        """Return as many slots as are free. RunFailed: there are none any more."""
        if not (room := self.room()):
            raise RunFailed("Ray has lost all machines that have room for a run; the same command goes on")
        return [self] * (room - len(self.begun))

    def begin(self, index: int, task: Task) -> None:
        """Hand a task to Ray."""
        self.begun[self.remote.remote(task, self.stop)] = index, task

    def events(self, timeout: float | None) -> Iterator[tuple[int, Outcome | str]]:
        """Wait for a task to end. RunFailed: a machine cannot work."""
        if not self.begun:
            time.sleep(PATIENCE)
            return
        for ended in self.ray.wait(list(self.begun), timeout=PATIENCE)[0]:
            index, _ = self.begun.pop(ended)
            try:
                yield index, self.ray.get(ended)
            except self.ray.exceptions.RayTaskError as error:
                raise RunFailed(f"a worker of Ray cannot work: {error.cause}; the same command goes on") from error
            except self.ray.exceptions.RayError as error:
                said = " ".join(str(error).split()).partition(". ")[0]
                yield index, f"Ray gave it up: {said[:200]} ({type(error).__name__})"

    def finish_epochs(self) -> None:
        """Tell workers that the epoch in progress is to be their last."""
        self.stop.touch()

    def close(self) -> None:
        """End what is still executed, and wait for that."""
        self.ray.shutdown()
        until = time.monotonic() + MOST_UNREST
        for _, task in self.begun.values():
            while RunFolder(run_folder(task.config)).is_held() and time.monotonic() < until:
                time.sleep(0.1)
