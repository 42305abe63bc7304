"""The seam between what is run and where: a launcher of ours takes tasks as they are, and returns an outcome for each.

Another engine is an `Engine` whose processes call `perform` (docs/engines.md shows one). Launchers that are not ours
get command lines instead, as Hydra has it.
"""

import multiprocessing
import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext
from types import ModuleType

from weightnet.errors import Held, RunFailed, UserError
from weightnet.experiment import Config, run_id
from weightnet.sweep.interrupt import ignored


@dataclass(frozen=True, slots=True)
class Task:
    """One run to execute, or to replay."""

    config: Config  # resolved
    overrides: list[str]  # the command line's, for the record
    verify_epochs: int | None = None  # None: execute the run; else replay so many of its epochs, and compare
    anew: bool = False  # execute it though it is done
    differing: str = ""  # the overrides in which the sweep's runs differ
    before: str | None = None  # `RunFolder.stamp` as it was handed over: with another, it has been done anew


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a task ended: a value or an error. `Held`: another process has it; `CancelledError`: the sweep stopped."""

    value: float | str | None = None  # a run's test accuracy; of a replay the first number that differs, "" for none
    error: BaseException | None = None

    @property
    def failed(self) -> bool:
        """Whether the run failed: not merely stopped."""
        return self.error is not None and not isinstance(self.error, Held | CancelledError)


class Engine(ABC):
    """A launcher that takes a sweep's tasks as they are."""

    @abstractmethod
    def execute(self, tasks: Sequence[Task], *, title: str = "") -> list[Outcome]:
        """Execute the tasks, started in order, shown under a title; return an outcome each.

        On KeyboardInterrupt every run of this machine is at rest.
        """


def perform(task: Task, stop: Callable[[], bool]) -> Outcome:
    """Execute one task in this process; `stop` is asked after every epoch."""
    try:
        from weightnet.runs.job import run, verify  # not above: they import torch

        if task.verify_epochs is None:
            done = run(task.config, overrides=task.overrides, stop=stop, wait=False, anew=task.anew, before=task.before)
            return Outcome(done.test_accuracy)
        return Outcome(verify(task.config, epochs=task.verify_epochs, stop=stop))
    except (UserError, RunFailed, Held) as error:
        return Outcome(error=error)
    except KeyboardInterrupt:
        return Outcome(error=CancelledError())
    except Exception as error:  # code that cannot be imported
        return Outcome(error=RunFailed(f"{type(error).__name__}: {error}"))
    except SystemExit as error:  # of code of the user's: a failed run, not the end of the process
        return Outcome(error=RunFailed(f"{run_id(task.config)}: sys.exit({error.code})"))


@contextmanager
def without_main() -> Iterator[None]:
    """Have processes that are started meanwhile not execute this process's own script, as multiprocessing would.

    Workers need nothing of it; and a script that asks for a sweep without `if __name__ == "__main__"` would ask again.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def warm_up() -> ForkServerContext:
    """Begin to import what workers need, in a process of its own; return the context that makes them from it.

    That process imports torch once, while this one still plans. Every worker is a fork of it and therefore there at
    once, also one that replaces another. (This process itself should not be forked: it has threads.)
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["weightnet.sweep.preload"])
    paths = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))  # it imports what this process would
    os.environ["WEIGHTNET_PARENT"] = str(os.getpid())  # to `preload`
    try:
        with ignored():  # from its birth
            forkserver.ensure_running()
    finally:
        del os.environ["PYTHONPATH"], os.environ["WEIGHTNET_PARENT"]
        os.environ.update({"PYTHONPATH": paths} if paths is not None else {})
    return context
