"""Executes runs in worker processes, each of which may be lost without touching the others."""

import logging
import multiprocessing
import os
import queue
import signal
import threading
from collections.abc import Sequence
from concurrent.futures import CancelledError, Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from multiprocessing.synchronize import Event

from hydra.core.utils import JobReturn, JobStatus
from pebble import ProcessExpired, ProcessPool

from cli.display import Display
from cli.interrupt import finish_epoch_on_ctrl_c
from cli.warm import warm_up
from weightnet.config import Config, run_folder, run_id
from weightnet.errors import Held, RunFailed
from weightnet.job import run
from weightnet.record import record_death
from weightnet.store import RunFolder

_stop: Event | None = None
"""In a worker: set when the parent wants running epochs to be the last."""


def default_processes(config: Config) -> int:
    """Return how many runs fit the machine: as many as cores for their threads, one where runs use a GPU."""
    if config.device == "cuda":
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // config.threads)


def execute(
    configs: Sequence[Config],
    overrides: Sequence[list[str]],
    *,
    processes: int | None = None,
    timeout: float | None = None,
    max_failures: int | None = None,
) -> list[JobReturn]:
    """Execute runs side by side, started in the given order; show them on one display.

    A run that fails, exits, crashes, is killed or takes longer than `timeout` seconds is recorded as failed, and the
    others go on, until `max_failures` have failed. A run that another process executes is asked for again until that
    one has ended. Ctrl-C lets running epochs finish; a second one kills the workers.

    Args:
        configs: resolved.
        overrides: the command line's of each run, for the record.
        processes: workers; None for `default_processes`.
        timeout: of a run, in seconds.
        max_failures: start no more runs after so many have failed.

    Returns:
        One outcome a run, as Hydra's launchers give it: the test accuracy, or the exception.

    Raises:
        KeyboardInterrupt: Ctrl-C; every run is at rest by then.
    """
    if not configs:
        return []
    outcomes: dict[int, JobReturn] = {}
    count = min(len(configs), processes or default_processes(configs[0]))
    context = warm_up()
    stopping = context.Event()
    ended: queue.SimpleQueue[tuple[int, Future[float]]] = queue.SimpleQueue()
    pool = ProcessPool(max_workers=count, context=context, initializer=_prepare, initargs=(stopping,))

    def start(index: int) -> None:
        future = pool.schedule(_work, args=(configs[index], overrides[index]), timeout=timeout)
        future.add_done_callback(lambda done: ended.put((index, done)))

    held: set[int] = set()
    failures = 0
    try:
        with finish_epoch_on_ctrl_c() as interrupted, Display(configs) as display:
            for index in range(len(configs)):
                start(index)
            while len(outcomes) < len(configs):
                if interrupted() or (max_failures is not None and failures >= max_failures):
                    stopping.set()
                try:
                    index, future = ended.get(timeout=0.5)
                except queue.Empty:
                    free = [index for index in held if stopping.is_set() or not _folder(configs[index]).is_held()]
                    for index in free:
                        held.remove(index)
                        start(index)
                    display.update()
                    continue
                outcome = _outcome(configs[index], overrides[index], future, timeout)
                if outcome is None:
                    held.add(index)
                else:
                    outcomes[index] = outcome
                    failures += is_failure(outcome)
                    accuracy = outcome.return_value if outcome.status == JobStatus.COMPLETED else None
                    display.ended(configs[index], accuracy, failed=is_failure(outcome))
            if interrupted():
                raise KeyboardInterrupt
        pool.close()
    except BaseException:
        pool.stop()
        raise
    finally:
        pool.join()
    return [outcomes[index] for index in range(len(configs))]


def is_failure(outcome: JobReturn) -> bool:
    """Tell a run that failed from one that is done or was not finished because the sweep stopped."""
    return outcome.status == JobStatus.FAILED and not isinstance(outcome._return_value, CancelledError)


def _outcome(config: Config, overrides: list[str], future: "Future[float]", timeout: float | None) -> JobReturn | None:
    """Return how a run ended, or None if another process executes it."""
    outcome = JobReturn(overrides=overrides, status=JobStatus.FAILED)
    try:
        outcome.return_value = future.result()
        outcome.status = JobStatus.COMPLETED
    except Held:
        return None
    except FutureTimeoutError:
        outcome.return_value = _died(config, f"timeout: the run took longer than {timeout:g} seconds")
    except ProcessExpired as error:
        outcome.return_value = _died(config, _cause_of_death(error.exitcode))
    except (CancelledError, Exception) as error:
        outcome.return_value = error
    return outcome


def _died(config: Config, why: str) -> RunFailed:
    record_death(config, why)
    return RunFailed(f"{run_id(config)}: {why}")


def _cause_of_death(exit_code: int) -> str:
    if exit_code >= 0:
        return f"worker exited with status {exit_code}"
    name = signal.Signals(-exit_code).name if -exit_code in set(signal.Signals) else str(-exit_code)
    hint = " (out of memory?)" if name == "SIGKILL" else ""
    return f"worker died of {name}{hint}"


def _folder(config: Config) -> RunFolder:
    return RunFolder(run_folder(config))


def _prepare(stopping: Event) -> None:
    """Set a worker up: Ctrl-C is the parent's business, the log goes to the run folders, no life without the parent."""
    global _stop
    _stop = stopping
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.getLogger("weightnet").propagate = False
    threading.Thread(target=_follow, daemon=True).start()


def _follow() -> None:
    """End this worker when its parent has ended."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _work(config: Config, overrides: list[str]) -> float:
    """Execute one run in a worker."""
    assert _stop is not None
    if _stop.is_set():
        raise CancelledError
    try:
        return run(config, overrides=overrides, stop=_stop.is_set, wait=False).test_accuracy
    except KeyboardInterrupt:
        raise CancelledError from None
    except SystemExit as error:  # of code of the user's: a failed run, not the end of the worker
        raise RunFailed(f"{run_id(config)}: sys.exit({error.code})") from None
