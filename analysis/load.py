"""Run folders -> tidy data frames."""

import json
import os
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from weightnet.errors import UserError

SafeLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's, where PyYAML was built with it: 8x

METRICS = ["epoch", "step", "train_loss", "test_loss", "test_accuracy", "seconds"]
RECORD = ["status", "arm", "signature", "code", "started", "finished", "parameters", "dw", "host", "pid", "versions"]


@dataclass(frozen=True, slots=True)
class Runs:
    """All runs below an output root."""

    outputs: Path
    runs: pd.DataFrame
    """One row a run: `run`, `path`, run.json's fields, every key of config.yaml ("model.name"), the last epoch's
    metrics, and `age`, seconds since the last write. `status` is `interrupted` where the process is gone."""
    epochs: pd.DataFrame
    """Tidy: one row an epoch of a run, with the columns of metrics.csv, `me_norm` and `me_change`
    (of feedback.csv), and those of `runs` but its metrics."""
    skipped: list[str]
    """The folders that could not be read, and why: they are in neither frame."""


def load_runs(outputs: str | Path) -> Runs:
    """Read every run folder below `<outputs>/runs`; name those that are broken or half-written."""
    rows, curves, skipped = [], [], []
    folders = sorted(path for path in (Path(outputs) / "runs").glob("*") if path.is_dir())
    for folder in folders:
        if folder.name.startswith("."):
            continue
        try:
            row, curve = _read_run(folder)
        except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            skipped.append(f"{folder}: {reason}")
            continue
        rows.append(row | _last(curve))
        curves.append(curve.assign(**{key: [value] * len(curve) for key, value in row.items()}))
    runs = pd.DataFrame(rows) if rows else pd.DataFrame(columns=["run", "path", *RECORD, *METRICS, "age"])
    epochs = pd.concat(curves, ignore_index=True) if curves else pd.DataFrame(columns=["run", *RECORD, *METRICS])
    return Runs(Path(outputs), runs, epochs, skipped)


def report_skipped(loaded: Runs) -> None:
    """Name on stderr the folders that could not be read."""
    for line in loaded.skipped:
        print(f"skipped {line}", file=sys.stderr)


def refuse_mixture(runs: pd.DataFrame) -> None:
    """Refuse runs that were made by different code or versions: their numbers need not be comparable.

    Raises:
        UserError: names what differs, and how to go on.
    """
    mixed = []
    for key in ["code", *(column for column in runs.columns if str(column).startswith("version."))]:
        counts = runs[key].value_counts(dropna=False)
        if len(counts) > 1:
            values = ", ".join(
                f"{value} ({count} {'run' if count == 1 else 'runs'})" for value, count in counts.items()
            )
            mixed.append(f"{key.removeprefix('version.')} {values}")
    if mixed:
        raise UserError(
            f"these runs differ in {'; '.join(mixed)}: run the older ones again (the same sweep with "
            "hydra.sweeper.rerun=stale), or compare them all the same with --mixed"
        )


def _read_run(folder: Path) -> tuple[dict[str, Any], pd.DataFrame]:
    """Return a run's row and its curve; raise whatever is wrong with its files."""
    for name in ("run.json", "config.yaml", "metrics.csv"):
        if not (folder / name).exists():
            raise ValueError(f"no {name}")
    record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    config = yaml.load((folder / "config.yaml").read_text(encoding="utf-8"), Loader=SafeLoader)
    curve = pd.read_csv(folder / "metrics.csv", dtype=dict.fromkeys(METRICS, float))
    if list(curve.columns) != METRICS:
        raise ValueError(f"metrics.csv has columns {list(curve.columns)}")
    if not isinstance(record, dict) or not isinstance(config, dict):
        raise ValueError("run.json or config.yaml is not a mapping")
    if curve["epoch"].tolist() != list(range(1, len(curve) + 1)):
        raise ValueError("metrics.csv does not have every epoch once")
    if missing := [field for field in RECORD if field not in record]:
        raise ValueError(f"run.json has no {', '.join(missing)}")
    curve = curve.astype({"epoch": int, "step": int}).merge(_feedback(folder), on="epoch", how="left")
    row = {
        "run": folder.name,
        "path": str(folder),
        **{field: record[field] for field in RECORD if field != "versions"},
        **{f"version.{package}": version for package, version in record["versions"].items()},
        **flat(config),
    }
    if row["status"] == "done" and len(curve) != row["train.epochs"]:
        raise ValueError(f"done, but metrics.csv has {len(curve)} of {row['train.epochs']} epochs")
    if row["status"] == "running" and _is_gone(row["host"], row["pid"]):
        row["status"] = "interrupted"
    return row | {"age": _age(folder)}, curve


def _feedback(folder: Path) -> pd.DataFrame:
    """Return feedback.csv as `epoch`, `me_norm`, `me_change`; empty where the run has none."""
    path = folder / "feedback.csv"
    columns = {"norm": "me_norm", "change": "me_change"}
    if not path.exists():
        return pd.DataFrame(columns=["epoch", *columns.values()], dtype=float)
    return pd.read_csv(path, dtype={"epoch": int, "norm": float, "change": float}).rename(columns=columns)


def flat(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested keys joined by dots; lists as text, so that columns can be grouped and compared."""
    joined: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, dict):
            joined |= flat(value, f"{prefix}{key}.")
        else:
            joined[prefix + key] = str(value) if isinstance(value, list) else value
    return joined


def _last(curve: pd.DataFrame) -> dict[str, Any]:
    if curve.empty:
        return {**dict.fromkeys(METRICS), "epoch": 0, "seconds": 0.0}
    return {
        **{str(column): value for column, value in curve.iloc[-1].items()},
        "epoch": len(curve),
        "seconds": curve["seconds"].sum(),
    }


def _is_gone(host: str, pid: int) -> bool:
    """Tell whether a process of this machine has ended; of another machine's one cannot know."""
    if host != socket.gethostname():
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    return False


def _age(folder: Path) -> float:
    """Return the seconds since the run's last write."""
    newest = max((folder / name).stat().st_mtime for name in ("run.json", "metrics.csv"))
    return pd.Timestamp.now().timestamp() - newest
