"""Where runs are exported to: a class a tracker. Each imports its library itself: analysis does without them."""

import hashlib
import io
import json
import logging
import os
import shlex
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from glob import escape
from pathlib import Path
from typing import Any, Protocol

import pandas as pd

from weightnet.errors import UserError
from weightnet.plain import read_text
from weightnet.runs.folder import write_whole

STATUS = {"done": "FINISHED", "diverged": "FINISHED", "failed": "FAILED", "interrupted": "KILLED", "running": "RUNNING"}
"""State of a run -> what MLflow calls it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Tracked:
    """A run as it is exported; or the pictures of an experiment, as if they were a run."""

    id: str
    tags: dict[str, str]
    """`state`, `experiment`; of a run also `arm`, `code`, and `sweep` and `why` where there are such."""
    times: list[float]
    """When it began, and when each epoch ended, as far as that is known: seconds since 1970."""
    config: dict[str, Any] = field(default_factory=dict)
    """Flat; plain values, none of them None."""
    epochs: list[dict[str, float]] = field(default_factory=list)
    """What was measured, from epoch 1 on."""
    row: dict[str, Any] = field(default_factory=dict)
    """Of `analysis.load.Runs.runs`."""
    pictures: dict[str, bytes] = field(default_factory=dict)
    """PNGs by their names."""

    def mark(self) -> str:
        """Return what changes when anything of it does: how many epochs it has, and digests of content and tags."""
        return f"{len(self.epochs)}-{self.content(len(self.epochs))}-{_digest(self.tags)}"

    def content(self, epochs: int) -> str:
        """Return a digest of all that stays as it is when there are more epochs than these."""
        pictures = {name: hashlib.sha256(png).hexdigest() for name, png in self.pictures.items()}
        return _digest([self.config, pictures, self.times[0], self.epochs[:epochs]])


def _digest(plain: Any) -> str:
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:16]


There = Mapping[str, int | None]
"""How many epochs of a run, by its id, are there and stay as they are; None: it is written anew."""


class Tracker(Protocol):
    """Where runs are exported to."""

    look: str
    """How it is looked at."""
    refusals: tuple[type[Exception], ...]
    """What its library raises where it cannot use what is there."""

    def marks(self) -> dict[str, str]:
        """Return the marks of what is there, by id."""

    def write(self, runs: Sequence[Tracked], there: There) -> None:
        """Write those of these runs that have an entry in `there`."""


class _TensorBoard:
    """A log folder a run, in it a file whose name ends in the run's mark."""

    refusals: tuple[type[Exception], ...] = ()

    def __init__(self, root: Path) -> None:
        import tensorboard.plugins.hparams.summary_v2
        import tensorboard.summary.writer.record_writer  # noqa: F401

        self.root, self.look = root, shlex.join(["tensorboard", "--logdir", str(root)])

    def marks(self) -> dict[str, str]:
        return {path.parent.name: path.name.rpartition(".")[2] for path in sorted(self.root.glob("*/*.tfevents.*"))}

    def write(self, runs: Sequence[Tracked], there: There) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.summary.writer.record_writer import RecordWriter

        for run in (run for run in runs if run.id in there):
            content, now = io.BytesIO(), time.time()
            writer = RecordWriter(content)
            writer.write(Event(wall_time=now, file_version="brain.Event:2").SerializeToString())
            for when, step, values in self._values(run):
                writer.write(Event(wall_time=when, step=step, summary={"value": values}).SerializeToString())
            path = self.root / run.id / f"events.out.tfevents.{now:.3f}.{run.mark()}"  # new: so that a server sees it
            path.parent.mkdir(exist_ok=True)
            before = list(path.parent.glob("*.tfevents.*"))
            write_whole(path, content.getvalue())
            for old in before:
                old.unlink()

    def _values(self, run: Tracked) -> list[tuple[float, int, list[Any]]]:
        """Return times, steps and what a summary holds then."""
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.plugins.hparams import api_pb2, metadata
        from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionEndInfo
        from tensorboard.plugins.hparams.summary_v2 import hparams_pb

        value, (begin, *ends) = Summary.Value, run.times
        if run.pictures:
            return [(begin, 0, [value(tag=f"figures/{name}", image={"encoded_image_string": png})
                                for name, png in run.pictures.items()])]  # fmt: skip
        values = [(begin, 0, list(hparams_pb(run.config | run.tags, run.id, begin).value))]
        for step, (when, epoch) in enumerate(zip(ends, run.epochs, strict=True), start=1):
            values.append((when, step, [value(tag=name, simple_value=number) for name, number in epoch.items()]))
        if (status := STATUS[run.tags["state"]]) != "RUNNING":
            how = api_pb2.STATUS_SUCCESS if status == "FINISHED" else api_pb2.STATUS_FAILURE
            end = HParamsPluginData(session_end_info=SessionEndInfo(status=how, end_time_secs=run.times[-1]))
            about = metadata.create_summary_metadata(end)
            ended = value(tag=metadata.SESSION_END_INFO_TAG, metadata=about, tensor=metadata.NULL_TENSOR)
            values.append((run.times[-1], 0, [ended]))
        return values


class _MLflow:
    """A database, and artefacts beside it. A run stays in the MLflow experiment that it was first exported to."""

    def __init__(self, root: Path) -> None:
        os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"  # before the import
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError

        for name in ("alembic", "mlflow"):
            logging.getLogger(name).setLevel(logging.WARNING)  # else they tell of every table
        self.store, self.artefacts = f"sqlite:///{root.absolute()}/mlflow.db", (root.absolute() / "artifacts").as_uri()
        self.look = shlex.join(["mlflow", "ui", "--backend-store-uri", self.store])
        self.refusals: tuple[type[Exception], ...] = (MlflowException, SQLAlchemyError)
        self.runs: dict[str, Any] = {}

    @cached_property
    def client(self) -> Any:
        from mlflow import MlflowClient

        return MlflowClient(self.store)  # a database is made, or refused

    def marks(self) -> dict[str, str]:
        places, token = [one.experiment_id for one in self.client.search_experiments()], None
        self.runs.clear()
        while True:
            page = self.client.search_runs(places, "tags.`weightnet.run` != ''", page_token=token)
            self.runs |= {run.data.tags["weightnet.run"]: run for run in page}
            if not (token := page.token):
                return {key: run.data.tags.get("weightnet.mark", "") for key, run in self.runs.items()}

    def write(self, runs: Sequence[Tracked], there: There) -> None:
        from mlflow.entities import Metric, Param, RunTag

        for run in (run for run in runs if run.id in there):
            before, params = there[run.id], []
            key = self._run(run, anew=before is None)
            if before is None:
                params = [Param(name, str(value)) for name, value in run.config.items()]
                with tempfile.TemporaryDirectory() as folder:
                    for name, png in run.pictures.items():
                        Path(folder, f"{name}.png").write_bytes(png)
                    self.client.log_artifacts(key, folder)
            ended = enumerate(zip(run.times[1:], run.epochs, strict=True), start=1)
            metrics = [Metric(name, value, int(1000 * when), step) for step, (when, epoch) in ended
                       if step > (before or 0) for name, value in epoch.items()]  # fmt: skip
            self.client.log_batch(key, metrics, params)
            if (status := STATUS[run.tags["state"]]) == "RUNNING":
                self.client.update_run(key, status)
            else:
                self.client.set_terminated(key, status, int(1000 * run.times[-1]))
            tags = run.tags | {"mark": run.mark()}  # last: what is half written has none
            self.client.log_batch(key, tags=[RunTag(f"weightnet.{name}", value) for name, value in tags.items()])

    def _run(self, run: Tracked, *, anew: bool) -> str:
        """Return MLflow's id of the run that is there; or of a new one, in its place."""
        if run.id in self.runs:
            key = str(self.runs[run.id].info.run_id)
            if not anew:
                return key
            self.client.delete_run(key)
        name = run.tags["experiment"]
        found = self.client.get_experiment_by_name(name)
        place = found.experiment_id if found else self.client.create_experiment(name, self.artefacts)
        made = self.client.create_run(place, int(1000 * run.times[0]), {"weightnet.run": run.id}, run.id)
        return str(made.info.run_id)


class _WandB:
    """An offline folder a run, always written whole: `wandb sync` replaces what it has sent of that id before.

    Nothing is resumed: W&B does not know offline what it has sent, and resuming would append it all to that once more.
    """

    def __init__(self, root: Path) -> None:
        os.environ["WANDB_ERROR_REPORTING"] = "false"  # before the import
        import wandb

        self.root = root
        self.refusals: tuple[type[Exception], ...] = (wandb.Error,)
        self.look = f"wandb sync {shlex.quote(str(root / 'wandb'))}/offline-run-*"

    def marks(self) -> dict[str, str]:
        texts = [read_text(path) for path in self.root.glob("wandb/offline-run-*/weightnet.mark")]
        return {key: mark for key, _, mark in (text.partition(" ") for text in texts)}

    def write(self, runs: Sequence[Tracked], there: There) -> None:
        import wandb
        from PIL.Image import open as read

        quiet = wandb.Settings(silent=True, console="off", save_code=False, disable_git=True, x_disable_stats=True,
                               x_disable_meta=True, x_save_requirements=False)  # fmt: skip
        for run in (run for run in runs if run.id in there):
            key = "".join("_" if sign in ":;,#?/'" else sign for sign in run.id)
            made = wandb.init(
                dir=self.root, mode="offline", project="weightnet", id=key, name=run.id, settings=quiet,
                group=run.tags["experiment"], tags=[run.tags["state"]], config=run.config | run.tags,
            )  # fmt: skip
            folder = Path(made.dir).parent
            for step, (when, epoch) in enumerate(zip(run.times[1:], run.epochs, strict=True), start=1):
                made.log({**epoch, "_timestamp": when}, step=step)
            if run.pictures:
                made.log({name: wandb.Image(read(io.BytesIO(png))) for name, png in run.pictures.items()})
            made.finish(exit_code=int(STATUS[run.tags["state"]] in ("FAILED", "KILLED")))
            for log in self.root.glob(f"wandb/offline-run-*/run-{escape(key)}.wandb"):
                if log.parent.name != folder.name:
                    shutil.rmtree(log.parent)
            write_whole(folder / "weightnet.mark", f"{run.id} {run.mark()}".encode())


class _Tables:
    """Two files, runs and epochs, tidy, of what is exported now and nothing else."""

    refusals: tuple[type[Exception], ...] = (ValueError,)

    def __init__(self, root: Path, kind: str) -> None:
        if kind == "parquet":
            import pyarrow  # noqa: F401
        self.kind, self.runs, self.epochs = kind, root / f"runs.{kind}", root / f"epochs.{kind}"
        self.look = f"{self.runs}, {self.epochs}"

    def marks(self) -> dict[str, str]:
        if not self.runs.exists():
            return {}
        read: Callable[[Path], pd.DataFrame] = pd.read_csv if self.kind == "csv" else pd.read_parquet
        if not {"run", "mark"} <= set(frame := read(self.runs)):
            raise ValueError(f"{self.runs.name} is there, and no export")
        return dict(zip(frame["run"].astype(str), frame["mark"].astype(str), strict=True))

    def write(self, runs: Sequence[Tracked], there: There) -> None:
        rows = [run.row | {"mark": run.mark()} for run in runs]
        epochs = [{"run": run.id, "epoch": number, **epoch} for run in runs
                  for number, epoch in enumerate(run.epochs, start=1)]  # fmt: skip
        for path, lines, last in ((self.epochs, epochs, "epoch"), (self.runs, rows, "mark")):
            table = pd.DataFrame(lines, columns=None if lines else ["run", last])
            content = self._bytes(table.convert_dtypes())
            if not path.exists() or path.read_bytes() != content:
                write_whole(path, content)

    def _bytes(self, table: pd.DataFrame) -> bytes:
        if self.kind == "csv":
            return table.to_csv(index=False).encode()
        mixed = table.select_dtypes("object").columns  # numbers and words
        return table.astype(dict.fromkeys(mixed, "string")).to_parquet(index=False)


TRACKERS: dict[str, Callable[[Path], Tracker]] = {
    "tensorboard": _TensorBoard, "mlflow": _MLflow, "wandb": _WandB,
    "csv": lambda root: _Tables(root, "csv"), "parquet": lambda root: _Tables(root, "parquet"),
}  # fmt: skip


def open_tracker(kind: str, root: Path) -> Tracker:
    """Return a tracker in a folder; UserError: its library is not installed."""
    try:
        return TRACKERS[kind](root)
    except ImportError as error:
        raise UserError(f"--to {kind}: {error}; pip install 'weightnet[{kind}]' brings what it takes") from None
