"""What an export wrote, as each tracker's own reader has it."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd

Found = dict[str, tuple[str, dict[int, float]]]
"""Run -> its state, and epoch -> accuracy."""


def found(kind: str, outputs: Path) -> Found:
    """Return the state of each run, and its accuracy by epoch, as the tracker's own reader has it."""
    root, read = outputs / "export" / kind, {"tensorboard": _tensorboard, "mlflow": _mlflow, "wandb": _wandb}
    return read[kind](root) if kind in read else _table(root, kind)


def _table(root: Path, kind: str) -> Found:
    read: Callable[[Path], pd.DataFrame] = pd.read_csv if kind == "csv" else pd.read_parquet
    runs, epochs = (read(root / f"{name}.{kind}") for name in ("runs", "epochs"))
    curves = {run: dict(zip(own["epoch"], own["accuracy"], strict=True)) for run, own in epochs.groupby("run")}
    states = runs["status"].mask(runs["diverged"].astype(bool), "diverged")
    return {run: (state, curves.get(run, {})) for run, state in zip(runs["run"], states, strict=True)}


def _tensorboard(root: Path) -> Found:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams import metadata

    read = {}
    for folder in root.glob("[!.]*"):
        events = EventAccumulator(str(folder)).Reload()
        if metadata.SESSION_START_INFO_TAG not in (about := events.summary_metadata):
            continue
        points = events.Scalars("accuracy") if "accuracy" in events.Tags()["scalars"] else []
        curve = {point.step: point.value for point in points}
        info = metadata.parse_session_start_info_plugin_data(about[metadata.SESSION_START_INFO_TAG].plugin_data.content)
        assert len(points) == len(curve) and info.group_name == folder.name
        read[folder.name] = info.hparams["state"].string_value, curve
    return read


def _mlflow(root: Path) -> Found:
    from mlflow import MlflowClient

    client, read = MlflowClient(f"sqlite:///{root}/mlflow.db"), {}
    for run in client.search_runs([place.experiment_id for place in client.search_experiments()]):
        points = client.get_metric_history(run.info.run_id, "accuracy")
        curve = {point.step: point.value for point in points}
        assert len(points) == len(curve) and run.info.run_name not in read
        read[run.info.run_name] = run.data.tags["weightnet.state"], curve
    return {name: value for name, value in read.items() if not name.startswith("figures-")}


def _wandb(root: Path) -> Found:
    read = {}
    for log in root.glob("wandb/offline-run-*/*.wandb"):
        words = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(log)]
        lines = subprocess.run(words, check=True, capture_output=True, text=True).stdout.splitlines()
        records = [json.loads(line) for line in lines]
        (run,) = (record["run"] for record in records if record["type"] == "run")
        points = [record["history"]["item"] for record in records if record["type"] == "history"]
        curve = {point["_step"]: point["accuracy"] for point in points if "accuracy" in point}
        assert run["display_name"] not in read
        read[run["display_name"]] = run["tags"][0], curve
    return {name: value for name, value in read.items() if not name.startswith("figures-")}
