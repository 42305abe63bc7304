"""What looks and plans never waits for torch: it works where importing torch fails."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, expand
from test_load import write_run


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    for config in expand(["experiment=fig1", "seed=1,2", f"outputs={tmp_path}/o"]):
        write_run(config, [0.9] * config.train.epochs)
    return tmp_path / "o"


@pytest.mark.parametrize(
    "command",
    [
        ["-m", "analysis", "--help"],
        ["-m", "analysis", "status", "--outputs", "OUTPUTS"],
        ["-m", "analysis", "table", "--outputs", "OUTPUTS"],
        ["-m", "analysis", "table", "fig1", "--reference", "baseline", "--outputs", "OUTPUTS"],
        ["-m", "analysis", "figures", "fig1", "--outputs", "OUTPUTS"],
        ["-m", "analysis", "report", "fig1", "--outputs", "OUTPUTS"],
        ["-m", "analysis", "figures", "model=pool", "dataset=mnist", "device=auto", "--outputs", "OUTPUTS"],
        ["run.py", "--help"],
        ["run.py", "-m", "experiment=fig1", "seed=1,2", "device=auto", "hydra.sweeper.rerun=none", "outputs=OUTPUTS"],
    ],
    ids=" ".join,
)
def test_it_needs_no_torch(command: list[str], outputs: Path, tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise ImportError('torch is not wanted here')\n")
    words = [word.replace("OUTPUTS", str(outputs)) for word in command]
    done = subprocess.run(
        [sys.executable, *words],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "not wanted" not in done.stderr
