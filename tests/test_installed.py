"""The wheel, installed into an environment of its own, in an empty folder: what somebody has who has no checkout."""

import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from conftest import ROOT

OWN = """import torch


class RowMeans(torch.nn.Module):
    def __init__(self, dx: int, gain: float = 1.0) -> None:
        super().__init__()
        self.dx, self.gain = dx, gain

    def forward(self, weight1: torch.Tensor, weight2: torch.Tensor) -> torch.Tensor:
        return self.gain * weight1.mean(dim=1)[: self.dx]
"""


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the installed commands. What the wheel depends on is that of these tests, but not our checkout."""
    folder = tmp_path_factory.mktemp("installed")
    build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", folder, "."]
    copy = folder / "source"  # building leaves files beside the sources
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".*", "outputs", "data", "docs", "tests", "*.egg-info"))
    subprocess.run(build, cwd=copy, check=True)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
    (packages,) = (folder / "venv/lib").glob("python*/site-packages")
    # its .pth files, by which an editable installation is found, do not count where a .pth file names the folder
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    (wheel,) = folder.glob("*.whl")
    target = [sys.executable, "-m", "pip", "--python", folder / "venv/bin/python", "install", "-q", "--no-deps"]
    subprocess.run([*target, "--force-reinstall", wheel], check=True)
    return folder / "venv/bin"


@pytest.mark.slow
def test_sweep_own_feedback_figures_and_report_in_an_empty_folder(commands: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(OWN)
    words = "-m model=baseline,pool,mine.py:RowMeans dataset=digits train.epochs=1 train.subset=64 seed=1,2,3"
    done = subprocess.run([commands / "weightnet", *words.split()], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "9 runs: 9 done" in done.stdout and str(ROOT) not in done.stdout + done.stderr
    for asked in ("table", "figures", "report", "status"):
        told = subprocess.run([commands / "weightnet-analysis", asked], cwd=tmp_path, capture_output=True, text=True)
        assert told.returncode == 0, told.stderr
        assert str(ROOT) not in told.stdout
    assert len(list(tmp_path.glob("outputs/sweeps/*/*.png"))) >= 1
    assert list(tmp_path.rglob("*.html"))


@pytest.mark.slow
def test_the_wheel_has_our_yaml_and_no_other_top_level_packages(commands: Path) -> None:
    (packages,) = commands.parent.glob("lib/python*/site-packages")
    assert (packages / "weightnet/conf/config.yaml").is_file() and (packages / "weightnet/net/convolution.c").is_file()
    folders = {path.name for path in packages.iterdir() if path.is_dir() and not path.name.endswith(".dist-info")}
    assert folders - {"__pycache__"} == {"weightnet", "analysis", "hydra_plugins"}
