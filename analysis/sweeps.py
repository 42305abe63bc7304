"""What a sweep that has been run draws of its runs: itself, or the experiments that its own one draws."""

import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from analysis.choice import validation
from analysis.experiments import Experiment, arms_of, drawn_names, load_drawn, published
from analysis.load import Runs
from analysis.metrics import read_outcome
from analysis.records import Sweep, seed_of
from analysis.study import Options, Study, gather_drawn
from analysis.tables import LEGEND, final_table, to_csv, to_markdown
from weightnet.errors import UserError
from weightnet.runs.folder import write_whole


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
        return [_itself(sweep, loaded, name=chosen[0], files=[published(chosen[0], overrides, config_dir)])]
    drawn = load_drawn(chosen[0], overrides, names=names, config_dir=config_dir)
    return [replace(one, files=[*one.files, sweep.folder.absolute() / one.name]) for one in drawn]


def _itself(sweep: Sweep, loaded: Runs, name: str = "", files: Sequence[Path] = ()) -> Experiment:
    """Return a sweep's runs; of a search those of what it chose, once there are any, else its trials."""
    name, files = name or f"sweep {sweep.folder.name}", [*files, sweep.folder.absolute() / "figure"]
    if sweep.trials is None:
        return _of_runs(sweep, loaded, sweep.runs, name, files, sweep.axes)
    tried = {run: arm for run, arm in sweep.runs.items() if seed_of(run) in sweep.trials.seeds}
    confirming = {run: arm for run, arm in sweep.runs.items() if run not in tried}
    trials = _of_runs(sweep, loaded, tried, f"{name}, search", files, sweep.axes)
    found = replace(sweep.trials, chosen=frozenset(confirming.values()))
    trials = replace(trials, primary=validation(trials.primary), trials=found)
    if not loaded.runs.loc[loaded.runs["run"].isin(confirming), "status"].isin(["done", "running"]).any():
        return trials
    axes = [keys for keys in sweep.axes if not {key.lstrip("+") for key in keys} & set(found.intervals)]
    return replace(_of_runs(sweep, loaded, confirming, name, files, axes), search=trials)


def _of_runs(
    sweep: Sweep, loaded: Runs, runs: dict[str, str], name: str, files: list[Path], axes: list[list[str]]
) -> Experiment:
    configs = [loaded.configs[run] for run in runs if run in loaded.configs]
    words = shlex.split(re.sub(r" (?:--config-dir|-cd) (?=\S)", " --config-dir=", sweep.command))
    return Experiment(
        name=name,
        arms=arms_of(configs, axes),
        axes=axes,
        seeds={config.seed for config in configs},
        runs=runs,
        exact=True,
        command=["python", *words] if sweep.command.partition(" ")[0].endswith(".py") else words,
        selection=[] if sweep.trials else [word for word in words if "=" in word and not word.startswith("-")],
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
    """Draw the studies of a sweep (`studies_of`), and write the table of their runs, and as Markdown their comparisons
    and what was chosen later, into its folder.
    """
    from analysis.figures import draw  # not above: seaborn takes a second

    for study in studies:
        draw(study, data=data)
    outcomes = dict.fromkeys(study.outcome for study in studies)
    for outcome in outcomes:  # of experiments with several primary ones a table each
        own = [study for study in studies if study.outcome == outcome]
        runs = pd.concat([study.runs for study in own]).drop_duplicates("run")
        table = final_table(runs, outcome, searched=[key for study in own for key in study.searched])
        stem = f"table{f'-{outcome.short}' * (outcome.exploratory or len(outcomes) > 1)}"
        write_whole(sweep.folder / f"{stem}.csv", to_csv(table, outcome).encode())
        parts = [to_markdown(table, outcome), *(part for study in own for part in _compared(study))]
        write_whole(sweep.folder / f"{stem}.md", "\n\n".join([*parts, ""]).encode())


def _compared(study: Study) -> list[str]:
    """Return a study's comparison in Markdown, if it has one, and what was chosen later."""
    parts = [f"{study.experiment.name}: {words}" for words in study.later]
    if study.differences is None:
        return parts
    what = f"{study.experiment.name}, paired differences ({LEGEND}):"
    return [*parts, what, to_markdown(study.differences, study.outcome)]
