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
        ["-m", "analysis", "export", "fig1", "--to", "csv", "--outputs", "OUTPUTS"],
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


@pytest.mark.parametrize(
    "words",
    [
        ["model=pol"],
        ["train.lr=inf"],
        ["dims.dx=100000000"],
        ["-m", "seed=range(0,1000000000)"],
        ["-m", "dataset=mnits"],
        ["-m", "analysis.primary=mean:0"],
        ["-m", "seed=1,2", "hydra.sweeper.rerun=al"],
    ],
    ids=" ".join,
)
def test_a_mistake_is_told_without_whatever_takes_long_to_import(words: list[str], tmp_path: Path) -> None:
    for name in ("torch", "pandas", "scipy"):
        (tmp_path / f"{name}.py").write_text(f"raise ImportError('{name} is not wanted here')\n")
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "run.py", *words, f"outputs={tmp_path}/o"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 2 and "not wanted" not in done.stderr and len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "o").exists()
