"""One run from config to results: the only place that knows data, model, training and store."""

import json
import logging
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from filelock import Timeout

from weightnet.config import Config, DatasetConfig, run_folder
from weightnet.data import Dataset, load
from weightnet.errors import Held, RunFailed, UserError
from weightnet.feedback import dropped
from weightnet.memory import keep_freed_memory
from weightnet.model import WeightNet
from weightnet.progress import Bar, Display, Quiet, on_terminal
from weightnet.record import CODE, new_record, record_end, record_stop
from weightnet.store import Checkpoint, RunFolder
from weightnet.training import EpochResult, build_optimizer, fit

log = logging.getLogger("weightnet")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run gave: the last row of its metrics.csv."""

    folder: Path
    epochs: int
    test_accuracy: float
    """In [0, 1]."""
    test_loss: float
    """In nats."""


def run(
    config: Config,
    *,
    overrides: Sequence[str] = (),
    stop: Callable[[], bool] = lambda: False,
    wait: bool = True,
) -> Outcome:
    """Execute a resolved config in its run folder, or return its result if it is done already.

    An unfinished run goes on after its last whole epoch.

    Args:
        config: resolved (`weightnet.resolve.resolve`).
        overrides: the command line's, for the record.
        stop: asked after every epoch; True interrupts the run.
        wait: for another process that executes the run; otherwise `Held` is raised.

    Raises:
        UserError: the data set is not to be had.
        RunFailed: the run folder cannot be written, or whatever else broke the run, with that as its cause; its
            traceback is in run.json and run.log.
        Held: another process executes the run.
        KeyboardInterrupt: `stop` said so, or Ctrl-C.
    """
    folder = RunFolder(run_folder(config))
    try:
        with _alone(folder, wait=wait):
            record = folder.record()
            if record.get("status") == "done":
                other_code = "" if record.get("code") == CODE else " (by other code)"
                return _report(folder, f"done already{other_code}")
            keep_freed_memory()
            torch.set_num_threads(config.threads)
            torch.backends.cudnn.deterministic = True
            data = _load(json.dumps(asdict(config.dataset)), config.data_root, config.train.subset, config.device)
            with _log_to(folder.path / "run.log"):
                _execute(config, folder, data, list(overrides), stop)
                return _report(folder, "done")
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


@lru_cache(maxsize=1)
def _load(dataset: str, root: str, subset: int | None, device: str) -> Dataset:
    """Keep the last data set: the next run of this process will most likely want it. `dataset`: its config as JSON."""
    return load(DatasetConfig(**json.loads(dataset)), Path(root), subset=subset, device=device)


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


def _execute(config: Config, folder: RunFolder, data: Dataset, overrides: list[str], stop: Callable[[], bool]) -> None:
    """Train and record: run.json says `running` meanwhile, and afterwards how it ended."""
    record = new_record(config, folder, overrides)
    folder.write_config(config)
    folder.write_record(record)
    try:
        if note := dropped(config):
            log.warning("%s: %s", folder.path.name, note)
        model = WeightNet(config).to(config.device)
        log.info("%s: %d parameters, on %s", folder.path.name, record["parameters"], record["device"])
        history = _train(config, folder, data, model, record, stop)
    except BaseException as error:
        record_stop(folder, record, error)
        raise
    record_end(folder, record, history)
    folder.remove_checkpoint()


def _train(
    config: Config,
    folder: RunFolder,
    data: Dataset,
    model: WeightNet,
    record: dict[str, Any],
    stop: Callable[[], bool],
) -> list[EpochResult]:
    """Fit the model, from its checkpoint where there is one; write every epoch. Return all epochs."""
    optimizer = build_optimizer(model, config.train)
    history: list[EpochResult] = []
    origin = {"signature": record["signature"], "code": record["code"], "torch": record["versions"]["torch"]}
    checkpoint = folder.load_checkpoint(config.device)
    if checkpoint and checkpoint.origin == origin:
        model.load_state_dict(checkpoint.model)
        optimizer.load_state_dict(checkpoint.optimizer)
        history = checkpoint.history
        log.info("%s: going on after epoch %d", folder.path.name, len(history))
    elif checkpoint:
        log.warning("%s: starts anew, its checkpoint was made by other code or versions", folder.path.name)
    folder.write_history(history)
    with _display(config, data, done=len(history)) as display:
        for result in fit(
            model, optimizer, data, config.train, seed=config.seed, done=len(history), on_step=display.step
        ):
            history.append(result)
            folder.save_checkpoint(Checkpoint(origin, model.state_dict(), optimizer.state_dict(), history))
            folder.write_history(history)
            display.epoch(result)
            _log_epoch(config, folder, result)
            if stop() and result.epoch < config.train.epochs:
                raise KeyboardInterrupt
    return history


@contextmanager
def _display(config: Config, data: Dataset, *, done: int) -> Iterator[Display]:
    """Show progress: a bar on a terminal, which keeps the log's lines off it; elsewhere those lines."""
    if not on_terminal():
        yield Quiet()
        return
    epochs = config.train.epochs
    steps = epochs * math.ceil(len(data.train) / config.train.batch_size)
    bar = Bar(epochs=epochs, steps=steps, done=done)
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
        raise RunFailed(f"{folder.path} is marked done but has no metrics.csv; remove the folder to run it again")
    last = rows[-1]
    log.info(
        "%s: %s, accuracy %.2f%% after %d epochs, %s",
        folder.path.name, how, 100 * last["test_accuracy"], last["epoch"], folder.path,
    )  # fmt: skip
    return Outcome(folder.path, int(last["epoch"]), last["test_accuracy"], last["test_loss"])
