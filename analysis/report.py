"""One self-contained HTML page of an experiment: verdicts first, then pictures, tables, commands and every run."""

import base64
import shlex
from collections.abc import Callable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import StrictUndefined, Template
from markupsafe import Markup

from analysis.experiments import file_name
from analysis.figures import figures_of, image
from analysis.load import count_runs
from analysis.metrics import DEFAULT, Outcome
from analysis.study import Study
from analysis.tables import final_table, printable
from weightnet.runs.folder import write_whole

RUN_COLUMNS = {
    "run": "run", "status": "state", "model.name": "model", "seed": "seed", "epoch": "epochs",
    "accuracy": "test accuracy", "test_loss": "test loss", "parameters": "parameters", "seconds": "seconds",
}  # fmt: skip


def write_report(studies: Sequence[Study], path: Path | None = None) -> Path:
    """Write the page of these studies; return its path: this one, or `<outputs>/report-<what selects them>.html`.

    They share outputs and overrides.
    """
    names, first = [study.experiment.name for study in studies], studies[0]
    selection = dict.fromkeys(word for study in studies for word in study.experiment.selection)
    words = sorted(selection, key=lambda word: "=" in word)  # names first
    path = path or first.outputs / f"report-{file_name(words)}.html"
    text = files("analysis").joinpath("report.html").read_text(encoding="utf-8")
    template = Template(text, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    page = template.render(sections=map(_section, studies), names=", ".join(names))
    write_whole(path, page.encode())
    return path


def _section(study: Study) -> dict[str, Any]:
    runs, experiment, outcome = study.runs, study.experiment, study.outcome
    pictures = [image(figure, "svg", list(runs["run"])) for figure, _ in figures_of(study).values()]
    done = runs[runs["status"] == "done"]
    packages = [column.removeprefix("version.") for column in runs.columns if column.startswith("version.")]
    versions = [f"{package} {_values(runs, f'version.{package}')}" for package in packages]
    comparison = [] if study.reference == "baseline" else [f"--reference={study.reference}"]
    comparison += [f"--outcome={outcome}"] * outcome.exploratory
    comparison += [f"--margin={study.margin:g}"] if study.margin else []
    compared = study.differences if study.differences is not None else pd.DataFrame()
    return {
        "name": experiment.name,
        "outcome": outcome,
        "primary": experiment.primary,
        "verdicts": [sentence(row, outcome) for _, row in compared.iterrows()],
        "margin": len(compared) and compared["margin"].any(),
        "looks": [len(seeds) for seeds in experiment.looks],
        "pictures": [base64.b64encode(picture).decode() for picture in pictures],
        "final": _table(printable(final_table(runs, outcome), outcome)),
        "differences": _table(printable(compared, outcome)) if len(compared) else None,
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
        "runs": _runs_table(runs, outcome),
    }


def sentence(row: pd.Series, outcome: Outcome = DEFAULT) -> str:
    """Return the verdict of a row of `analysis.tables.difference_table`, made of this outcome, in words."""
    metric, (difference, low, high, n) = outcome.metric, (row[key] for key in ("difference", "low", "high", "n"))
    reference, verdict = f"'{row['reference']}'", row["verdict"]
    more = f" (needs about {row['seeds']:.0f} more seeds, at most {row['seeds_high']:.0f})"
    word, comma, but = verdict.partition(",")
    if verdict == "equivalent":
        words = f"equivalent to {reference} within {row['margin']:g}{metric.unit}"
    elif "decide" in verdict:
        words = f"{verdict} against {reference}{more * pd.notna(row['seeds'])}"
    else:
        words = f"{word} than {reference}{comma}{but}"
    interval = f" [{metric.difference(low)}, {metric.difference(high)}]" if pd.notna(low) else ""
    warning = f"; they also differ in {row['confounds']}" if row["confounds"] else ""
    numbers = f"{metric.difference(difference)}{metric.unit}{interval}, n = {n} pair{'' if n == 1 else 's'}"
    return f"{row['dataset']}, {row['label']}: {words}; {numbers}{warning}"


def _runs_table(runs: pd.DataFrame, outcome: Outcome) -> Markup:
    """Return a row a run: the outcome, and what the last epoch gave."""
    headings = RUN_COLUMNS | {outcome.metric.column: outcome.heading}
    forms: dict[str, Callable[[float], str]] = {
        "accuracy": "{:.2f}".format,
        "test_loss": "{:.4f}".format,
        "seconds": "{:.0f}".format,
    }
    forms[outcome.metric.column] = outcome.metric.text
    formatters = {headings[key]: form for key, form in forms.items()}
    return _table(runs[list(headings)].rename(columns=headings), classes="sortable", formatters=formatters)


def _seeds(study: Study) -> list[str]:
    """Return the override that asks for the seeds of the runs, where the experiment asks for others."""
    seeds = sorted(set(study.runs["seed"]))
    if not study.experiment.any_seed or set(seeds) == study.experiment.seeds:
        return []
    whole = seeds == list(range(seeds[0], seeds[-1] + 1)) and len(seeds) > 2
    return [f"seed=range({seeds[0]},{seeds[-1] + 1})" if whole else f"seed={','.join(map(str, seeds))}"]


def _values(runs: pd.DataFrame, column: str) -> str:
    return ", ".join(map(str, runs[column].dropna().unique()))


def _table(table: pd.DataFrame, **options: Any) -> Markup:
    return Markup(table.to_html(index=False, border=0, **options))
