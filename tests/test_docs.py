"""The documents: every command in them is executed, in the order of its page, by somebody who has only that page."""

import os
import re
import shlex
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from conftest import REAL_DATA, ROOT

PAGES = [
    "README.md",
    *(f"docs/{name}.md" for name in ("tutorial", "own", "sweeps", "statistics", "figures", "cluster")),
]
ARCHIVES = ("runs", "filler-dose")
NOT_TRIED = ("make ", "pip ", "git ", "mkdir ", "#")
"""Beginnings of commands that install, or bring what these tests have already."""
TINY = {
    r"dataset=(mnist|cifar)\b(,cifar\b)?": "dataset=digits",
    r"'?seed=range\(1,\d\d+\)'?": "seed=range(1,4)",
    r"search\.trials=12": "search={trials: 2, confirm: 2}",
}
"""Of commands that would train for hours: what stands in the document -> what is executed."""


def blocks(page: str) -> Iterator[tuple[str, str, str]]:
    """Yield the line before each fenced block of a page, its language and its text."""
    lines = (ROOT / page).read_text().split("```")
    for before, inside in zip(lines[::2], lines[1::2], strict=False):
        language, _, text = inside.partition("\n")
        yield before.strip().rpartition("\n")[2], language, text


def commands(text: str) -> Iterator[list[str]]:
    for line in text.replace("\\\n", " ").splitlines():
        if line.strip() and not line.startswith(NOT_TRIED):
            yield shlex.split(line, comments=True)


def made_small(words: list[str]) -> list[str]:
    """Return a command as it is executed here: tiny runs, and here instead of on a cluster."""
    for pattern, other in TINY.items():
        words = [re.sub(pattern, other, word) for word in words]
    words = [word for word in words if not word.startswith(("hydra/launcher=slurm", "hydra.launcher."))]
    if "run.py" not in words or "--help" in words:
        return [word for word in words if word != "--watch"]
    named = any(word.startswith("experiment=") for word in words)  # its runs are in the archive, or it says itself
    looks = any("looks=" in word for word in words)
    words = [word for word in words if not (looks and word.startswith("seed="))] + ["seed=range(0,24)"] * looks
    return words + ["train.subset=64", "train.epochs=1"] * (not named)


def place(page: str, folder: Path) -> None:
    """Write the files that a page shows, of experiments with tiny runs, and unpack the runs that it looks at."""
    for before, language, text in blocks(page):
        (name,) = re.findall(r"`([\w./]+\.(?:py|yaml))`[^`]*$", before) or [""]
        if name and language in ("python", "yaml"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text + "train:\n  subset: 64\n" * ("experiment/" in name))
    if page == "docs/own.md":  # its mine.pt
        images = torch.randint(0, 255, (2500, 1, 28, 28), dtype=torch.uint8)
        pairs = images, torch.arange(2500) % 10
        torch.save([[part[:2000] for part in pairs], [part[2000:] for part in pairs]], folder / "mine.pt")
    if page in ("README.md", "docs/figures.md", "docs/statistics.md"):
        for name in ARCHIVES:
            with tarfile.open(ROOT / "docs/results" / f"{name}.tar.xz") as archive:
                archive.extractall(folder / "outputs", filter="data")


@pytest.mark.slow(minutes=2)
@pytest.mark.parametrize("page", PAGES)
def test_every_command_of_a_page_works(page: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    if page == "docs/sweeps.md":
        request.getfixturevalue("real_data")  # kernels of MNIST: those of the digits are others
    place(page, tmp_path)
    environment = os.environ | {"PYTHONPATH": str(ROOT), "WEIGHTNET_DATA": str(REAL_DATA)}
    tried = 0
    for before, language, text in blocks(page):
        for words in commands(text) if language == "" else ():
            assert words[0] == "python", words
            if any("search.trials" in word for word in words) and not find_spec("optuna"):
                continue  # an extra
            asked = [str(ROOT / word) if word == "run.py" else word for word in made_small(words)]
            done = subprocess.run(
                [sys.executable, *asked[1:]], cwd=tmp_path, env=environment, capture_output=True, text=True
            )
            expected = 2 if before == "<!-- wrong -->" else 0
            assert done.returncode == expected, (shlex.join(words), shlex.join(asked), done.stderr)
            tried += 1
    assert tried


def test_the_page_of_keys_is_that_of_the_code() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import make_reference as made; assert made.page() == made.PAGE.read_text()"],
        cwd=ROOT / "docs",
    )
    assert done.returncode == 0, "write it: python docs/make_reference.py"


@pytest.mark.slow
def test_the_comparisons_of_the_results_are_those_of_the_archived_runs() -> None:
    done = subprocess.run([sys.executable, "docs/make_results.py", "--check"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_the_pages_are_built_without_a_broken_link(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs", reason="mkdocs is not installed: pip install -e '.[dev]'")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-d", tmp_path]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
