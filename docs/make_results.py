"""Write the tables of results/README.md, and the pictures and CSV files beside it, again from the archived runs.

python docs/make_results.py [--check]

A table of the page is that of the command at the end of the paragraph above it. --check writes nothing, and fails where
a comparison on the page is not what its command prints; the other tables also count stale runs, which any edit makes.
"""

import re
import shlex
import shutil
import sys
import tarfile
import tempfile
from contextlib import chdir, redirect_stderr, redirect_stdout
from difflib import unified_diff
from io import StringIO
from pathlib import Path

from analysis.__main__ import main as analysis

FOLDER = Path(__file__).resolve().parent / "results"
ARCHIVES = {"outputs": ["filler-dose", "fair", "published", "twenty-epochs"], "outputs/older": ["runs"]}
"""Root of all output -> what is unpacked into it."""

TABLE = re.compile(r"(?P<above>`python -m analysis (?P<words>table [^`]+)`(?:(?!\n\n)[^`])*\n\n)(?P<table>(?:\|.*\n)+)")
"""A command, at the end of a paragraph, and the table below it."""

OLDER = "--outputs outputs/older"
OWN = "--config-dir docs/results/own"
CIFAR_DOSES = "dataset=cifar model.params.gain=0.25,0.5,1,2,4"
FILES = {
    "fig1 'seed=range(1,21)'": {"fig1.png": "fig1.png"},
    "fig2 seed=1,2,3": {"fig2.png": "fig2.png"},
    "fig3 'seed=range(1,21)'": {"fig3.png": "fig3.png"},
    "fig4 seed=1,2,3": {"fig4.png": "fig4.png"},
    "fig3 train.init=notebook 'seed=range(1,21)'": {
        "fig3-train.init=notebook-differences.png": "fig3-notebook-init-differences.png",
    },
    "filler": {
        "filler-differences.png": "filler-cifar-differences.png",
        "filler-differences-by-epoch.png": "filler-cifar-by-epoch.png",
    },
    "filler dataset=mnist 'seed=range(21,41)'": {
        "filler-dataset=mnist-seed=range_21,41_-differences.png": "filler-mnist-differences.png",
    },
    f"length {OWN}": {
        "length-differences-by-epoch.png": "length-by-epoch.png",
        "length-feedback.png": "length-feedback.png",
    },
    f"dose {CIFAR_DOSES} --x dose": {
        f"dose-{CIFAR_DOSES.replace(' ', '-')}-dose-differences-by-dose.png": "dose-cifar-differences.png",
    },
    "dose dataset=mnist --x dose": {
        "dose-dataset=mnist-dose-differences-by-dose.png": "dose-mnist-differences.png",
        "dose-dataset=mnist-dose.png": "dose-mnist.png",
    },
    "controlled_cifar": {
        "controlled_cifar-differences.png": "twenty-epochs-differences.png",
        "controlled_cifar-differences-by-epoch.png": "twenty-epochs-by-epoch.png",
    },
    "fair": {"fair-differences.png": "fair-differences.png", "fair.png": "fair.png"},
    f"controlled --data {OLDER}": {
        "controlled-differences.png": "controlled-mnist-differences.png",
        "controlled-final.png": "controlled-mnist-final.png",
        "controlled-final.csv": "controlled-mnist.csv",
    },
    f"controlled dataset=cifar --data {OLDER}": {
        "controlled-dataset=cifar-differences.png": "controlled-cifar-differences.png",
        "controlled-dataset=cifar-final.png": "controlled-cifar-final.png",
        "controlled-dataset=cifar-final.csv": "controlled-cifar.csv",
    },
    f"kernels --data {OLDER}": {
        "kernels-differences-by-m.png": "kernels-differences-by-m.png",
        "kernels.png": "kernels.png",
        "kernels-differences.csv": "kernels.csv",
    },
}
"""Words after `python -m analysis figures` -> what they write that is shown, each with its name on the page."""


def unpack() -> None:
    """Unpack the archives below the working directory, beside what the commands name."""
    Path("docs").symlink_to(FOLDER.parent)
    for root, names in ARCHIVES.items():
        for name in names:
            with tarfile.open(FOLDER / f"{name}.tar.xz") as archive:
                archive.extractall(root, filter="data")


def printed(words: str) -> str:
    """Return what `python -m analysis` prints with these words; SystemExit: what it says is wrong with them."""
    out, said = StringIO(), StringIO()
    try:
        with redirect_stdout(out), redirect_stderr(said):
            analysis(shlex.split(words))
    except SystemExit:
        raise SystemExit(f"{words}: {said.getvalue()}") from None
    return out.getvalue()


def rewritten(page: str, *, differences: bool = False) -> str:
    """Return a page with each table as its command prints it now; `differences`: of the comparisons alone."""

    def again(found: re.Match[str]) -> str:
        words = " ".join(found["words"].split())
        return found[0] if differences and "--reference" not in words else found["above"] + printed(words)

    made, count = TABLE.subn(again, page)
    if count != len(re.findall(r"^\n\|", page, re.MULTILINE)):
        raise SystemExit("each table of the page takes its `python -m analysis table ...` just above it")
    return made


def main() -> None:
    """Check, or write."""
    path, check = FOLDER / "README.md", "--check" in sys.argv[1:]
    page = path.read_text()
    with tempfile.TemporaryDirectory() as scratch, chdir(scratch):
        unpack()
        made = rewritten(page, differences=check)
        if check:
            sys.exit("".join(unified_diff(page.splitlines(True), made.splitlines(True), "the page", "printed")) or 0)
        for words, names in FILES.items():
            printed(f"figures {words}")
            for name, shown in names.items():
                shutil.copy(Path("outputs/older" if OLDER in words else "outputs", "figures", name), FOLDER / shown)
        path.write_text(made)


if __name__ == "__main__":
    main()
