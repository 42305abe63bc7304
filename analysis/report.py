"""One self-contained HTML page: the question, the answer and a picture; then verdicts, pictures, tables, every run."""

import base64
import os
import shlex
from collections.abc import Sequence
from importlib.resources import files
from itertools import takewhile
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd
from jinja2 import StrictUndefined, Template
from markupsafe import Markup

from analysis.experiments import file_name
from analysis.figures import figures_of, image
from analysis.load import count_runs
from analysis.metrics import DEFAULT, Outcome
from analysis.panels import name
from analysis.reference import called
from analysis.selection import rerun, seed_override
from analysis.study import Study
from analysis.tables import final_table, printable
from weightnet.runs.folder import write_whole
from weightnet.sweep.conf_folders import experiment_file
from weightnet.waiting import waiting

RUN_COLUMNS = {
    "run": "run", "status": "state", "label": "arm", "seed": "seed", "epoch": "epochs", "accuracy": "test accuracy",
    "test_loss": "test loss", "parameters": "parameters", "seconds": "seconds",
}  # fmt: skip

_INTERVAL = "Bands and bars are 95% t-intervals over seeds, where there are three or more."
_PAIRED = "Seeds are paired: they share initial parameters and batches."
CAPTIONS = {
    "": "{label}: the mean over seeds, a line an arm. " + _INTERVAL,
    "-final": "{label}: a point a seed, the mean, and its 95% t-interval.",
    "-feedback": "Above |me|, the length (Euclidean norm) of the vector that is fed back; below |me - me before|, that "
    "of its change in the epoch. Each is the mean over seeds, against the epoch. " + _INTERVAL,
    "-search": "{label}, of every trial of the search: the mean of its seeds, and their range. A ring marks the best "
    "of an arm, which is compared on other seeds than those that it was chosen by.",
    "-differences-by-epoch": "Difference in {metric} from {reference} against the epoch, a panel an arm. "
    f"{_PAIRED} {_INTERVAL}",
    "-differences-by": "Difference in {label} from {reference} against {x}; the margin, where there is one, in grey. "
    f"{_PAIRED} {_INTERVAL}",
    "-differences": "Difference in {label} from {reference}: a row an arm, its 95% t-interval over seeds, and the "
    "margin, where there is one, in grey. " + _PAIRED,
}
"""What a figure shows, by the beginning of its suffix (`analysis.figures.figures_of`)."""
_AXES = {
    0: "{metric}, against the epoch",
    1: "{label}, against {x}",
    2: "{label}, over {x} and {y}; the colour is its distance from the reference in standard deviations "
    "over seeds, so that noise is pale",
}


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
    sections = [_section(study, path.parent) for study in studies]
    page = template.render(sections=sections, names=", ".join(names))
    write_whole(path, page.encode())
    return path


def _section(study: Study, folder: Path) -> dict[str, Any]:
    """Return what the page tells of a study; its links are relative to a folder."""
    runs, experiment, outcome = study.runs, study.experiment, study.outcome
    done = runs[runs["status"] == "done"]
    packages = [column.removeprefix("version.") for column in runs.columns if column.startswith("version.")]
    versions = [f"{package} {_values(runs, f'version.{package}')}" for package in packages]
    compared = study.differences if study.differences is not None else pd.DataFrame()
    return {
        "name": experiment.name,
        "question": _question(experiment.name),
        "outcome": outcome,
        "primary": experiment.primary,
        "answer": _answer(compared, outcome),
        "verdicts": [sentence(row, outcome) for _, row in compared.iterrows()],
        "margin": len(compared) and compared["margin"].any(),
        "looks": [len(seeds) for seeds in experiment.looks],
        "pictures": _pictures(study),
        "final": printable(final_table(runs, outcome, experiment.labels(), searched=study.searched), outcome),
        "differences": printable(compared, outcome) if len(compared) else None,
        "commands": [
            shlex.join([*rerun(experiment, study.outputs), *_seeds(study)]),
            shlex.join(["python", "-m", "analysis", "report", *experiment.selection, *_flags(study), *_places(study)]),
        ],
        "facts": [
            f"{count_runs(len(done))} finished, seeds {_values(done, 'seed')}; {len(runs) - len(done)} running",
            f"code {_values(runs, 'code')}; {', '.join(versions)}",
            f"machine {_values(runs, 'host')}, device {_values(runs, 'device')}, threads {_values(runs, 'threads')}",
            f"{done['seconds'].sum() / 3600:.2f} hours of training, "
            f"{runs['started'].min()} to {runs['finished'].dropna().max()}",
        ],
        "runs": _runs_table(study, Path(os.path.relpath(study.outputs, folder))),
    }


def _flags(study: Study) -> list[str]:
    """Return how a study is looked at, as on the command line."""
    options, outcome = study.options, study.outcome
    flags = [] if study.reference == "baseline" else [f"--reference={study.reference}"]
    flags += [f"--outcome={outcome}"] * outcome.exploratory
    flags += [f"--margin={options.margin:g}"] if options.margin else []
    flags += [f"--{key}={axis}" for key, axis in {"x": options.x, "y": options.y}.items() if axis]
    return [*flags, *["--mixed"] * options.mixed]


def _question(name: str) -> str:
    """Return what an experiment's YAML begins with: what is asked, and what was predicted; "" where there is none."""
    if not (path := experiment_file(name)):
        return ""
    first = takewhile(lambda line: line.startswith("#"), path.read_text(encoding="utf-8").splitlines())
    return " ".join(line.lstrip("# ") for line in first if not line.startswith("# @"))


def _answer(compared: pd.DataFrame, outcome: Outcome) -> list[str]:
    """Return a line a data set and verdict: which arms it is of, with their differences."""
    lines = []
    for (dataset, verdict), rows in compared.groupby(["dataset", "verdict"], sort=False) if len(compared) else ():
        arms = (f"{row['label']} {outcome.metric.difference(row['difference'])}" for _, row in rows.iterrows())
        references = " and ".join(f"'{name}'" for name in rows["reference"].unique())
        pairs = ", ".join(map(str, sorted(rows["n"].unique())))
        lines.append(f"{name(str(dataset))}, against {references}: {verdict}: {', '.join(arms)} ({outcome.label}"
                     f"{',' * bool(outcome.metric.unit)}{outcome.metric.unit}; n = {pairs})")  # fmt: skip
    return lines


def _pictures(study: Study) -> list[dict[str, str]]:
    """Return the figures with their captions, that of the differences first: it is the answer."""
    x, y, *_ = [*study.axes, "", ""]
    reference = called(study.reference)
    words = {"label": study.outcome.label, "metric": study.outcome.metric.label, "reference": reference, "x": x, "y": y}
    captions = {**CAPTIONS, "": CAPTIONS[""].replace("{label}", _AXES[len(study.axes)])}
    drawn = []
    for suffix, (figure, _) in waiting(figures_of(study).items(), "drawing"):
        kind = max((start for start in captions if suffix.startswith(start)), key=len)
        picture = base64.b64encode(image(figure, "svg", list(study.runs["run"]))).decode()
        caption = captions[kind].format(**words)
        drawn.append((kind != "-differences", {"image": picture, "caption": caption[0].upper() + caption[1:]}))
    ordered = [each for _, each in sorted(drawn, key=lambda pair: pair[0])]
    return ordered + (_pictures(study.search) if study.search else [])


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


def _runs_table(study: Study, outputs: Path) -> pd.DataFrame:
    """Return a row a run: the outcome, what the last epoch gave, and links to its config and its log."""
    headings = RUN_COLUMNS | {study.outcome.metric.column: study.outcome.heading}
    runs = study.runs.assign(label=study.runs["arm"].map(study.experiment.labels()))[list(headings)]
    forms = {"accuracy": "{:.2f}", "test_loss": "{:.4f}", "seconds": "{:.0f}", "parameters": "{:,}"}
    text = runs.astype(object)
    for key, form in forms.items():
        text[key] = runs[key].map(form.format, na_action="ignore")
    text[study.outcome.metric.column] = runs[study.outcome.metric.column].map(
        study.outcome.metric.text, na_action="ignore"
    )
    text = text.where(runs.notna(), "").astype(str).rename(columns=headings)
    link = Markup('<a href="{}">{}</a>').format
    text["files"] = [
        Markup(" ").join(link(quote((outputs / "runs" / run / file).as_posix()), kind)
                         for kind, file in (("config", "config.yaml"), ("log", "run.log")))
        for run in runs["run"]
    ]  # fmt: skip
    return text


def _seeds(study: Study) -> list[str]:
    """Return the override that asks for the seeds of the runs, where they are any that there were."""
    seeds = set(study.runs["seed"])
    return [seed_override(seeds)] if study.experiment.any_seed and seeds != study.experiment.seeds else []


def _places(study: Study) -> list[str]:
    """Return the flags that say where runs and YAML are, other than where they are sought anyway."""
    outputs = [] if study.outputs == Path("outputs") else [f"--outputs={study.outputs}"]
    return outputs + [word for word in study.experiment.command if word.startswith("--config-dir=")]


def _values(runs: pd.DataFrame, column: str) -> str:
    return ", ".join(map(str, runs[column].dropna().unique()))
