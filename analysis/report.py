"""One self-contained HTML page of an experiment: verdicts first, then pictures, tables, commands and every run."""

import base64
import shlex
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from analysis.figures import figures_of, image
from analysis.stats import MARGIN, interval_name
from analysis.study import Study
from analysis.tables import accuracy_table, printable
from weightnet.runs.folder import write_whole

RUN_COLUMNS = {
    "run": "run", "status": "state", "model.name": "model", "seed": "seed", "epoch": "epochs",
    "test_accuracy": "accuracy", "test_loss": "test loss", "parameters": "parameters", "seconds": "seconds",
}  # fmt: skip


def write_report(studies: Sequence[Study]) -> Path:
    """Write the page of these studies; return its path, `<outputs>/report-<names>.html`.

    They share outputs, overrides and margin.
    """
    names, first = [study.experiment.name for study in studies], studies[0]
    template = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    ).from_string(files("analysis").joinpath("report.html").read_text(encoding="utf-8"))
    page = template.render(
        sections=[_section(study) for study in studies], names=", ".join(names), margin=f"{first.margin:g}"
    )
    path = first.outputs / f"report-{'-'.join([*names, *first.overrides])}.html".replace("/", "_")
    write_whole(path, page.encode())
    return path


def _section(study: Study) -> dict[str, Any]:
    runs, name, overrides = study.runs, study.experiment.name, study.overrides
    pictures = [
        base64.b64encode(image(figure, "svg", list(runs["run"]))).decode() for figure, _ in figures_of(study).values()
    ]
    done = runs[runs["status"] == "done"]
    versions = [f"{column.removeprefix('version.')} {_values(runs, column)}"
                for column in runs.columns if column.startswith("version.")]  # fmt: skip
    comparison = [] if study.reference == "baseline" else [f"--reference={study.reference}"]
    comparison += [] if study.margin == MARGIN else [f"--margin={study.margin:g}"]
    compared = study.differences if study.differences is not None else pd.DataFrame()
    return {
        "name": name,
        "verdicts": [sentence(row, study.margin) for _, row in compared.iterrows()],
        "interval": interval_name(list(compared["n"])) if len(compared) else "",
        "pictures": pictures,
        "accuracy": _table(printable(accuracy_table(runs))),
        "differences": _table(printable(compared)) if len(compared) else None,
        "commands": [
            shlex.join(["python", "run.py", f"experiment={name}", *overrides, *_seeds(study)]),
            shlex.join(["python", "-m", "analysis", "report", name, *overrides, *comparison]),
        ],
        "facts": [
            f"{len(done)} finished runs of {done['seed'].nunique()} seeds, {len(runs) - len(done)} running",
            f"code {_values(runs, 'code')}; {', '.join(versions)}",
            f"machine {_values(runs, 'host')}, device {_values(runs, 'device')}, threads {_values(runs, 'threads')}",
            f"{done['seconds'].sum() / 3600:.2f} hours of training, "
            f"{runs['started'].min()} to {runs['finished'].dropna().max()}",
        ],
        "runs": _table(_runs(runs), sortable=True),
    }


def sentence(row: pd.Series, margin: float) -> str:
    """Return the verdict of a row of `analysis.tables.difference_table`, made with this margin, in words."""
    difference, low, high, n = (row[key] for key in ("difference", "low", "high", "n"))
    reference = f"'{row['reference']}'"
    words = {
        "better": f"better than {reference}",
        "worse": f"worse than {reference}",
        "equivalent": f"equivalent to {reference} within {margin:g} points",
        "undecided": f"undecided against {reference}",
    }[row["verdict"]]
    if row["verdict"] == "undecided" and pd.notna(row["seeds"]):
        words += f" (needs about {row['seeds']:.0f} more seeds)"
    interval = f" [{low:+.3f}, {high:+.3f}]" if pd.notna(low) else ""
    pairs = f"n = {n} pair{'s' if n > 1 else ''}"
    confounds = row["confounds"]
    warning = f"; they also differ in {confounds}" if confounds else ""
    return f"{row['dataset']}, {row['label']}: {words}; {difference:+.3f} points{interval}, {pairs}{warning}"


def _seeds(study: Study) -> list[str]:
    """Return the override that asks for the seeds of the runs, where the experiment asks for others."""
    seeds = sorted(set(study.runs["seed"]))
    if set(seeds) == study.experiment.seeds:
        return []
    whole = seeds == list(range(seeds[0], seeds[-1] + 1)) and len(seeds) > 2
    return [f"seed=range({seeds[0]},{seeds[-1] + 1})" if whole else f"seed={','.join(map(str, seeds))}"]


def _values(runs: pd.DataFrame, column: str) -> str:
    return ", ".join(map(str, runs[column].dropna().unique()))


def _runs(runs: pd.DataFrame) -> pd.DataFrame:
    table = runs[list(RUN_COLUMNS)].rename(columns=RUN_COLUMNS)
    return table.assign(
        accuracy=[f"{100 * value:.2f}" for value in table["accuracy"]],
        **{"test loss": [f"{value:.4f}" for value in table["test loss"]]},
        seconds=[f"{value:.0f}" for value in table["seconds"]],
    )


def _table(table: pd.DataFrame, *, sortable: bool = False) -> Markup:
    return Markup(table.to_html(index=False, border=0, classes="sortable" if sortable else None))
