"""What a sweep hands over to workers that it does not start itself: a folder, which is all that the two sides share.

    <sweep>/workers/
        tasks.json        the tasks, resolved
        code/             the code as it was then, the user's own included: what the workers execute
        ended/<run id>    how a task ended, where the run's own folder does not say so: a failure, a replay,
                          a run that was done before
        refused/<worker>  why a worker cannot work
        stop              once workers are to finish their epochs and leave
        worker.sh         what the queue starts; the workers' logs are beside it
    <sweep>/workers-2/    the same of the second stage, of a sweep that has several

Plain text, never pickles. That a run is done is known by its run folder alone.
"""

import json
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, get_type_hints

from weightnet.errors import RunFailed, UserError
from weightnet.experiment import Config, copy_code, origins, read_config, run_folder, run_id
from weightnet.plain import MOST_BYTES, fits, printable, read_json, read_text
from weightnet.runs.folder import RunFolder, write_whole
from weightnet.sweep.engine import Outcome, Task

NAME = "workers"  # of the folder


class Handover:
    """The folder, as both sides see it."""

    def __init__(self, path: Path, tasks: Sequence[Task]) -> None:
        """Take its tasks."""
        self.path, self.tasks = path, tasks
        self.ids = [run_id(task.config) for task in tasks]
        self.folders = [RunFolder(run_folder(task.config)) for task in tasks]

    @property
    def stop(self) -> Path:
        """The file that is there once workers are to finish their epochs and leave."""
        return self.path / "stop"

    def outcome(self, index: int) -> Outcome | None:
        """Return how a task ended since it was handed over, None if it has not."""
        if (told := self.path / "ended" / self.ids[index]).exists():
            return _outcome(told)
        folder, task = self.folders[index], self.tasks[index]
        if task.verify_epochs is not None or folder.stamp() in ("", task.before):
            return None
        record = folder.record()
        if record is None or record.status != "done":
            return None
        try:
            return Outcome(folder.metrics()[-1]["test_accuracy"])
        except (OSError, ValueError, IndexError) as error:
            return Outcome(error=RunFailed(f"{self.ids[index]}: {error}"))

    def tell(self, index: int, outcome: Outcome) -> None:
        """Note how a task ended, unless its run folder does: of one that was done before it does not."""
        if outcome.failed or (outcome.error is None and self.outcome(index) is None):
            error = None if outcome.error is None else str(outcome.error)
            plain = {"value": outcome.value, "error": error, "mistake": isinstance(outcome.error, UserError)}
            write_whole(self.path / "ended" / self.ids[index], json.dumps(plain).encode())

    def refuse(self, worker: str, why: str) -> None:
        """Note why a worker cannot work."""
        write_whole(self.path / "refused" / worker, why.encode())

    def refusals(self) -> dict[str, str]:
        """Return worker -> why it cannot work."""
        found = {}
        for path in sorted((self.path / "refused").glob("[!.]*")):
            with suppress(OSError, ValueError):  # it has gone, or is no text
                found[path.name] = printable(read_text(path))
        return found


def hand_over(path: Path, tasks: Sequence[Task]) -> Handover:
    """Write the folder.

    UserError: there are too many tasks, or code of the user's own lies where it cannot be copied from.
    """
    tasks = [replace(task, config=absolute(task.config)) for task in tasks]
    tasks = [replace(task, before=RunFolder(run_folder(task.config)).stamp()) for task in tasks]
    plain = [asdict(task) | {"code": code} for task, code in zip(tasks, codes(tasks), strict=True)]
    text = json.dumps({"tasks": plain}, separators=(",", ":")).encode()
    if len(text) > MOST_BYTES:
        most = len(tasks) * MOST_BYTES // len(text)
        raise UserError(f"{len(tasks):,} runs are too many for one submission; at most about {most:,} like these")
    copy_code([task.config for task in tasks], path / "code")
    for name in ("ended", "refused"):
        (path / name).mkdir()
    write_whole(path / "tasks.json", text)
    return Handover(path, tasks)


def read_handover(path: Path) -> tuple[Handover, list[str]]:
    """Return what a folder hands over, and the code that each task had. OSError, ValueError: there is nothing such."""
    plain = read_json(path / "tasks.json").get("tasks")
    if not isinstance(plain, list) or not all(isinstance(item, dict) for item in plain):
        raise ValueError("tasks.json has no tasks")
    then = [item.pop("code", None) for item in plain]
    if not plain or not fits(then, list[str]):
        raise ValueError("tasks.json has a task without its code")
    return Handover(path, [_task(item) for item in plain]), then


def codes(tasks: Sequence[Task]) -> Iterable[str]:
    """Return of each task what its numbers would come from now, as far as that is code."""
    return (origin.code for origin in origins(task.config for task in tasks))


def _task(plain: dict[str, Any]) -> Task:
    kinds = get_type_hints(Task)
    try:
        task = Task(config=read_config(plain.pop("config")), **plain)
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"tasks.json: {error}") from None
    if wrong := [name for name, value in plain.items() if not fits(value, kinds[name])]:
        raise ValueError(f"tasks.json: {wrong[0]}={str(plain[wrong[0]])[:50]}")
    return task


def absolute(config: Config) -> Config:
    """Return the config with paths that mean the same in any folder."""
    return replace(
        config, outputs=str(Path(config.outputs).absolute()), data_root=str(Path(config.data_root).absolute())
    )


def _outcome(path: Path) -> Outcome:
    """Read what `Handover.tell` wrote."""
    try:
        plain = read_json(path)
    except (OSError, ValueError) as error:
        return Outcome(error=RunFailed(f"{path.name}: {error}"))
    value, why = plain.get("value"), plain.get("error")
    if isinstance(why, str):
        return Outcome(error=UserError(why) if plain.get("mistake") is True else RunFailed(why))
    if not fits(value, str | float):
        return Outcome(error=RunFailed(f"{path.name}: does not say how its run ended"))
    return Outcome(value)
