"""One self-contained HTML page of an experiment: verdicts first, then pictures, tables, commands and every run."""

import base64
import shlex
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import StrictUndefined, Template
from markupsafe import Markup

from analysis.experiments import file_name
from analysis.figures import figures_of, image
from analysis.load import count_runs
from analysis.metrics import ACCURACY, Metric
from analysis.stats import interval_name
from analysis.study import Study
from analysis.tables import final_table, printable
from weightnet.runs.folder import write_whole

RUN_COLUMNS = {
    "run": "run", "status": "state", "model.name": "model", "seed": "seed", "epoch": "epochs",
    "accuracy": "accuracy", "test_loss": "test loss", "parameters": "parameters", "seconds": "seconds",
}  # fmt: skip
FORMATS = {"accuracy": "{:.2f}".format, "test loss": "{:.4f}".format, "seconds": "{:.0f}".format}


def write_report(studies: Sequence[Study], path: Path | None = None) -> Path:
    """Write the page of these studies; return its path: this one, or `<outputs>/report-<what selects them>.html`.

    They share outputs, overrides, metric and margin.
    """
    names, first = [study.experiment.name for study in studies], studies[0]
    selection = dict.fromkeys(word for study in studies for word in study.experiment.selection)
    words = sorted(selection, key=lambda word: "=" in word)  # names first
    path = path or first.outputs / f"report-{file_name(words)}.html"
    text = files("analysis").joinpath("report.html").read_text(encoding="utf-8")
    template = Template(text, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    metric = first.metric
    heading = "Accuracy" if metric.column == ACCURACY.column else metric.label
    sections = map(_section, studies)
    page = template.render(sections=sections, names=", ".join(names), metric=metric, heading=heading)
    write_whole(path, page.encode())
    return path


def _section(study: Study) -> dict[str, Any]:
    runs, experiment, metric = study.runs, study.experiment, study.metric
    pictures = [image(figure, "svg", list(runs["run"])) for figure, _ in figures_of(study).values()]
    done = runs[runs["status"] == "done"]
    packages = [column.removeprefix("version.") for column in runs.columns if column.startswith("version.")]
    versions = [f"{package} {_values(runs, f'version.{package}')}" for package in packages]
    comparison = [] if study.reference == "baseline" else [f"--reference={study.reference}"]
    comparison += [f"--metric={metric.column}"] * (metric.column != ACCURACY.column)
    comparison += [f"--margin={metric.margin:g}"] if metric.margin not in (None, ACCURACY.margin) else []
    compared = study.differences if study.differences is not None else pd.DataFrame()
    return {
        "name": experiment.name,
        "verdicts": [sentence(row, metric) for _, row in compared.iterrows()],
        "interval": interval_name(list(compared["n"])) if len(compared) else "",
        "pictures": [base64.b64encode(picture).decode() for picture in pictures],
        "final": _table(printable(final_table(runs, metric), metric)),
        "differences": _table(printable(compared, metric)) if len(compared) else None,
        "commands": [
            shlex.join([*experiment.command, *_seeds(study)]),
            shlex.join(["python", "-m", "analysis", "report", *experiment.selection, *comparison]),
        ],
        "facts": [
            f"{count_runs(len(done))} finished, seeds {_values(done, 'seed')}; {len(runs) - len(done)} running",
            f"code {_values(runs, 'code')}; {', '.join(versions)}",
            f"machine {_values(runs, 'host')}, device {_values(runs, 'device')}, threads {_values(runs, 'threads')}",
            f"{done['seconds'].sum() / 3600:.2f} hours of training, "
            f"{runs['started'].min()} to {runs['finished'].dropna().max()}",
        ],
        "runs": _table(runs[list(RUN_COLUMNS)].rename(columns=RUN_COLUMNS), classes="sortable", formatters=FORMATS),
    }


def sentence(row: pd.Series, metric: Metric = ACCURACY) -> str:
    """Return the verdict of a row of `analysis.tables.difference_table`, made of this metric, in words."""
    difference, low, high, n = (row[key] for key in ("difference", "low", "high", "n"))
    reference, what = f"'{row['reference']}'", "" if metric.column == ACCURACY.column else f"{metric.label} "
    more = f" (needs about {row['seeds']:.0f} more seeds)" if pd.notna(row["seeds"]) else ""
    words = {
        "equivalent": f"equivalent to {reference} within {metric.margin or 0:g}{metric.unit}",
        "undecided": f"undecided against {reference}{more}",
    }.get(row["verdict"], f"{row['verdict']} than {reference}")
    interval = f" [{metric.difference(low)}, {metric.difference(high)}]" if pd.notna(low) else ""
    warning = f"; they also differ in {row['confounds']}" if row["confounds"] else ""
    numbers = f"{metric.difference(difference)}{metric.unit}{interval}, n = {n} pair{'' if n == 1 else 's'}"
    return f"{row['dataset']}, {row['label']}: {what}{words}; {numbers}{warning}"


def _seeds(study: Study) -> list[str]:
    """Return the override that asks for the seeds of the runs, where the experiment asks for others."""
    seeds = sorted(set(study.runs["seed"]))
    if study.experiment.runs is not None or set(seeds) == study.experiment.seeds:
        return []
    whole = seeds == list(range(seeds[0], seeds[-1] + 1)) and len(seeds) > 2
    return [f"seed=range({seeds[0]},{seeds[-1] + 1})" if whole else f"seed={','.join(map(str, seeds))}"]


def _values(runs: pd.DataFrame, column: str) -> str:
    return ", ".join(map(str, runs[column].dropna().unique()))


def _table(table: pd.DataFrame, **options: Any) -> Markup:
    return Markup(table.to_html(index=False, border=0, **options))
