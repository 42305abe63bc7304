"""A run's epochs as CSV files: what is written, and what of it can be believed when it is read. No torch in here.

metrics.csv has a row an epoch (`METRICS`, then own metrics), steps.csv a row every `train.log_interval` steps,
feedback.csv a row an epoch where there is feedback (`FEEDBACK`).
"""

import csv
import math
import re
from collections.abc import Sequence
from itertools import chain, repeat
from pathlib import Path

from weightnet import plain
from weightnet.experiment import METRICS, EpochResult
from weightnet.plain import read_text

__all__ = ["FEEDBACK", "METRICS", "STEPS", "difference", "impossible", "read_feedback", "read_metrics", "read_steps",
           "tables"]  # fmt: skip

FEEDBACK = ("epoch", "norm", "change")
STEPS = ("step", "loss")
MOST_BYTES = 8 << 20  # of a file with a row an epoch

_NUMBER = re.compile(r"-?(\d+(\.\d*)?(e[+-]?\d+)?|inf|nan)", re.ASCII).fullmatch  # as Python writes it

Rows = list[dict[str, float]]


def tables(history: Sequence[EpochResult]) -> dict[str, list[Sequence[object]]]:
    """Return the rows, header first, of each file that a run's epochs are written to."""
    rows = [[*(getattr(result, column) for column in METRICS), *result.own.values()] for result in history]
    own = list(history[0].own) if history else []
    written: dict[str, list[Sequence[object]]] = {
        "metrics.csv": [[*METRICS, *own], *rows],
        "steps.csv": [STEPS, *(row for result in history for row in result.step_losses)],
    }
    feedback = [(result.epoch, *result.feedback) for result in history if result.feedback is not None]
    if feedback:
        written["feedback.csv"] = [FEEDBACK, *feedback]
    return written


def read_metrics(path: Path, epochs: int | None = None) -> Rows:
    """Return the rows of metrics.csv, none where there is no such file.

    ValueError: it has other columns than `METRICS` and any after them, something that is no number as we write it, or
    more rows than there are `epochs`. OSError: it cannot be read.
    """
    return _read(path, METRICS, epochs, own=True)


def read_feedback(path: Path, epochs: int) -> Rows:
    """Return the rows of feedback.csv, as `read_metrics` does. ValueError: also where a row cannot be."""
    rows = _read(path, FEEDBACK, epochs)
    if [row["epoch"] for row in rows] != list(range(1, len(rows) + 1)) or any(min(row.values()) < 0 for row in rows):
        raise ValueError(f"{path.name} has impossible values")
    return rows


def read_steps(path: Path) -> Rows:
    """Return the rows of steps.csv, as `read_metrics` does."""
    return _read(path, STEPS, None, most_bytes=plain.MOST_BYTES)


def _read(
    path: Path, columns: Sequence[str], most: int | None, *, own: bool = False, most_bytes: int = MOST_BYTES
) -> Rows:
    if not path.exists():
        return []
    try:
        lines = read_text(path, most_bytes).splitlines()
        if most is not None and len(lines) > most + 1:
            raise ValueError(f"{path.name} has {len(lines) - 1} of {most} epochs")
        header, *rows = list(csv.reader(lines)) or [[]]
    except csv.Error as error:
        raise ValueError(f"{path.name}: {error}") from None
    if header[: len(columns) if own else None] != list(columns):
        raise ValueError(f"{path.name} has the columns {header}")
    if wrong := next((cell for row in rows for cell in row if not _NUMBER(cell)), None):
        raise ValueError(f"{path.name} has {wrong[:50]!r} in place of a number")
    return [dict(zip(header, map(float, row), strict=True)) for row in rows]


def impossible(curve: Sequence[dict[str, float]], epochs: int | None) -> str:
    """Say what cannot be in the rows of a finished run's metrics.csv; nothing ("") where all can.

    `epochs`: how many there must be, if that is known. A loss may be NaN or infinite: the run has diverged.
    """
    if not curve:
        return "metrics.csv has no epoch"
    if [row["epoch"] for row in curve] != list(range(1, len(curve) + 1)):
        return "metrics.csv does not have every epoch once"
    if epochs is not None and len(curve) != epochs:
        return f"done, but metrics.csv has {len(curve)} of {epochs} epochs"
    for row in curve:
        positive = [row[column] for column in ("train_loss", "test_loss", "step", "seconds")]
        finite = all(map(math.isfinite, (row["step"], row["seconds"])))
        if not (0 <= row["test_accuracy"] <= 1 and finite) or any(value < 0 for value in positive):
            return f"metrics.csv has impossible values in epoch {row['epoch']:.0f}"
    return ""


def difference(folder: Path, history: Sequence[EpochResult]) -> tuple[list[str], str]:
    """Compare the first epochs in a run's files with these, bit for bit, but for seconds.

    Return the names of the files that are there, and the first number that differs ("" where none does). OSError:
    metrics.csv cannot be read.
    """
    compared = []
    for name, expected in tables(history).items():
        if name != "metrics.csv" and not (folder / name).exists():
            continue
        compared.append(name)
        header, lines = expected[0], read_text(folder / name).splitlines()
        for row, found in zip(expected, chain(csv.reader(lines), repeat([])), strict=False):
            for column, value, was in zip(header, row, chain(found, repeat("nothing")), strict=False):
                if column != "seconds" and was != str(value):
                    at = "header" if row is header else f"{header[0]} {row[0]}"
                    return compared, f"{name}, {at}: {column} was {was}, now {value}"
    return compared, ""
