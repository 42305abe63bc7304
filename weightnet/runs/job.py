"""One run from config to results: under its lease, from its checkpoint if there is one, epoch by epoch to its folder.

Also the replay of a finished run, which proves that other code gives the same numbers.
"""

import itertools
import logging
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import Timeout

from weightnet.errors import Held, RunFailed, UserError
from weightnet.experiment import Config, EpochResult, Training, facts, origins, run_folder
from weightnet.runs import checkpoint
from weightnet.runs.checkpoint import Checkpoint
from weightnet.runs.folder import RunFolder
from weightnet.runs.progress import Bar, on_terminal
from weightnet.runs.record import Record, ended, new_record, stopped, verification

log = logging.getLogger("weightnet")

Stop = Callable[[], bool]
"""Asked after every epoch; True interrupts the run."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run gave: the last row of its metrics.csv."""

    folder: Path
    epochs: int
    test_accuracy: float
    """In [0, 1]."""
    test_loss: float
    """In nats."""


def run(config: Config, *, overrides: Sequence[str] = (), stop: Stop = lambda: False, wait: bool = True) -> Outcome:
    """Execute a resolved config in its run folder, or return its result if it is done already.

    An unfinished run goes on after its last whole epoch.

    Args:
        config: resolved (`weightnet.resolve.resolve`).
        overrides: the command line's, for the record.
        stop: True interrupts the run after the epoch in progress.
        wait: for another process that executes the run; otherwise `Held` is raised.

    Raises:
        UserError: the data set is not to be had.
        RunFailed: the run folder cannot be written, or whatever else broke the run, with that as its cause; its
            traceback is in run.json and run.log.
        Held: another process executes the run.
        KeyboardInterrupt: `stop` said so, or Ctrl-C.
    """
    folder = RunFolder(run_folder(config))
    with _plain_failures(folder), _alone(folder, wait=wait):
        record = folder.record()
        if record and record.status == "done":
            why = record.origin().difference(next(origins([config])))
            return _report(folder, f"done already{f' (stale: {why})' if why else ''}")
        training = Training(config)
        with _log_to(folder.path / "run.log"):
            _execute(config, folder, training, list(overrides), stop)
            return _report(folder, "done")


def verify(config: Config, *, epochs: int, stop: Stop = lambda: False) -> str:
    """Replay the first epochs of a finished run, and note in its run.json if they give its numbers, bit for bit.

    Args:
        config: resolved, of a run that is done.
        epochs: how many; at most all.
        stop: True interrupts the replay after the epoch in progress.

    Returns:
        The first number that differs, "" where none does.

    Raises:
        UserError, RunFailed, Held, KeyboardInterrupt: as `run`.
    """
    folder = RunFolder(run_folder(config))
    with _plain_failures(folder), _alone(folder, wait=False):
        record = folder.record()
        if record is None or record.status != "done":
            raise RunFailed(f"{folder.path.name}: is not done any more, and cannot be verified")
        history = []
        for result in itertools.islice(Training(config).epochs(done=0), epochs):
            history.append(result)
            if stop() and len(history) < min(epochs, config.train.epochs):
                raise KeyboardInterrupt
        files, difference = folder.difference(history)
        if not difference:
            record.verified = verification(next(origins([config])), epochs=len(history), files=files)
            folder.write_record(record)
        return difference


@contextmanager
def _plain_failures(folder: RunFolder) -> Iterator[None]:
    """Turn whatever breaks a run into `RunFailed` with one line."""
    try:
        yield
    except (UserError, RunFailed, Held):
        raise
    except OSError as error:
        raise RunFailed(
            f"cannot write to {folder.path} ({error.strerror or error}); once that is mended, the same command "
            "goes on where this one stopped"
        ) from error
    except Exception as error:
        raise RunFailed(
            f"{folder.path.name} failed ({type(error).__name__}: {error}); its traceback is in {folder.path}/run.log"
        ) from error


@contextmanager
def _alone(folder: RunFolder, *, wait: bool) -> Iterator[None]:
    """Hold the run's lease."""
    lock = folder.lock()
    try:
        lock.acquire(timeout=0)
    except Timeout:
        if not wait:
            raise Held(folder.path.name) from None
        log.info("%s: another process is executing it; waiting", folder.path.name)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


class _RunLog(logging.FileHandler):
    """run.log. A line that does not fit a full disk is lost without a word: what matters is said elsewhere."""

    def handleError(self, record: logging.LogRecord) -> None:
        """Do nothing."""


@contextmanager
def _log_to(path: Path) -> Iterator[None]:
    """Copy the log to a file while a run is executed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = _RunLog(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)  # also where the program that calls has set up no logging
    try:
        yield
    finally:
        log.setLevel(level)
        log.removeHandler(handler)
        with suppress(OSError):
            handler.close()


def _execute(config: Config, folder: RunFolder, training: Training, overrides: list[str], stop: Stop) -> None:
    """Train and record: run.json says `running` meanwhile, and afterwards how it ended."""
    record = new_record(config, overrides, folder.record())
    folder.write_config(config)
    folder.write_record(record)
    try:
        if note := facts(config)["note"]:
            log.warning("%s: %s", folder.path.name, note)
        log.info("%s: %d parameters, on %s", folder.path.name, record.parameters, record.device)
        history = _train(config, folder, training, record, stop)
    except BaseException as error:
        stopped(record, folder.path.name, error)
        with suppress(OSError):  # a full disk: the run then looks like one that was killed, and resumes as well
            folder.write_record(record)
        raise
    ended(record, history)
    folder.write_record(record)
    checkpoint.remove(folder)


def _train(config: Config, folder: RunFolder, training: Training, record: Record, stop: Stop) -> list[EpochResult]:
    """Train from the checkpoint, where there is one; write every epoch. Return all epochs."""
    origin = {
        "signature": record.signature, "code": record.code, "data": record.data, "torch": record.versions["torch"]
    }  # fmt: skip
    history = _resume(config, folder, training, origin)
    folder.write_history(history)
    with _bar(config, training, done=len(history)) as bar:
        for result in training.epochs(done=len(history), on_step=bar.step if bar else None):
            history.append(result)
            checkpoint.save(folder, Checkpoint(origin, training.state(), history))
            folder.write_history(history)
            if bar:
                bar.epoch(result)
            _log_epoch(config, folder, result)
            if stop() and result.epoch < config.train.epochs:
                raise KeyboardInterrupt
    return history


def _resume(config: Config, folder: RunFolder, training: Training, origin: dict[str, str | None]) -> list[EpochResult]:
    """Put the training where its checkpoint is, and return the epochs that are done."""
    saved = checkpoint.load(folder, config.device)
    if saved is None:
        return []
    if saved.origin != origin:
        log.warning("%s: starts anew, its checkpoint was made by other code, data or versions", folder.path.name)
        return []
    training.load_state(saved.state)
    log.info("%s: going on after epoch %d", folder.path.name, len(saved.history))
    return saved.history


@contextmanager
def _bar(config: Config, training: Training, *, done: int) -> Iterator[Bar | None]:
    """Show progress: a bar on a terminal, which keeps the log's lines off it; elsewhere those lines."""
    if not on_terminal():
        yield None
        return
    bar = Bar(epochs=config.train.epochs, steps=training.steps, done=done)
    log.propagate = False
    try:
        yield bar
    finally:
        log.propagate = True
        bar.close()


def _log_epoch(config: Config, folder: RunFolder, result: EpochResult) -> None:
    log.info(
        "%s: epoch %d/%d  train loss %.4f  test loss %.4f  accuracy %.2f%%  %.1f s",
        folder.path.name, result.epoch, config.train.epochs,
        result.train_loss, result.test_loss, 100 * result.test_accuracy, result.seconds,
    )  # fmt: skip
    if not math.isfinite(result.train_loss):
        log.warning("%s: the training loss is not finite; a smaller train.lr may help", folder.path.name)


def _report(folder: RunFolder, how: str) -> Outcome:
    """Return the result of a finished run, and say it."""
    rows = folder.metrics()
    if not rows:
        raise RunFailed(
            f"{folder.path} is marked done but has no metrics.csv: put the file back, or move the folder away, and the "
            "same command runs it again"
        )
    last = rows[-1]
    log.info(
        "%s: %s, accuracy %.2f%% after %d epochs, %s",
        folder.path.name, how, 100 * last["test_accuracy"], last["epoch"], folder.path,
    )  # fmt: skip
    return Outcome(folder.path, int(last["epoch"]), last["test_accuracy"], last["test_loss"])
