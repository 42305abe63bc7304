"""The sweeps that have been run, as `<outputs>/sweeps/<time>/` records them: which runs, and what was swept."""

import csv
import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeGuard

import pandas as pd

from analysis.choice import validation
from analysis.experiments import Experiment, Trials, arms_of, drawn_names, load_drawn, published
from analysis.load import Runs
from analysis.metrics import read_outcome
from analysis.study import Options, Study, gather_drawn
from analysis.tables import final_table, to_csv, to_markdown
from weightnet.config import AnalysisConfig
from weightnet.errors import UserError
from weightnet.plain import fits, read_json, read_text
from weightnet.runs.folder import write_whole
from weightnet.sweep.interval import Interval


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
    folders = [path.parent for path in (outputs / "sweeps").glob("*/sweep.json")]
    for folder in sorted(folders, key=lambda folder: _natural(folder.name), reverse=True):
        try:
            yield read_sweep(folder)
        except (OSError, ValueError, RecursionError, csv.Error) as error:
            print(f"skipped {folder}: {' '.join(str(error).split())}", file=sys.stderr)


def last_sweep(outputs: Path) -> Sweep | None:
    """Return the newest of `sweeps`, None where there is none."""
    return next(sweeps(outputs), None)


def _natural(name: str) -> list[Any]:
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)]


def read_sweep(folder: Path) -> Sweep:
    """Read a sweep's folder; OSError, ValueError, RecursionError, csv.Error: it is not as a sweep writes it."""
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
            found = {key: Interval(**values) for key, values in plain.items()} if fits(plain, _INTERVALS) else {}
            if found and all(_possible(interval) for interval in found.values()):
                return Trials(found, set(search["seeds"]))
    raise ValueError("sweep.json does not say search as a sweep does")


_INTERVALS = dict[str, dict[str, float | bool]]


def _possible(interval: Interval) -> bool:
    numbers = fits(interval.low, float) and fits(interval.high, float) and interval.low < interval.high
    return numbers and (interval.low > 0 or not interval.log)


def _words(value: Any) -> TypeGuard[list[str]]:
    return isinstance(value, list) and all(isinstance(word, str) for word in value)


def experiments_of(
    sweep: Sweep, loaded: Runs, names: Sequence[str] | None = None, *, config_dir: str | None = None
) -> list[Experiment]:
    """Return what a sweep draws of its runs, `loaded`: itself; or the experiments that its own one draws.

    These are `names`, where they are known. The errors are those of `load_experiment`.
    """
    named = (re.fullmatch(r"experiment=([\w/-]+)", part) for part in sweep.overrides)
    chosen = [found[1] for found in named if found and found[1] != "null"]
    if len(chosen) != 1:  # none; or several, side by side
        return [_itself(sweep, loaded)]
    try:
        names = drawn_names(chosen[0], config_dir) if names is None else [*names] or chosen
    except UserError as error:  # it has gone since, or has been broken
        print(error, file=sys.stderr)
        names = chosen
    overrides = [part for part in sweep.overrides if not part.startswith("experiment=")]
    if names == chosen or sweep.trials:
        return [_itself(sweep, loaded, name=chosen[0], files=[published(chosen[0], overrides)])]
    drawn = load_drawn(chosen[0], overrides, names=names, config_dir=config_dir)
    return [replace(one, files=[*one.files, sweep.folder.absolute() / one.name]) for one in drawn]


def _itself(sweep: Sweep, loaded: Runs, name: str = "", files: Sequence[Path] = ()) -> Experiment:
    """Return a sweep's runs; of a search those of what it chose, once there are any, else its trials."""
    name, files = name or f"sweep {sweep.folder.name}", [*files, sweep.folder.absolute() / "figure"]
    if sweep.trials is None:
        return _of_runs(sweep, loaded, sweep.runs, name, files, sweep.axes)
    tried = {run: arm for run, arm in sweep.runs.items() if _seed(run) in sweep.trials.seeds}
    confirming = {run: arm for run, arm in sweep.runs.items() if run not in tried}
    trials = _of_runs(sweep, loaded, tried, f"{name}, search", files, sweep.axes)
    found = replace(sweep.trials, chosen=frozenset(confirming.values()))
    trials = replace(trials, primary=validation(trials.primary), trials=found)
    if not loaded.runs.loc[loaded.runs["run"].isin(confirming), "status"].isin(["done", "running"]).any():
        return trials
    axes = [keys for keys in sweep.axes if not set(keys) & set(found.intervals)]
    return replace(_of_runs(sweep, loaded, confirming, name, files, axes), search=trials)


def _seed(run: str) -> int | None:
    """Return the seed in a run's id."""
    named = re.search(r"-s(\d+)-[0-9a-f]{8}$", run)
    return int(named[1]) if named else None


def _of_runs(
    sweep: Sweep, loaded: Runs, runs: dict[str, str], name: str, files: list[Path], axes: list[list[str]]
) -> Experiment:
    configs = [loaded.configs[run] for run in runs if run in loaded.configs]
    words = shlex.split(sweep.command)
    return Experiment(
        name=name,
        arms=arms_of(configs, axes),
        axes=axes,
        seeds={config.seed for config in configs},
        runs=runs,
        any_seed=False,
        command=["python", *words] if sweep.command.partition(" ")[0].endswith(".py") else words,
        selection=[word for word in words if "=" in word and not word.startswith("-")],
        primary=read_outcome(sweep.analysis.primary, "analysis.primary"),
        margin=sweep.analysis.margin,
        margins=sweep.margins,
        choose=sweep.analysis.choose,
        looks=sweep.looks,
        files=files,
    )


def studies_of(
    sweep: Sweep, loaded: Runs, names: Sequence[str] | None = None, options: Options | None = None, *,
    config_dir: str | None = None,
) -> list[Study]:  # fmt: skip
    """Return what a sweep draws of its runs, `loaded`; the errors are those of `load_experiment` and `gather`."""
    return gather_drawn(experiments_of(sweep, loaded, names, config_dir=config_dir), loaded, options)


def draw_sweep(sweep: Sweep, studies: Sequence[Study], *, data: bool = False) -> None:
    """Draw the studies of a sweep (`studies_of`), and write the table of their runs into its folder."""
    from analysis.figures import draw  # not above: seaborn takes a second

    for study in studies:
        draw(study, data=data)
    outcome = studies[0].outcome
    runs = pd.concat([study.runs for study in studies]).drop_duplicates("run")
    table = final_table(runs, outcome, searched=[key for study in studies for key in study.searched])
    stem = f"table{f'-{outcome.short}' * outcome.exploratory}"
    write_whole(sweep.folder / f"{stem}.csv", to_csv(table, outcome).encode())
    write_whole(sweep.folder / f"{stem}.md", f"{to_markdown(table, outcome)}\n".encode())
