"""Damages every file of a run at random, and counts what becomes of it.

    python -m benchmarks.mutations --each 2000 --seed 1

Named: the run is skipped and the reason said, or the checkpoint is refused. Right: the numbers read are those that were
there. Wrong: other numbers are taken for results. The mutations of `tests/test_damage.py`, by the thousand.
"""

import argparse
import random
import shutil
import tempfile
from collections import Counter
from pathlib import Path

import pandas as pd

from analysis.load import Runs, load_runs
from benchmarks import compose
from weightnet.errors import RunFailed
from weightnet.runs import checkpoint
from weightnet.runs.folder import RunFolder
from weightnet.runs.job import run

FILES = ("config.yaml", "metrics.csv", "steps.csv", "feedback.csv", "run.json", "run.log")
KINDS = ("flip", "digit", "cut", "insert", "delete", "repeat", "empty", "swap")
_OF_THE_FILE = ("path", "age", "written", "origin")  # columns that are no results


def mutated(content: bytes, kind: str, chance: random.Random) -> bytes:
    """Return what a mutation makes of a file's content."""
    place, other = chance.randrange(len(content)), chance.randrange(len(content))
    match kind:
        case "flip":
            return content[:place] + bytes([content[place] ^ 1 << chance.randrange(8)]) + content[place + 1 :]
        case "digit":  # a number that looks as good as the one before
            places = [i for i, sign in enumerate(content) if chr(sign).isdecimal()]
            place = chance.choice(places) if places else place
            return content[:place] + str(chance.randrange(10)).encode() + content[place + 1 :]
        case "cut":
            return content[:place]
        case "insert":
            return content[:place] + content[other : other + 20] + content[place:]
        case "repeat":
            lines = content.splitlines(keepends=True)
            return b"".join([*lines, chance.choice(lines)])
    return b""


def mutate(path: Path, other: Path, kind: str, chance: random.Random) -> None:
    """Damage a file; `other` is the file of that name of another run."""
    if kind == "delete":
        path.unlink()
    else:
        path.write_bytes(other.read_bytes() if kind == "swap" else mutated(path.read_bytes(), kind, chance))


def verdict(right: Runs, outputs: Path, run_id: str) -> str:
    """Return what became of the damaged run among others: `named`, `right` or `wrong`."""
    loaded = load_runs(outputs)
    for whole, made in ((right.runs, loaded.runs), (right.epochs, loaded.epochs)):
        columns = [column for column in whole if column not in _OF_THE_FILE]
        expected = whole.loc[whole["run"].isin(loaded.runs["run"]), columns]
        if expected.astype(str).values.tolist() != made[columns].astype(str).values.tolist():
            return "wrong"
    if run_id in set(loaded.runs["run"]):
        return "right"
    lines = [line for line in loaded.skipped if run_id in line]
    return "named" if len(loaded.skipped) == len(lines) == 1 and "\n" not in lines[0] else "wrong"


def _checkpoint_verdict(folder: RunFolder, content: bytes, kind: str, chance: random.Random) -> str:
    path, damaged = folder.path / checkpoint.NAME, mutated(content, kind, chance)
    path.write_bytes(damaged)
    try:
        checkpoint.load(folder, "cpu")
    except ValueError:
        return "named"
    return "right" if damaged == content else "wrong"


def main() -> None:
    """Damage, count and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mutations")
    parser.add_argument("--each", type=int, default=2000, help="mutations of each file")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    chance, counts = random.Random(options.seed), dict[str, Counter[str]]()
    with tempfile.TemporaryDirectory() as root:
        words = ["dataset=digits", "model=pool", "train.epochs=2", "device=cpu", f"outputs={root}/whole"]
        first, second = (run(compose(*words, f"seed={seed}")).folder for seed in (1, 2))
        right = load_runs(Path(root, "whole"))
        for name in FILES:
            counts[name] = Counter()
            for _ in range(options.each):
                copy = Path(shutil.copytree(Path(root, "whole"), Path(root, "copy")))
                mutate(copy / "runs" / first.name / name, second / name, chance.choice(KINDS), chance)
                counts[name][verdict(right, copy, first.name)] += 1
                shutil.rmtree(copy)
        config = compose(*words, "seed=3")
        try:
            run(config, stop=lambda: True)
        except (KeyboardInterrupt, RunFailed):
            folder = RunFolder(first.parent / next(p.name for p in first.parent.glob("*-s3-*")))
            content = (folder.path / checkpoint.NAME).read_bytes()
            kinds = [kind for kind in KINDS if kind not in ("delete", "swap")]
            counts[checkpoint.NAME] = Counter(
                _checkpoint_verdict(folder, content, chance.choice(kinds), chance) for _ in range(options.each)
            )
    table = pd.DataFrame(counts).T.reindex(columns=["named", "right", "wrong"]).fillna(0).astype(int)
    table.insert(0, "mutations", options.each)
    print(table.to_markdown())


if __name__ == "__main__":
    main()
