"""Final accuracy per arm: mean, 95% interval, n; and paired differences."""

import pandas as pd

from analysis.experiments import Experiment
from analysis.stats import compare, summarise
from weightnet.errors import UserError

SHOWN = {
    "dataset.name": "dataset", "model.name": "model", "dims.dx": "dx", "dims.m": "m", "dims.n": "n (kernel)",
    "dims.hidden": "hidden", "train.epochs": "epochs",
}  # fmt: skip
"""Config keys that every table shows -> the column's heading."""

OPTIONAL = [
    "dataset.channels", "dataset.mean", "dataset.std", "model.kind", "model.scale", "train.precision",
    "train.batch_size", "train.test_batch_size", "train.lr", "train.momentum", "train.subset", "eval.feedback",
    "device", "threads",
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

DIFFERENCE_FORMATS = {
    **dict.fromkeys(("difference", "low", "high"), "{:+.3f}"), **dict.fromkeys(("p", "p_equivalent"), "{:.3f}"),
    "improvement": "{:.0%}", "seeds": "{:.0f}",
}  # fmt: skip
NUMBER_FORMATS = dict.fromkeys(("mean", "low", "high"), "{:.2f}")


def accuracy_table(runs: pd.DataFrame) -> pd.DataFrame:
    """Return one row an arm, with the mean accuracy in % after the last epoch, its 95% t-interval and n.

    Of the runs (`analysis.load.Runs.runs`), those that are not done are left out. Runs on another device or number of
    threads are an arm of their own.
    """
    done, arm = runs[runs["status"] == "done"], ["arm", "device", "threads"]
    if done.empty:
        return pd.DataFrame(columns=[*SHOWN, *NUMBERS])
    keys = [*SHOWN, *(key for key in OPTIONAL if _varies(done, key))]
    table = summarise(done, by=arm, value="accuracy").merge(done.drop_duplicates(arm), on=arm)[[*keys, *NUMBERS]]
    return table.astype({key: "Int64" for key in ("dims.dx", "dims.m", "dims.n", "train.subset") if key in table})


def difference_table(runs: pd.DataFrame, experiment: Experiment, reference: str, *, margin: float) -> pd.DataFrame:
    """Return one row an arm: its accuracy after the last epoch minus the reference's, paired by seed, and a verdict.

    The runs are the experiment's, in the order of its arms; the reference is a model with one arm a data set; margin:
    percentage points. The last column names what both differ in besides the feedback (`CONFOUNDS`).

    Raises:
        UserError: there is no such arm, or more than one.
    """
    done = runs[runs["status"] == "done"]
    done = done.assign(label=done["arm"].map({key: arm.label for key, arm in experiment.arms.items()}))
    columns, parts = ["dataset", "label", "reference", *DIFFERENCES], []
    for dataset, group in done.groupby("dataset.name", sort=False):
        arms = group.loc[group["model.name"] == reference, "label"].unique()
        if len(arms) != 1:
            models = ", ".join(dict.fromkeys(arm.model for arm in experiment.arms.values()))
            raise UserError(f"--reference={reference}: {len(arms)} finished arms of that model on {dataset}, must be "
                            f"one (models of {experiment.name}: {models})")  # fmt: skip
        if group["label"].nunique() == 1:  # nothing to compare it with, yet
            continue
        compared = compare(group, arm="label", reference=arms[0], value="accuracy", margin=margin)
        confounds = [_confounds(group, label, arms[0]) for label in compared["label"]]
        parts.append(compared.assign(dataset=dataset, reference=arms[0], confounds=confounds))
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)


def _confounds(runs: pd.DataFrame, label: str, reference: str) -> str:
    """Return the keys of `CONFOUNDS` in which two arms differ, with their values, as in "hidden (60 v 50)"."""
    ours, theirs = (runs.loc[runs["label"] == name, CONFOUNDS].iloc[0] for name in (label, reference))
    differing = ours.compare(theirs).itertuples()  # two that are missing are equal
    return ", ".join(f"{key.rpartition('.')[2]} ({one} v {other})" for key, one, other in differing)


def _varies(runs: pd.DataFrame, key: str) -> bool:
    groups = runs.groupby("dataset.name" if key.startswith("dataset.") else lambda row: "all")
    return bool(groups[key].nunique(dropna=False).max() > 1)


def printable(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table as text under its headings, nothing where there is no value.

    Two decimals, three for p-values and differences. A column of confounds that has none is left out.
    """
    if "confounds" in table and not table["confounds"].any():
        table = table.drop(columns="confounds")
    text = table.astype(object)
    for key, form in (DIFFERENCE_FORMATS if "difference" in table else NUMBER_FORMATS).items():
        text[key] = table[key].map(form.format, na_action="ignore")
    return headed(text.where(table.notna(), "").astype(str))


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
