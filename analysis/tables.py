"""Final accuracy per arm: mean, 95% interval, n."""

import pandas as pd

from analysis.stats import summarise

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

NUMBERS = {"mean": "accuracy %", "low": "95% low", "high": "95% high", "n": "n (seeds)"}


def accuracy_table(runs: pd.DataFrame) -> pd.DataFrame:
    """Return one row an arm, with the mean accuracy in % after the last epoch, its 95% t-interval and n.

    Runs that are not done are left out. Runs on another device or number of threads are an arm of their own.

    Args:
        runs: `analysis.load.Runs.runs` or a part of it.
    """
    done = runs[runs["status"] == "done"]
    if done.empty:
        return pd.DataFrame(columns=[*SHOWN.values(), *NUMBERS.values()])
    varying = [key for key in OPTIONAL if _varies(done, key)]
    headings = SHOWN | {key: key.rpartition(".")[2] for key in varying}
    data = done.assign(accuracy=100 * done["test_accuracy"].astype(float))
    summary = summarise(data, by=["arm", "device", "threads"], value="accuracy")
    arms = data.drop_duplicates(["arm", "device", "threads"])[list({"arm", "device", "threads", *headings})]
    table = summary.merge(arms, on=["arm", "device", "threads"])
    table = table[[*headings, *NUMBERS]].rename(columns=headings | NUMBERS)
    whole = [heading for heading in ("dx", "m", "n (kernel)", "subset") if heading in table]
    return table.astype({heading: "Int64" for heading in whole})


def _varies(runs: pd.DataFrame, key: str) -> bool:
    if key.startswith("dataset."):
        return bool(runs.groupby("dataset.name")[key].nunique(dropna=False).max() > 1)
    return runs[key].nunique(dropna=False) > 1


def _printable(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table as text: two decimals, nothing where there is no value."""
    numbers = [heading for heading in NUMBERS.values() if heading != NUMBERS["n"]]
    text = table.astype(object).where(table.notna(), "")
    for heading in numbers:
        text[heading] = [f"{value:.2f}" if value != "" else "" for value in text[heading]]
    return text.astype(str)


def to_text(table: pd.DataFrame) -> str:
    """Return the table for a terminal."""
    return _printable(table).to_string(index=False) if len(table) else "no finished runs"


def to_markdown(table: pd.DataFrame) -> str:
    """Return the table in Markdown."""
    return _printable(table).to_markdown(index=False, disable_numparse=True)


def to_latex(table: pd.DataFrame) -> str:
    """Return the table in LaTeX, with booktabs rules."""
    return _printable(table).to_latex(index=False, escape=True)


def to_csv(table: pd.DataFrame) -> str:
    """Return the table as comma-separated values in full precision."""
    return table.to_csv(index=False)
