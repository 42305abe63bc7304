"""Packs the finished runs of an output folder for docs/results: files that hold results, and no path of the machine.

python -m benchmarks.archive docs/results/NAME.tar.xz --outputs outputs
"""

import argparse
import shutil
import tarfile
import tempfile
from dataclasses import replace
from pathlib import Path

from weightnet.runs.folder import RunFolder

LEFT_OUT = ("run.log", "checkpoint.pt", "model.pt", "predictions.npz")


def copy_run(folder: Path, to: Path) -> bool:
    """Copy a run that is done, as if it had been executed with the default roots; tell whether it is done."""
    record = RunFolder(folder).record()
    if record is None or record.status != "done" or RunFolder(folder).damage(record):
        return False
    copy = RunFolder(Path(shutil.copytree(folder, to / folder.name, ignore=shutil.ignore_patterns(*LEFT_OUT))))
    copy.write_config(replace(copy.config(), outputs="outputs", data_root="data"))
    words = [word for word in record.overrides if word.partition("=")[0] not in ("outputs", "data_root")]
    copy.write_record(replace(record, overrides=words, files=copy.digests()))
    return True


def _of_nobody(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


def main() -> None:
    """Pack and count."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("archive", type=Path)
    parser.add_argument("--outputs", type=Path, default=Path("outputs"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        runs = Path(scratch, "runs")
        runs.mkdir()
        count = sum(copy_run(folder, runs) for folder in sorted((options.outputs / "runs").glob("[!.]*")))
        with tarfile.open(options.archive, "w:xz") as archive:
            archive.add(runs, "runs", filter=_of_nobody)
    print(f"{count} runs, {options.archive.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
