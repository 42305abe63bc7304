"""Records of sweeps, `<outputs>/sweeps/<time>/`: which runs, what was swept, what was chosen beforehand."""

import csv
import re
import shlex
import sys
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeGuard

from analysis.experiments import Trials
from weightnet.config import AnalysisConfig
from weightnet.plain import fits, read_json, read_text
from weightnet.sweep.interval import Interval

UNREADABLE = (OSError, ValueError, RecursionError, csv.Error)
"""What reading a record that is damaged raises."""


@dataclass(frozen=True, slots=True)
class Sweep:
    """What a sweep's folder records."""

    folder: Path
    command: str
    overrides: list[str]
    axes: list[list[str]]
    runs: dict[str, str]
    """Their ids, in the order of its plan, each with its arm ("" where an older sweep does not say)."""
    differing: dict[str, str]
    """Run -> the overrides in which it differs from the others."""
    analysis: AnalysisConfig
    margins: dict[str, float | None]
    """Of its data sets."""
    looks: list[list[int]]
    """The seeds of each look."""
    trials: Trials | None
    """Of a search. Runs of other seeds than theirs are of what it chose."""


def sweeps(outputs: Path) -> Iterator[Sweep]:
    """Yield the sweeps that can be read, the newest first; name on stderr those that are damaged."""
    for folder in _folders(outputs):
        try:
            yield read_sweep(folder)
        except UNREADABLE as error:
            print(f"skipped {folder}: {' '.join(str(error).split())}", file=sys.stderr)


def last_sweep(outputs: Path) -> Sweep | None:
    """Return the newest of `sweeps`, None where there is none."""
    return next(sweeps(outputs), None)


def first_with(outputs: Path, runs: Collection[str]) -> Iterator[tuple[Sweep, set[str]]]:
    """Yield the readable sweeps that are the first to have some of these runs, the oldest first, each with these."""
    left = set(runs)
    for folder in reversed(_folders(outputs)):
        if not left:
            return
        with suppress(*UNREADABLE):
            sweep = read_sweep(folder)
            if own := left & sweep.runs.keys():
                left -= own
                yield sweep, own


def _folders(outputs: Path) -> list[Path]:
    """Return the folders of the sweeps, the newest first."""
    folders = [path.parent for path in (outputs / "sweeps").glob("*/sweep.json")]
    return sorted(folders, key=lambda folder: _natural(folder.name), reverse=True)


def _natural(name: str) -> list[Any]:
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)]


def seed_of(run: str) -> int | None:
    """Return the seed in a run's id; None: it is none of ours."""
    named = re.search(r"-s(\d+)-[0-9a-f]{8}$", run)
    return int(named[1]) if named else None


def read_sweep(folder: Path) -> Sweep:
    """Read a sweep's folder; `UNREADABLE`: it is not as a sweep writes it."""
    asked = read_json(folder / "sweep.json")
    command, overrides, axes = asked.get("command"), asked.get("overrides"), asked.get("axes")
    if not (isinstance(command, str) and _words(overrides) and isinstance(axes, list) and all(map(_words, axes))):
        raise ValueError("sweep.json does not say command, overrides and axes")
    rows = list(csv.DictReader(read_text(folder / "plan.csv").splitlines()))
    runs = [(row.get("id") or "", row.get("arm") or "") for row in rows]
    if len(runs) != asked.get("runs", len(runs)):
        raise ValueError(f"plan.csv has {len(runs)} of {asked['runs']} runs")
    command.encode()  # ValueError: it is no text
    shlex.split(command)  # ValueError: it has half a quotation
    primary, margin, margins = asked.get("primary", "accuracy"), asked.get("margin"), asked.get("margins", {})
    looks, choose = asked.get("looks", []), asked.get("choose")
    if not (fits(primary, str) and fits(margin, float | None) and fits(margins, dict[str, float | None])):
        raise ValueError("sweep.json does not say primary, margin and margins as a sweep does")
    if not fits(choose, str | None):
        raise ValueError("sweep.json does not say choose as a sweep does")
    if not fits(looks, list[list[int]]) or not all(a == b[: len(a)] != b for a, b in pairwise([[], *looks])):
        raise ValueError("sweep.json does not say looks as a sweep does")
    if not runs or not all(re.fullmatch(r"[\w,+-][\w.,+-]*", run) for run, _ in runs):
        raise ValueError("plan.csv does not name runs")
    return Sweep(
        folder,
        command,
        overrides,
        axes,
        dict(runs),
        {row["id"]: row.get("differing") or "" for row in rows},
        AnalysisConfig(primary=primary, margin=margin, choose=choose),
        margins,
        looks,
        _trials(asked["search"]) if "search" in asked else None,
    )


def _trials(search: Any) -> Trials:
    """Return what sweep.json says of a search; ValueError: it is not as a sweep writes it."""
    if fits(search, dict[str, Any]) and fits(search.get("seeds"), list[int]):
        plain = search.get("intervals")
        with suppress(TypeError):
            plain = plain if fits(plain, _INTERVALS) else {}
            found = {key.lstrip("+"): Interval(**values) for key, values in plain.items()}
            if found and all(_possible(interval) for interval in found.values()):
                return Trials(found, set(search["seeds"]))
    raise ValueError("sweep.json does not say search as a sweep does")


_INTERVALS = dict[str, dict[str, float | bool]]


def _possible(interval: Interval) -> bool:
    numbers = fits(interval.low, float) and fits(interval.high, float) and interval.low < interval.high
    return numbers and (interval.low > 0 or not interval.log)


def _words(value: Any) -> TypeGuard[list[str]]:
    return isinstance(value, list) and all(isinstance(word, str) for word in value)
