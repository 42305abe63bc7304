"""The compiler, what it makes and where that is kept."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import ROOT

from weightnet import native
from weightnet.config import Config
from weightnet.net.model import WeightNet

BUILD = [sys.executable, "-c", "from weightnet import native; native.build()"]
needs_compiler = pytest.mark.skipif(not any(map(shutil.which, ("cc", "gcc", "clang"))), reason="no C compiler")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder where compiled kernels go, empty."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "weightnet"


@needs_compiler
def test_it_is_compiled_once(cache: Path) -> None:
    native.build()
    (made,) = cache.iterdir()
    stamp = made.stat().st_mtime_ns
    native.build()
    assert [path.stat().st_mtime_ns for path in cache.iterdir()] == [stamp]
    native.build("-DLANES=4")
    assert len(list(cache.iterdir())) == 2


@needs_compiler
def test_several_processes_may_compile_it_at_once(cache: Path) -> None:
    with ThreadPoolExecutor(4) as threads:
        done = list(threads.map(lambda _: subprocess.run(BUILD, cwd=ROOT, capture_output=True), range(4)))
    assert [process.returncode for process in done] == [0] * 4, done
    assert len(list(cache.iterdir())) == 1


@needs_compiler
def test_a_damaged_one_is_compiled_anew(cache: Path) -> None:
    subprocess.run(BUILD, cwd=ROOT, check=True)
    (made,) = cache.iterdir()
    made.write_bytes(b"nonsense")
    native.build()
    assert made.stat().st_size > 1000


@needs_compiler
def test_a_folder_in_which_others_write_is_not_used(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.mkdir()
    cache.chmod(0o777)
    monkeypatch.setattr(native.tempfile, "gettempdir", lambda: str(tmp_path / "aside"))
    native.build()
    assert list(cache.iterdir()) == []
    assert len(list((tmp_path / "aside" / f"weightnet-{os.getuid()}").iterdir())) == 1


def test_no_compiler_is_one_line(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(native.NoKernel, match=r"^there is no C compiler \(cc, gcc or clang; or CC=...\)$"):
        native.build()


def test_a_compiler_that_fails_is_one_line(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "broken"
    script.write_text("#!/bin/sh\necho unknown flag >&2\necho and more >&2\nexit 1\n")
    script.chmod(0o700)
    monkeypatch.setenv("CC", str(script))
    with pytest.raises(native.NoKernel) as caught:
        native.build()
    assert str(caught.value) == f"{script} cannot compile convolution.c (unknown flag)"
    assert list(cache.iterdir()) == []


@pytest.mark.parametrize(
    ("dataset", "change", "fits"),
    [
        ("mnist", {}, True),
        ("cifar", {}, False),
        ("mnist", {"device": "cuda"}, False),
        ("mnist", {"precision": "bf16"}, False),
    ],
)
def test_it_is_for_narrow_networks(
    make_config: Callable[..., Config], dataset: str, change: dict[str, str], fits: bool
) -> None:
    config = make_config(dataset)
    if "precision" in change:
        config = replace(config, train=replace(config.train, **change))
    else:
        config = replace(config, **change)
    assert native.fits(config) == fits


def test_without_it_torch_computes_the_same(
    make_config: Callable[..., Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    config = make_config()
    images = torch.randn(20, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    with_it = WeightNet(config)(images)
    monkeypatch.setattr(native, "_kernel", lambda: "none today")
    assert native.convolutions(config) == "torch" and native.why_not() == "none today"
    torch.testing.assert_close(with_it, WeightNet(config)(images), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_a_sweep_without_a_compiler_says_so_once_and_records_it(tmp_path: Path) -> None:
    environment = os.environ | {"PATH": "/nowhere", "XDG_CACHE_HOME": str(tmp_path / "cache")}
    command = [sys.executable, "run.py", "-m", "dataset=digits", "model=baseline,pool", "train.epochs=1",
               "train.subset=64", f"outputs={tmp_path}"]  # fmt: skip
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert (done.stdout + done.stderr).count("there is no C compiler") == 1
    records = [json.loads(path.read_text()) for path in tmp_path.glob("runs/*/run.json")]
    assert [record["convolutions"] for record in records] == ["torch", "torch"]
    again = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    if not native.why_not():
        assert "2 stale: torch convolutions, now native" in again.stdout
