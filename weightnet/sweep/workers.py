"""Executes tasks side by side, in worker processes of this machine or in whatever else has `Slots`.

Each process may be lost without touching the others.

A worker has a pipe of its own and nothing else in common with the others: no queue, no lock, so that none of them can
take anything along when it dies. It says when it is ready, gets a task, and says how that ended. All waiting is for the
pipes and for the ends of the processes, in one place (`Pool.events`).
"""

import logging
import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import closing, suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerContext
from pickle import UnpicklingError
from typing import Protocol

from weightnet.errors import Held, RunFailed
from weightnet.experiment import Config, run_folder, run_id
from weightnet.runs.folder import RunFolder
from weightnet.sweep.display import Display
from weightnet.sweep.engine import Outcome, Task, perform, warm_up, without_main
from weightnet.sweep.interrupt import SIGNALS, finish_epoch_on_signals

# So many workers may end one after the other before they are ready; then something is wrong with this machine.
MOST_STILLBORN = 5


def default_processes(config: Config, cores: int | None = None) -> int:
    """Return how many runs fit so many cores, or this machine's: one for their threads each, on a GPU one in all."""
    if config.device == "cuda":
        return 1
    return max(1, (available_cores() if cores is None else cores) // config.threads)


def available_cores() -> int:
    """Return how many cores of this machine this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def execute(
    tasks: Sequence[Task],
    *,
    processes: int | None = None,
    timeout: float | None = None,
    max_failures: int | None = None,
    title: str = "",
) -> list[Outcome]:
    """Execute tasks in `processes` workers, or `default_processes`: `share_out`."""
    if not tasks:
        return []
    pool = Pool(min(len(tasks), processes or default_processes(tasks[0].config)))
    return share_out(tasks, pool, timeout=timeout, max_failures=max_failures, title=title)


class Slot(Protocol):
    """What executes a task at a time."""

    def begin(self, index: int, task: Task) -> None:
        """Begin a task, and remember its index."""


class Slots(Protocol):
    """What executes tasks side by side: our own processes (`Pool`), or others' (`weightnet.sweep.ray_tasks`)."""

    def idle(self) -> Sequence[Slot]:
        """Return what can begin a task now."""

    def events(self, timeout: float | None) -> Iterator[tuple[int, Outcome | str]]:
        """Wait a moment, and yield the tasks that have ended: the outcome, or what the worker died of."""

    def finish_epochs(self) -> None:
        """Let the epochs in progress be the last."""

    def close(self) -> None:
        """End what is still executed, now."""


def share_out(
    tasks: Sequence[Task], slots: Slots, *, timeout: float | None = None, max_failures: int | None = None, title: str
) -> list[Outcome]:
    """Execute tasks side by side, started in the given order; show them on one display; return one outcome a task.

    A run that fails, exits, crashes, is killed or takes longer than `timeout` seconds is recorded as failed, and the
    others go on; no more are started once `max_failures` have failed. A run that another process executes is asked for
    again until that one has ended. Ctrl-C (SIGTERM, SIGHUP) lets running epochs finish; a second one kills the workers.

    Raises:
        KeyboardInterrupt: Ctrl-C; every run is at rest by then.
        RunFailed: no worker can be started.
    """
    outcomes: dict[int, Outcome] = {}
    failures = 0
    waiting, held = deque(range(len(tasks))), set[int]()
    with finish_epoch_on_signals() as interrupted, Display(tasks, title) as display, closing(slots):

        def end(index: int, outcome: Outcome) -> None:
            nonlocal failures
            outcomes[index] = outcome
            failures += outcome.failed
            display.ended(tasks[index], outcome)

        while len(outcomes) < len(tasks):
            if interrupted() or (max_failures is not None and failures >= max_failures):
                slots.finish_epochs()
                while waiting or held:
                    end(waiting.popleft() if waiting else held.pop(), Outcome(error=CancelledError()))
            for slot in slots.idle()[: len(waiting)]:
                index = waiting.popleft()
                display.started(tasks[index])
                slot.begin(index, tasks[index])
            for index, result in slots.events(timeout):
                if isinstance(result, str):
                    end(index, died(tasks[index].config, result))
                elif isinstance(result.error, Held):
                    held.add(index)
                    display.paused(tasks[index])
                else:
                    end(index, result)
            free = {index for index in held if not RunFolder(run_folder(tasks[index].config)).is_held()}
            held -= free
            waiting += sorted(free)
            display.update()
        if interrupted():
            raise KeyboardInterrupt
    return [outcomes[index] for index in range(len(tasks))]


def died(config: Config, why: str) -> Outcome:
    """Record that the worker which executed a run died, and return how the run ended."""
    RunFolder(run_folder(config)).write_death(why)
    return Outcome(error=RunFailed(f"{run_id(config)}: {why}"))


class Pool:
    """A number of workers, each replaced when it has ended. `close` ends them."""

    PATIENCE = 0.5  # seconds until somebody looks again for Ctrl-C and for runs that others have left

    def __init__(self, count: int) -> None:
        self.count, self.stillborn, self.finishing = count, 0, False
        self.workers: list[Worker] = []
        self.context = warm_up()

    def close(self) -> None:
        """End all workers: idle and starting ones have nothing to lose, others are left only by a second Ctrl-C."""
        for worker in self.workers:
            worker.kill()

    def idle(self) -> list["Worker"]:
        """Return the workers that wait for a task."""
        return [worker for worker in self.workers if worker.ready and worker.task is None]

    def is_busy(self) -> bool:
        """Tell whether a worker has a task."""
        return any(worker.task is not None for worker in self.workers)

    def finish_epochs(self) -> None:
        """Tell workers that the epoch in progress is to be their last."""
        if not self.finishing:  # once: a second word would stay in the pipe, until it is full
            for worker in self.workers:
                worker.tell(None)
        self.finishing = True

    def events(self, timeout: float | None) -> Iterator[tuple[int, Outcome | str]]:
        """Wait for what happens next, and yield the tasks that have ended: the outcome, or what the worker died of.

        A worker whose task takes longer than `timeout` seconds is killed. RunFailed: they end unready again and again.
        """
        self.workers += [Worker(self.context) for _ in range(self.count - len(self.workers))]
        wait([source for worker in self.workers for source in (worker.pipe, worker.process.sentinel)], self.PATIENCE)
        for worker in list(self.workers):
            alive = worker.process.is_alive()  # asked first: what it said before its end is read below
            task, outcome = worker.task, worker.receive()
            if task is not None and outcome is not None:
                yield task, outcome
            elif task is not None and timeout is not None and time.monotonic() - worker.since > timeout:
                worker.kill()
                self.workers.remove(worker)
                yield task, f"timeout: the run took longer than {timeout:g} seconds"
            elif not alive:
                self.workers.remove(worker)
                why = worker.cause_of_death()
                self.stillborn = 0 if worker.ready else self.stillborn + 1
                if self.stillborn > MOST_STILLBORN:
                    raise RunFailed(f"no worker process starts: {why}, {self.stillborn} times in a row")
                if task is not None:
                    yield task, why


class Worker:
    """A process that executes one task after the other, as its parent sees it."""

    def __init__(self, context: ForkServerContext) -> None:
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs,))
        with without_main():
            self.process.start()
        theirs.close()
        self.ready, self.since = False, 0.0  # since when it has its task
        self.task: int | None = None

    def begin(self, index: int, task: Task) -> None:
        """Send a task, and remember its index."""
        self.task, self.since = index, time.monotonic()
        self.tell(task)

    def tell(self, message: Task | None) -> None:
        """Send a task, or None: the epoch in progress is to be the last."""
        with suppress(OSError):  # it has died meanwhile: `events` finds out
            self.pipe.send(message)

    def receive(self) -> Outcome | None:
        """Return how the task ended, if the worker has said so."""
        with suppress(EOFError, OSError, UnpicklingError):  # it died, perhaps in the middle of a word
            while self.pipe.poll():
                message: Outcome | None = self.pipe.recv()
                if message is not None:
                    self.task = None
                    return message
                self.ready = True
        return None

    def kill(self) -> None:
        """End the process now, whatever it does."""
        self.process.kill()
        self.process.join()
        self.pipe.close()

    def cause_of_death(self) -> str:
        """Return what the process died of, in words."""
        self.process.join()
        code = self.process.exitcode or 0
        if code >= 0:
            return f"worker exited with status {code}"
        name = signal.Signals(-code).name if -code in set(signal.Signals) else str(-code)
        return f"worker died of {name}{' (out of memory?)' if name == 'SIGKILL' else ''}"


def _serve(pipe: Connection) -> None:
    """Be a worker: execute what comes through the pipe, until it is closed.

    Signals are the parent's business, the log goes to the run folders, and there is no life without the parent.
    """
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    logging.getLogger("weightnet").propagate = False
    threading.Thread(target=_follow, daemon=True).start()
    with suppress(EOFError, OSError):  # the parent has closed the pipe
        pipe.send(None)
        while True:
            task: Task | None = pipe.recv()
            if task is not None:  # else: to finish an epoch that was finished anyway
                pipe.send(perform(task, stop=pipe.poll))


def _follow() -> None:
    """End this worker when its parent has ended."""
    if parent := multiprocessing.parent_process():
        parent.join()
    os._exit(1)
