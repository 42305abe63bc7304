"""What the arms reached: mean, 95% interval, n; and paired differences."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import pandas as pd

from analysis.arms import Arm
from analysis.experiments import Experiment
from analysis.looks import compare_at_looks
from analysis.metrics import DEFAULT, Outcome
from analysis.reference import no_such_arm, partners, referred
from analysis.stats import compare
from weightnet.errors import UserError

SHOWN = {
    "dataset.name": "dataset", "model.name": "model", "dims.dx": "dx", "dims.m": "m", "dims.n": "n (kernel)",
    "dims.hidden": "hidden", "train.epochs": "epochs",
}  # fmt: skip
"""Config keys that every table shows -> the column's heading."""

_START = "train.init"  # of what has no feedback it says nothing

OPTIONAL = [
    "dataset.channels", "dataset.mean", "dataset.std", "model.kind", "model.scale", "train.precision",
    "train.batch_size", "train.test_batch_size", "train.lr", "train.momentum", "train.subset", "train.validation",
    _START, "eval.feedback",
    "device", "threads",
]  # fmt: skip
"""Config keys that are shown where the runs differ in them, those of the data set where the runs of one set do."""

CONFOUNDS = [
    "dims.hidden",
    "train.epochs",
    *(key for key in OPTIONAL if not key.startswith(("model.", "eval.", _START))),
]
"""Config keys that are no part of what an arm feeds back: a comparison of arms that differ in them says so."""

_KEYS = ["arm", "partner", "decided"]  # of a comparison, not printed: the arms' keys, and whether there is a verdict
_COMPARED = {
    "difference": "difference", "low": "95% low", "high": "95% high", "n": "n (pairs)", "verdict": "verdict",
    "p": "p", "margin": "margin", "p_equivalent": "p (equivalence)", "improvement": "better in", "seeds": "more seeds",
    "seeds_high": "at most", "confounds": "also differs in",
}  # fmt: skip
"""Columns of a comparison -> their headings."""

LEGEND = (
    "better in: the share of the pairs, a tie counts half; more seeds: how many more would decide, as estimated, and "
    "at most; p: of no difference, and (equivalence) of one beyond the margin"
)
"""What a reader of a comparison asks first."""

_DOSE = {"dose": "1 + |me|^2", "filler_share": "filler"}
"""Columns of what is fed back at the start, shown where the runs differ in them -> their headings."""

_WHOLE = ("dims.dx", "dims.m", "dims.n", "train.subset", "train.validation")  # numbers that some arms lack

NUMBERS = {"mean": "mean", "low": "95% low", "high": "95% high", "n": "n (seeds)"}
"""Columns of a metric's summary -> their headings."""


def _p_value(p: float) -> str:
    return f"{p:.3f}" if p >= 0.001 else "<0.001"


def _seeds(count: float) -> str:
    return f"{count:.0f}" if count < 10_000 else ">9999"


_FORMATS: dict[str, Callable[[float], str]] = {
    **dict.fromkeys(("p", "p_equivalent"), _p_value), **dict.fromkeys(("seeds", "seeds_high"), _seeds),
    "margin": "{:g}".format, "improvement": "{:.0%}".format, "dose": "{:.4g}".format, "filler_share": "{:.1%}".format,
}  # fmt: skip


def final_table(
    runs: pd.DataFrame,
    outcome: Outcome = DEFAULT,
    names: Mapping[str, str] | None = None,
    *,
    searched: Collection[str] = (),
) -> pd.DataFrame:
    """Return one row an arm, with the mean of the outcome, its 95% t-interval and n, and how many of these are stale.

    Of the runs (as `analysis.study.Study.runs`), those that are not done are left out. Runs on another device or number
    of threads are an arm of their own. With `names`, of the arms, these stand in place of the model and its parameters.
    Keys that were `searched` are shown also where all arms have one value.
    """
    done, arm = runs[runs["status"] == "done"], ["arm", "device", "threads"]
    if done.empty:
        return pd.DataFrame(columns=[*SHOWN, *NUMBERS])
    keys = [*SHOWN, *(key for key in (*OPTIONAL, *_parameters(done), *_DOSE) if key in searched or _varies(done, key))]
    if names:
        done = done.assign(label=done["arm"].map(names))
        keys = ["dataset.name", "label", *(key for key in keys[1:] if not key.startswith("model."))]
    table = outcome.metric.summary(done, arm).merge(done.drop_duplicates(arm), on=arm)
    stale = (done["why"] != "").groupby([done[key] for key in arm], sort=False).sum().rename("stale").reset_index()
    table = table.merge(stale, on=arm)[[*keys, *(["stale"] if stale["stale"].any() else []), *NUMBERS]]
    return table.astype({key: "Int64" for key in _WHOLE if key in table})


def difference_table(
    runs: pd.DataFrame, experiment: Experiment, reference: str, outcome: Outcome, margins: Mapping[str, float | None]
) -> pd.DataFrame:
    """Return one row an arm: the outcome minus the reference's, paired by seed, and a verdict.

    The runs are the experiment's, in the order of its arms; each is compared with its partner among the arms of the
    reference (`analysis.reference.partners`; `arm` and `partner` are their keys). `margins` are those of the data sets.
    The arms of a data set are a family. Where the experiment has looks, an arm is compared at the one that decided it.
    The last column names what both differ in besides the feedback (`CONFOUNDS`).

    Raises:
        UserError: there is no such arm, or more than one.
    """
    done, metric = runs[(runs["status"] == "done") & runs[outcome.metric.column].notna()], outcome.metric
    arms = {key: arm for key, arm in experiment.arms.items() if key in set(done["arm"])}
    names = experiment.labels()
    swept = [key for key in experiment.swept if key != experiment.choose]
    planned, found = (partners(some, swept, reference) for some in (experiment.arms, arms))
    _check_reference(experiment, arms, planned, found, reference)
    columns, parts = ["dataset", *_KEYS, "label", "reference", *_COMPARED], []
    for dataset, group in done.groupby("dataset.name", sort=False):
        pairs = {key: found[key][0] for key in group["arm"].unique() if found.get(key)}
        if not pairs:  # nothing to compare it with, yet
            continue
        margin = margins.get(str(dataset))
        asked: dict[str, Any] = dict(
            arm="arm", reference=pairs, value=metric.column, margin=margin, direction=metric.direction
        )
        if experiment.looks:
            hypotheses = sum(experiment.arms[key].dataset == dataset for key in planned)
            compared = compare_at_looks(group, experiment.looks, hypotheses=hypotheses, **asked)
        else:
            compared = compare(group, **asked)
        if compared.empty:
            continue
        partner = compared["arm"].map(pairs)
        parts.append(compared.assign(
            dataset=dataset, partner=partner, label=compared["arm"].map(names), reference=partner.map(names),
            margin=margin, confounds=[_confounds(group, key, pairs[key], reference) for key in compared["arm"]],
        ))  # fmt: skip
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)


def _check_reference(
    experiment: Experiment, arms: Mapping[str, Arm], planned: Collection[str], found: Mapping[str, Sequence[str]],
    reference: str,
) -> None:  # fmt: skip
    """Refuse a reference that is no arm, or several.

    `arms` are the finished ones; `planned` are all that are to be compared with it, `found` the partners of those that
    are finished.
    """
    own_arms, names = referred(experiment.arms, reference), experiment.labels()
    if not own_arms or ("=" in reference and not planned):
        said = no_such_arm(experiment.arms, experiment.swept, reference)
        raise UserError(f"--reference={reference}: {experiment.name}: {said}")
    what = "with that value" if "=" in reference else "of that model"
    theirs = referred(arms, reference)
    for dataset in dict.fromkeys(arm.dataset for arm in arms.values()):
        own = [key for key in theirs if arms[key].dataset == dataset]
        compared = [len(others) for key, others in found.items() if arms[key].dataset == dataset]
        if not own:
            there = ", ".join(dict.fromkeys(names[key] for key in own_arms))
            raise UserError(f"--reference={reference}: no finished arm {what} on {dataset} ({there})")
        if (many := max(compared, default=1 if "=" in reference else len(own))) > 1:
            which = "; ".join(f"'{names[key]}'" for key in own[:4]) + "; ..." * (len(own) > 4)
            raise UserError(f"--reference={reference}: {many} finished arms {what} on {dataset}, must be one: "
                            f"name its values by KEY=VALUE ({which})")  # fmt: skip


def _confounds(runs: pd.DataFrame, arm: str, partner: str, reference: str) -> str:
    """Return the keys of `CONFOUNDS` in which two arms differ, with their values, as in "hidden (60 v 50)".

    Not that of KEY=VALUE: it is what they are compared in.
    """
    keys = [key for key in CONFOUNDS if key != reference.partition("=")[0]]
    ours, theirs = (runs.loc[runs["arm"] == name, keys].iloc[0] for name in (arm, partner))
    differing = ours.compare(theirs).itertuples()  # two that are missing are equal
    return ", ".join(f"{key.rpartition('.')[2]} ({one} v {other})" for key, one, other in differing)


def _parameters(runs: pd.DataFrame) -> list[str]:
    return [str(key) for key in runs if str(key).startswith("model.params.")]


def _varies(runs: pd.DataFrame, key: str) -> bool:
    """Tell whether runs differ in a key; that other models lack a parameter, or a start, is no difference."""
    if key.startswith(("model.params.", _START)):
        return runs[key].nunique() > 1 or bool(runs.groupby("model.name")[key].nunique(dropna=False).max() > 1)
    groups = runs.groupby("dataset.name" if key.startswith("dataset.") else lambda row: "all")
    return bool(groups[key].nunique(dropna=False).max() > 1)


def printable(table: pd.DataFrame, outcome: Outcome = DEFAULT) -> pd.DataFrame:
    """Return the table as text under its headings, nothing where there is no value.

    A column of confounds that has none is left out, and so is what a comparison without a margin does not have.
    """
    metric, compared = outcome.metric, "difference" in table
    if compared:
        unused = [] if table["confounds"].any() else ["confounds"]
        unused += [] if table["margin"].any() else ["margin", "p_equivalent", "seeds", "seeds_high"]
        table = table.drop(columns=unused)
    text = table.astype(object)
    for key in table.columns.intersection(["mean", "difference", "low", "high"]):
        text[key] = table[key].map(metric.difference if compared else metric.text, na_action="ignore")
    for key, form in _FORMATS.items():
        if key in table:
            text[key] = table[key].astype(float).map(form, na_action="ignore")
    return headed(text.where(table.notna(), "").astype(str), outcome)


def headed(table: pd.DataFrame, outcome: Outcome = DEFAULT) -> pd.DataFrame:
    """Return the table with headings instead of the names of its columns."""
    keys = {key: key.rpartition(".")[2] for key in (*OPTIONAL, *_parameters(table))}
    numbers = {**NUMBERS, "mean": outcome.heading}
    if "difference" in table:
        numbers = {
            **_COMPARED,
            "difference": f"difference in {outcome.label}{outcome.mark},{outcome.metric.unit}".rstrip(","),
        }
        numbers["improvement"] = "better in" if outcome.metric.direction else "higher in"
    return table.drop(columns=_KEYS, errors="ignore").rename(columns=keys | SHOWN | _DOSE | numbers)


def to_text(table: pd.DataFrame, outcome: Outcome = DEFAULT) -> str:
    """Return the table for a terminal."""
    return printable(table, outcome).to_string(index=False) if len(table) else "no finished runs"


def to_markdown(table: pd.DataFrame, outcome: Outcome = DEFAULT) -> str:
    """Return the table in Markdown; a | in a heading or a cell is none of the table's."""
    shown = printable(table, outcome).rename(columns=_no_bar).map(_no_bar)
    return shown.to_markdown(index=False, disable_numparse=True)


def _no_bar(text: object) -> str:
    return str(text).replace("|", r"\|")


def to_latex(table: pd.DataFrame, outcome: Outcome = DEFAULT) -> str:
    """Return the table in LaTeX, with booktabs rules."""
    return printable(table, outcome).to_latex(index=False, escape=True)


def to_csv(table: pd.DataFrame, outcome: Outcome = DEFAULT) -> str:
    """Return the table as comma-separated values in full precision."""
    return headed(table, outcome).to_csv(index=False)
