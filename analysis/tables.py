"""Final accuracy per arm: mean, 95% interval, n; and paired differences."""

import pandas as pd

from analysis.experiments import Experiment
from analysis.stats import compare, summarise
from weightnet.errors import UserError

SHOWN = {
    "dataset.name": "dataset",
    "model.name": "model",
    "dims.dx": "dx",
    "dims.m": "m",
    "dims.n": "n (kernel)",
    "dims.hidden": "hidden",
    "train.epochs": "epochs",
}
"""Config keys that every table shows -> the column's heading."""

OPTIONAL = [
    "dataset.channels", "dataset.mean", "dataset.std", "model.kind", "model.scale", "train.precision",
    "train.batch_size", "train.test_batch_size",
    "train.lr", "train.momentum", "train.subset", "eval.feedback", "device", "threads",
]  # fmt: skip
"""Config keys that are shown where the runs differ in them, those of the data set where the runs of one set do."""

CONFOUNDS = ["dims.hidden", "train.epochs", *(key for key in OPTIONAL if key.split(".")[0] not in ("model", "eval"))]
"""Config keys that are no part of what an arm feeds back: a comparison of arms that differ in them says so."""

DIFFERENCES = {
    "difference": "difference, points", "low": "95% low", "high": "95% high", "n": "n (pairs)", "verdict": "verdict",
    "p": "p", "p_equivalent": "p (TOST)", "improvement": "better in", "seeds": "more seeds",
    "confounds": "also differs in",
}  # fmt: skip
"""Columns of a comparison -> their headings."""

NUMBERS = {"mean": "accuracy %", "low": "95% low", "high": "95% high", "n": "n (seeds)"}
"""Columns of accuracies -> their headings."""


def accuracy_table(runs: pd.DataFrame) -> pd.DataFrame:
    """Return one row an arm, with the mean accuracy in % after the last epoch, its 95% t-interval and n.

    Runs that are not done are left out. Runs on another device or number of threads are an arm of their own.

    Args:
        runs: `analysis.load.Runs.runs` or a part of it.
    """
    done = runs[runs["status"] == "done"]
    if done.empty:
        return pd.DataFrame(columns=[*SHOWN, *NUMBERS])
    keys = [*SHOWN, *(key for key in OPTIONAL if _varies(done, key))]
    data = done.assign(accuracy=100 * done["test_accuracy"].astype(float))
    summary = summarise(data, by=["arm", "device", "threads"], value="accuracy")
    arms = data.drop_duplicates(["arm", "device", "threads"])[list({"arm", "device", "threads", *keys})]
    table = summary.merge(arms, on=["arm", "device", "threads"])[[*keys, *NUMBERS]]
    return table.astype({key: "Int64" for key in ("dims.dx", "dims.m", "dims.n", "train.subset") if key in table})


def difference_table(runs: pd.DataFrame, experiment: Experiment, reference: str, *, margin: float) -> pd.DataFrame:
    """Return one row an arm: its accuracy after the last epoch minus the reference's, paired by seed, and a verdict.

    The last column names what arm and reference differ in besides the feedback (`CONFOUNDS`).

    Args:
        runs: of the experiment.
        experiment: gives the arms their labels.
        reference: a model of the experiment that has one arm a data set.
        margin: the smallest difference worth having, in percentage points.

    Raises:
        UserError: there is no such arm, or more than one.
    """
    done, labels = runs[runs["status"] == "done"], {key: arm.label for key, arm in experiment.arms.items()}
    data = done.assign(accuracy=100 * done["test_accuracy"].astype(float), label=done["arm"].map(labels))
    order = list(labels.values())
    parts = []
    for dataset, group in data.groupby("dataset.name", sort=False):
        arms = group.loc[group["model.name"] == reference, "label"].unique()
        if len(arms) != 1:
            models = ", ".join(dict.fromkeys(arm.model for arm in experiment.arms.values()))
            raise UserError(
                f"--reference={reference}: {len(arms)} finished arms of that model on {dataset}, must be one "
                f"(models of {experiment.name}: {models})"
            )
        ordered = group.sort_values("label", key=lambda labels: labels.map(order.index), kind="stable")
        compared = compare(ordered, arm="label", reference=arms[0], value="accuracy", margin=margin)
        confounds = [_confounds(group, label, arms[0]) for label in compared["label"]]
        parts.append(compared.assign(dataset=dataset, reference=arms[0], confounds=confounds))
    table = (
        pd.concat(parts, ignore_index=True)
        if parts
        else pd.DataFrame(columns=["dataset", "label", "reference", *DIFFERENCES])
    )
    return table[["dataset", "label", "reference", *DIFFERENCES]]


def _confounds(runs: pd.DataFrame, label: str, reference: str) -> str:
    """Return the keys of `CONFOUNDS` in which two arms differ, with their values, as in "hidden (60 v 50)"."""
    (_, ours), (_, theirs) = (next(runs[runs["label"] == name].iterrows()) for name in (label, reference))
    differing = [
        key for key in CONFOUNDS if ours[key] != theirs[key] and not (pd.isna(ours[key]) and pd.isna(theirs[key]))
    ]
    return ", ".join(f"{key.rpartition('.')[2]} ({ours[key]} v {theirs[key]})" for key in differing)


def _varies(runs: pd.DataFrame, key: str) -> bool:
    if key.startswith("dataset."):
        return bool(runs.groupby("dataset.name")[key].nunique(dropna=False).max() > 1)
    return runs[key].nunique(dropna=False) > 1


def printable(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table as text under its headings, nothing where there is no value.

    Two decimals, three for p-values and differences. A column of confounds that has none is left out.
    """
    formats = dict.fromkeys(["mean", "low", "high"], "{:.2f}")
    if "difference" in table:
        formats = {
            **dict.fromkeys(["difference", "low", "high"], "{:+.3f}"), **dict.fromkeys(["p", "p_equivalent"], "{:.3f}"),
            "improvement": "{:.0%}", "seeds": "{:.0f}",
        }  # fmt: skip
    if "confounds" in table and not table["confounds"].any():
        table = table.drop(columns="confounds")
    text = table.astype(object).where(table.notna(), "")
    for key, form in formats.items():
        text[key] = [form.format(value) if value != "" else "" for value in text[key]]
    return headed(text.astype(str))


def headed(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with headings instead of the names of its columns."""
    keys = {key: key.rpartition(".")[2] for key in OPTIONAL}
    return table.rename(columns=keys | SHOWN | (DIFFERENCES if "difference" in table else NUMBERS))


def to_text(table: pd.DataFrame) -> str:
    """Return the table for a terminal."""
    return printable(table).to_string(index=False) if len(table) else "no finished runs"


def to_markdown(table: pd.DataFrame) -> str:
    """Return the table in Markdown."""
    return printable(table).to_markdown(index=False, disable_numparse=True)


def to_latex(table: pd.DataFrame) -> str:
    """Return the table in LaTeX, with booktabs rules."""
    return printable(table).to_latex(index=False, escape=True)


def to_csv(table: pd.DataFrame) -> str:
    """Return the table as comma-separated values in full precision."""
    return headed(table).to_csv(index=False)
