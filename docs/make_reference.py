"""Every key of the command line, from where it is defined: `python docs/make_reference.py` writes keys.md.

What a key does is the docstring below its field, or the comment after it; a choice's is the first comment of its YAML.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "keys.md"
PLACES = {
    "weightnet/config.py": {
        "Config": "", "DatasetConfig": "dataset.", "ModelConfig": "model.", "DimsConfig": "dims.",
        "TrainConfig": "train.", "EvalConfig": "eval.", "AnalysisConfig": "analysis.",
    },
    "hydra_plugins/weightnet/study_sweeper.py": {"StudySweeperConfig": "hydra.sweeper."},
    "weightnet/sweep/search.py": {"SearchConfig": "hydra.sweeper.search."},
    "hydra_plugins/weightnet/local_launcher.py": {"LocalLauncherConfig": "hydra.launcher."},
    "weightnet/sweep/slurm.py": {"Options": "hydra.launcher."},
    "hydra_plugins/weightnet/slurm_launcher.py": {"SlurmLauncherConfig": "hydra.launcher."},
    "hydra_plugins/weightnet/ray_launcher.py": {"RayLauncherConfig": "hydra.launcher."},
}  # fmt: skip
"""File -> its classes, and what stands before the names of their fields on the command line."""

TITLES = {
    "Config": "The run",
    "LocalLauncherConfig": "hydra/launcher=local",
    "Options": "hydra/launcher=slurm",
    "SlurmLauncherConfig": "hydra/launcher=slurm, on your side",
    "RayLauncherConfig": "hydra/launcher=ray",
}
"""Class -> the heading of its table, where it is not what stands before its keys."""

DEFAULTS = {"config.yaml": "", "train/sgd.yaml": "train."}
"""Below conf: file -> what stands before its keys. Of keys without a default in their class."""

HEAD = """# Every key

*Made by `python docs/make_reference.py` from the code. `python run.py --cfg job` shows the values that a command line
gives. A key without a default has that of the choice (`dataset=`, `model=`, `dims=`).*

"""


def fields(path: Path, name: str) -> Iterator[tuple[str, str, str, str]]:
    """Yield name, type, default ("": none) and meaning of each field of a dataclass."""
    source = path.read_text()
    lines = source.splitlines()
    (found,) = [node for node in ast.parse(source).body if isinstance(node, ast.ClassDef) and node.name == name]
    for item, after in zip(found.body, [*found.body[1:], None], strict=True):
        if not isinstance(item, ast.AnnAssign) or not isinstance(item.target, ast.Name) or item.target.id[0] == "_":
            continue
        text = lines[item.lineno - 1][item.end_col_offset or 0 :].partition("# ")[2]
        if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
            text = str(after.value.value)
        default = ast.unparse(item.value) if item.value else ""
        default = {"field(default_factory=list)": "[]", "field(default_factory=dict)": "{}"}.get(default, default)
        if isinstance(item.value, ast.Constant):
            default = as_yaml(item.value.value)
        yield item.target.id, ast.unparse(item.annotation), default, " ".join(text.split())


def as_yaml(value: Any) -> str:
    """Return a value that is no list and no mapping, as one gives it on the command line."""
    return yaml.safe_dump(value).splitlines()[0].strip("'")


def set_in_yaml() -> dict[str, str]:
    """Return key -> its value in the files of `DEFAULTS`."""
    found: dict[str, str] = {}
    for file, prefix in DEFAULTS.items():
        for key, value in yaml.safe_load((ROOT / "conf" / file).read_text()).items():
            if isinstance(value, dict):
                found |= {f"{prefix}{key}.{name}": as_yaml(one) for name, one in value.items() if key != "hydra"}
            elif not isinstance(value, list):
                found[f"{prefix}{key}"] = as_yaml(value)
    return found


def table(path: Path, name: str, prefix: str) -> list[str]:
    """Return the lines of one class's table."""
    rows, given = ["| key | type | default | |", "| --- | --- | --- | --- |"], set_in_yaml()
    for key, kind, default, text in fields(path, name):
        if not kind.endswith("Config"):  # a group: it has a table of its own
            cells = [f"`{prefix}{key}`", kind, default or given.get(prefix + key, ""), text]
            rows.append("| " + " | ".join(cell.replace("|", "&#124;") for cell in cells) + " |")
    return rows


def choices(group: Path) -> list[str]:
    """Return the lines that tell the choices of a group."""
    rows = [f"| `{group.name}=` | |", "| --- | --- |"]
    for path in sorted(group.glob("*.yaml")):
        comments = re.match(r"(?:# @.*\n)?((?:#.*\n)*)", path.read_text())
        text = " ".join(line.lstrip("# ") for line in comments[1].splitlines()) if comments else ""
        first = re.match(r".*?[.?!](?= |$)", text)
        said = first[0] if first else text
        rows.append(f"| `{path.stem}` | {said.replace('|', '&#124;')} |")
    return rows


def page() -> str:
    """Return the whole page."""
    parts = [HEAD + "## Choices\n"]
    for group in ("dataset", "model", "dims", "train", "experiment"):
        parts.append("\n".join(choices(ROOT / "conf" / group)) + "\n")
    for place, classes in PLACES.items():
        for name, prefix in classes.items():
            parts.append(
                "\n".join([f"## {TITLES.get(name, prefix[:-1])}\n", *table(ROOT / place, name, prefix)]) + "\n"
            )
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page())
