"""A worker of a sweep that a queue starts: `python -m weightnet.sweep.queue_worker FOLDER`, in the folder's `code`.

It fills its allocation with processes, begins at its own place in the list of tasks, and leaves when there is nothing
to do but what others do. Before its time is up, or when it is asked to stop, it finishes the epochs in progress; then
it goes back into the queue, unless the sweep was stopped or Slurm has decided otherwise.
"""

import os
import signal
import socket
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError
from contextlib import closing, suppress
from pathlib import Path

from weightnet.errors import ArgumentParser, Held, RunFailed
from weightnet.experiment import run_folder, shape
from weightnet.runs.probe import Probe
from weightnet.runs.record import utc_now
from weightnet.sweep import slurm
from weightnet.sweep.display import words
from weightnet.sweep.engine import warm_up
from weightnet.sweep.estimate import seconds_per_epoch
from weightnet.sweep.handover import Handover, read_handover
from weightnet.sweep.interrupt import NOTICE, SIGNALS, noted
from weightnet.sweep.workers import Pool, default_processes, died


class Chooser:
    """Which task is next for one worker, of a list that others take from as well."""

    def __init__(self, handover: Handover, *, offset: int, time_left: Callable[[], float]) -> None:
        """Begin at an offset in the list; `time_left` returns seconds."""
        self.handover, self.time_left, self.limit = handover, time_left, time_left()
        order = [*range(offset, len(handover.tasks)), *range(offset)]
        self.ahead, self.held, self.unfit = deque[int](order), list[int](), list[int]()
        self.begun = 0  # how many tasks it has returned
        unlimited, config = self.limit == float("inf"), handover.tasks[0].config
        self.epoch = {} if unlimited else seconds_per_epoch(Path(config.outputs))  # by shape

    def next(self) -> int | None:
        """Return the next task that nobody executes, has not ended, and fits into the time left, or None."""
        while self.ahead:
            index = self.ahead.popleft()
            if self.handover.outcome(index) is not None:
                continue
            if self.handover.folders[index].is_held():
                self.held.append(index)
            elif not self._fits(index):
                self.unfit.append(index)
            else:
                self.begun += 1
                return index
        return None

    def learn(self, index: int) -> None:
        """Take note of how long a run took."""
        record = self.handover.folders[index].record()
        if record and record.shape and (seconds := record.seconds_per_epoch):
            self.epoch.setdefault(record.shape, seconds)

    def look_again(self) -> bool:
        """Take back what others have left unfinished; tell whether there is such a task."""
        free = [index for index in self.held if not self.handover.folders[index].is_held()]
        self.held = [index for index in self.held if index not in free]
        self.ahead += free
        return bool(free)

    def remaining(self) -> list[int]:
        """Return the tasks that did not fit into the time left, and that nobody has executed since."""
        return [index for index in self.unfit
                if self.handover.outcome(index) is None and not self.handover.folders[index].is_held()]  # fmt: skip

    def _fits(self, index: int) -> bool:
        """Tell whether a run fits into the time left; of one that is longer than a whole allocation, an epoch.

        One of a shape that has not been seen yet does: what it has done when time is up is kept.
        """
        config, done = self.handover.tasks[index].config, 0
        if (epoch := self.epoch.get(shape(config))) is None:
            return True
        with suppress(OSError, ValueError):
            done = len(self.handover.folders[index].metrics())
        needed = epoch * max(1, config.train.epochs - done)
        return (needed if needed <= self.limit else epoch) <= self.time_left()


def work(handover: Handover, chooser: Chooser, *, processes: int, stopping: Callable[[], bool]) -> bool:
    """Execute tasks side by side until the chooser has none; tell whether there is more to do with more time.

    RunFailed: no process can be started.
    """
    with closing(Pool(processes)) as pool:
        while True:
            if stop := stopping():
                pool.finish_epochs()
            for worker in pool.idle() if not stop else ():
                if (index := chooser.next()) is None:
                    break
                worker.begin(index, handover.tasks[index])
            for index, result in pool.events(None):
                end = died(handover.tasks[index].config, result) if isinstance(result, str) else result
                if isinstance(end.error, Held):
                    chooser.held.append(index)
                elif not isinstance(end.error, CancelledError):
                    handover.tell(index, end)
                    chooser.learn(index)
                    _say(f"{handover.ids[index]}: {words(end)}")
            if not pool.is_busy() and (stop or not (chooser.ahead or chooser.look_again())):
                return stop or bool(chooser.remaining())


def main() -> None:
    """Be a worker. Exit status 1: it cannot work; the folder says why."""
    parser = ArgumentParser(
        prog="python -m weightnet.sweep.queue_worker", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--notice", type=int, default=0, help="seconds before its end that the queue tells it")
    asked = parser.parse_args()
    job, number, count = _place(os.environ)
    warm_up()
    end = time.monotonic() + _seconds_left(job) - asked.notice
    with noted(NOTICE, *SIGNALS) as signals:
        handover, _ = read_handover(asked.folder)
        _say(f"worker {job} on {socket.gethostname()}: {len(handover.tasks)} tasks")
        config = handover.tasks[0].config
        with Probe(run_folder(config).parent) as probe:
            if why := probe.contradiction():
                handover.refuse(job or "worker", why)
                raise SystemExit(f"weightnet: {why}")
            chooser = Chooser(
                handover, offset=len(handover.tasks) * number // count,
                time_left=lambda: end - time.monotonic(),
            )  # fmt: skip
            try:
                more = work(
                    handover, chooser, processes=default_processes(config, _cores(os.environ)),
                    stopping=lambda: bool(signals or handover.stop.exists()),
                )  # fmt: skip
            except RunFailed as error:
                handover.refuse(job or "worker", str(error))
                raise SystemExit(f"weightnet: {error}") from None
        names = ", ".join(signal.Signals(came).name for came in signals)
        _say(f"leaves{f' after {names}' if names else ''}{': there is more to do' if more else ''}")
        if chooser.unfit and not chooser.begun:
            handover.refuse(
                job or "worker", "its time is too short for an epoch; take a longer hydra.launcher.timeout_min"
            )
        elif more and job and chooser.begun and not handover.stop.exists():
            _return_to_queue(job)


def _place(environment: Mapping[str, str]) -> tuple[str, int, int]:
    """Return the worker's job, its number and how many there are. A bare number may mean all jobs of the array."""
    array, number, count = (environment.get(f"SLURM_ARRAY_{name}", "") for name in ("JOB_ID", "TASK_ID", "TASK_COUNT"))
    if all(text.isdecimal() for text in (array, number, count)):
        return f"{array}_{number}", int(number), int(count)
    return environment.get("SLURM_JOB_ID", ""), 0, 1


def _cores(environment: Mapping[str, str]) -> int | None:
    """Return how many cores were allocated (affinity may say more than was asked for); None: no queue says."""
    cores = environment.get("SLURM_CPUS_PER_TASK", "")
    return int(cores) if cores.isdecimal() else None


def _seconds_left(job: str) -> float:
    try:
        return slurm.seconds_left(job) if job else float("inf")
    except RunFailed as error:
        _say(f"takes its time for unlimited ({error})")
        return float("inf")


def _return_to_queue(job: str) -> None:
    """Ask for another allocation, unless the job was cancelled or Slurm has put it back already."""
    try:
        if slurm.state(job) == "RUNNING":
            slurm.requeue(job)
    except RunFailed as error:
        _say(f"cannot go back into the queue ({error})")


def _say(text: str) -> None:
    print(utc_now(), text, flush=True)


if __name__ == "__main__":
    main()
