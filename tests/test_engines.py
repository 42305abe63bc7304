"""The engine that docs/engines.md shows."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT
from processes import records


@pytest.mark.slow
def test_the_engine_in_the_documents_works(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "engines.md").read_text().partition("## A further engine")[2]
    program, command = re.findall(r"```(?:python)?\n(.*?)```", page, re.DOTALL)
    plugin = tmp_path / "hydra_plugins" / "pool_launcher.py"
    plugin.parent.mkdir()
    plugin.write_text(program)
    words = shlex.split(command)[2:]
    done = subprocess.run(
        [sys.executable, "-m", "weightnet", *words, "train.epochs=1"], cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0 and "4 runs: 4 done" in done.stdout, done.stderr
    assert [record["status"] for record in records(tmp_path / "outputs").values()] == ["done"] * 4
