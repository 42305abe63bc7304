"""One run from config to results: under its lease, from its checkpoint if there is one, epoch by epoch to its folder.

Also the replay of a finished run, which proves that other code gives the same numbers.
"""

import itertools
import logging
import math
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from weightnet.errors import Held, RunFailed, UserError
from weightnet.experiment import (
    Config,
    EpochResult,
    Training,
    facts,
    import_code,
    keep_freed_memory,
    origins,
    products,
    run_folder,
    slower,
)  # fmt: skip
from weightnet.plain import only_file
from weightnet.runs import checkpoint
from weightnet.runs.checkpoint import Checkpoint
from weightnet.runs.folder import RunFolder
from weightnet.runs.progress import Bar, on_terminal
from weightnet.runs.record import Record, new_record, utc_now, verification

import_code()
keep_freed_memory()
log = logging.getLogger("weightnet")

Stop = Callable[[], bool]  # asked after every epoch; True interrupts the run


@dataclass(frozen=True, slots=True)
class Result:
    """What a run gave, by the last row of its metrics.csv: accuracy in [0, 1], loss in nats."""

    folder: Path
    epochs: int
    test_accuracy: float
    test_loss: float


def run(
    config: Config,
    *,
    overrides: Sequence[str] = (),
    stop: Stop = lambda: False,
    wait: bool = True,
    anew: bool = False,
    before: str | None = None,
) -> Result:
    """Execute a resolved config in its run folder, or return its result if it is done already.

    An unfinished run goes on after its last whole epoch. One that is done, but lacks a file that the config asks for,
    is replayed: it gets that file if the replay gives its numbers. The `overrides` are the command line's, for the
    record. If another process executes the run, this one waits for it, or raises `Held`. `anew`: execute also one that
    is done, as always one whose files are damaged: it moves to `.old/` when its successor is done. `before`: but not if
    its `RunFolder.stamp` is another by now; then another process has done so.

    Raises:
        UserError: the data set is not to be had.
        RunFailed: a file cannot be used, or whatever else broke the run, with that as its cause; of what broke once it
            had begun, the traceback is in run.json and run.log.
        Held: another process executes the run, and `wait` is False.
        KeyboardInterrupt: `stop` said so, or Ctrl-C.
    """
    with _alone(config, wait=wait) as (folder, record):
        damage = folder.damage(record) if record is None or record.status == "done" else ""
        finished = bool(damage) or (record is not None and record.status == "done")
        if damage:
            log.warning("%s: %s; it is executed anew, and then moved to .old", folder.path.name, damage)
        again = anew and before in (None, folder.stamp())
        if record and finished and not damage and not again:
            if lacking := folder.lacks(products(config)):
                with _log_to(folder.path / "run.log"):
                    _complete(config, folder, record, lacking, stop)
            now = next(origins([config]))
            why = record.origin(now).difference(now)
            hint = "the same words with -m and hydra.sweeper.rerun=stale run it anew"
            return _report(folder, f"done already{f' (stale: {why}; {hint})' if why else ''}")
        if finished:
            folder.attic()  # it is to have its place before the work begins
        training, place = Training(config), folder.successor() if finished else folder
        with _log_to(place.path / "run.log"):
            _execute(config, place, training, new_record(config, list(overrides), place.record()), stop)
        if finished:
            folder.give_way()
        return _report(folder, "done")


def verify(config: Config, *, epochs: int, stop: Stop = lambda: False) -> str:
    """Replay the first epochs of a finished run, and note in its run.json if they give its numbers, bit for bit.

    Return the first number that differs, "" where none does. The errors are those of `run`.
    """
    with _alone(config, wait=False) as (folder, record):
        if record is None or record.status != "done":
            raise RunFailed(f"{folder.path.name}: is not done any more, and cannot be verified")
        training = Training(_as_recorded(config, folder))
        with _log_to(folder.path / "run.log"):
            return _replay(training, folder, record, epochs, stop)


def _as_recorded(config: Config, folder: RunFolder) -> Config:
    """Return the config with the rows of steps.csv as far apart as they are in the run's folder."""
    return replace(config, train=replace(config.train, log_interval=folder.config().train.log_interval))


def _replay(training: Training, folder: RunFolder, record: Record, epochs: int, stop: Stop) -> str:
    """Train anew, compare with the run's files; note it in run.json if they agree, else return what differs."""
    history, config = list[EpochResult](), training.config
    try:
        training.build()
        for result in itertools.islice(training.epochs(done=0), epochs):
            history.append(result)
            if stop() and len(history) < min(epochs, config.train.epochs):
                raise KeyboardInterrupt
    except Exception as error:
        log.exception("%s: its replay failed", folder.path.name)
        error.add_note(f"its traceback is in {folder.path}/run.log")
        raise
    files, difference = folder.difference(history)
    if not difference:
        record.verified = verification(next(origins([config])), epochs=len(history), files=files)
        folder.write_record(record)
    return difference


def _complete(config: Config, folder: RunFolder, record: Record, lacking: list[str], stop: Stop) -> None:
    """Give a finished run the files that it lacks, from a replay."""
    what = f"{folder.path.name} is done without {' and '.join(lacking)}"
    log.info("%s: it is replayed for that", what)
    training = Training(_as_recorded(config, folder))
    if difference := _replay(training, folder, record, config.train.epochs, stop):
        now = next(origins([config]))
        stale = f"; stale: {why}" if (why := record.origin(now).difference(now)) else ""
        raise RunFailed(f"{what}, and its replay gives other numbers ({difference}{stale}): nothing was written; "
                        "as a sweep (-m), hydra.sweeper.rerun=all runs it anew")  # fmt: skip
    folder.write_products(training.products())
    record.files = folder.digests()
    folder.write_record(record)


@contextmanager
def _alone(config: Config, *, wait: bool) -> Iterator[tuple[RunFolder, Record | None]]:
    """Hold the run's lease, and turn whatever breaks the run into `RunFailed` with one line."""
    folder = RunFolder(run_folder(config))
    try:
        try:
            (lease := folder.lock()).acquire(wait=False)
        except Held:
            if not wait:
                raise
            log.info("%s; waiting for it (if that hangs: end it there, and this goes on)", folder.holder())
            lease.acquire(wait=True)
        with lease:
            if not folder.path.exists():
                folder.give_way()  # to a successor, where somebody was stopped in the middle of that
            yield folder, folder.record()
    except (UserError, RunFailed, Held):
        raise
    except OSError as error:
        how = "once that is mended, the same command goes on where this one stopped"
        raise RunFailed(f"cannot use {error.filename or folder.path} ({error.strerror or error}); {how}") from error
    except Exception as error:
        why = f"{folder.path.name} failed ({type(error).__name__}: {error})"
        raise RunFailed("; ".join([why, *getattr(error, "__notes__", [])])) from error


class _RunLog(logging.FileHandler):
    """run.log. A line that does not fit a full disk is lost without a word: what matters is said elsewhere."""

    def handleError(self, record: logging.LogRecord) -> None:
        """Do nothing."""


@contextmanager
def _log_to(path: Path) -> Iterator[None]:
    """Copy the log to a file while a run is executed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = _RunLog(only_file(path), encoding="utf-8")
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


def _execute(config: Config, folder: RunFolder, training: Training, record: Record, stop: Stop) -> None:
    """Train and record: run.json says `running` meanwhile, and afterwards how it ended."""
    name = folder.path.name
    folder.write_config(config)
    folder.write_record(record)
    try:
        if note := facts(config)["note"]:
            log.warning("%s: %s", name, note)
        if why := slower([config]):
            log.warning("%s: %s", name, why)
        training.build()
        log.info("%s: %d parameters, on %s", name, record.parameters, record.device)
        history = _train(config, folder, training, record, stop)
        folder.write_products(training.products())
    except BaseException as error:
        record.finished = utc_now()
        if isinstance(error, KeyboardInterrupt):
            record.status = "interrupted"
            log.info("%s: interrupted", name)
        else:
            record.status, record.error = "failed", traceback.format_exc()
            log.error("%s: failed: %s", name, error if isinstance(error, OSError) else record.error)
            error.add_note(f"its traceback is in {folder.path}/run.log")
        with suppress(OSError):  # a full disk: the run then looks like one that was killed, and resumes as well
            folder.write_record(record)
        raise
    record.status, record.finished, record.seconds = "done", utc_now(), sum(result.seconds for result in history)
    record.files = folder.digests()
    folder.write_record(record)
    checkpoint.remove(folder)


def _train(config: Config, folder: RunFolder, training: Training, record: Record, stop: Stop) -> list[EpochResult]:
    """Train from the checkpoint, where there is one; write every epoch. Return all epochs."""
    origin = {name: getattr(record, name) for name in ("signature", "code", "data", "convolutions")}
    origin["torch"] = record.versions["torch"]
    history = _resume(config, folder, training, origin)
    if history or not folder.lacks(["metrics.csv"]):  # as the checkpoint has them, or those of a run that starts anew
        folder.write_history(history)
    epochs, name = config.train.epochs, folder.path.name
    bar = Bar(epochs=epochs, steps=training.steps, done=len(history)) if on_terminal() else None
    with bar or nullcontext():
        for result in training.epochs(done=len(history), on_step=bar.step if bar else None):
            history.append(result)
            checkpoint.save(folder, Checkpoint(origin, training.state(), history))
            folder.write_history(history)
            if bar:
                bar.epoch(result)
            log.info(
                "%s: epoch %d/%d  train loss %.4f  test loss %.4f  accuracy %.2f%%  %.1f s", name, result.epoch, epochs,
                result.train_loss, result.test_loss, 100 * result.test_accuracy, result.seconds,
            )  # fmt: skip
            if not math.isfinite(result.train_loss):
                log.warning("%s: the training loss is not finite; a smaller train.lr may help", name)
            if stop() and result.epoch < epochs:
                raise KeyboardInterrupt
    return history


def _resume(config: Config, folder: RunFolder, training: Training, origin: dict[str, str | None]) -> list[EpochResult]:
    """Put the training where its checkpoint is, and return the epochs that are done."""
    try:
        saved = checkpoint.load(folder, config.device)
    except ValueError as error:
        log.warning("%s: starts anew, its checkpoint is damaged (%s)", folder.path.name, error)
        return []
    if saved and saved.origin == origin:
        training.load_state(saved.state)
        log.info("%s: going on after epoch %d", folder.path.name, len(saved.history))
        return saved.history
    if saved:
        log.warning(
            "%s: starts anew, its checkpoint was made by other code, data, versions or convolutions", folder.path.name
        )
    return []


def _report(folder: RunFolder, news: str) -> Result:
    """Return the result of a finished run, and say it."""
    rows = folder.metrics()
    epochs, accuracy = int(rows[-1]["epoch"]), rows[-1]["test_accuracy"]
    log.info("%s: %s, accuracy %.2f%% after %d epochs, %s", folder.path.name, news, 100 * accuracy, epochs, folder.path)
    return Result(folder.path, epochs, accuracy, rows[-1]["test_loss"])
