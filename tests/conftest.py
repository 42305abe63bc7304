import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from weightnet.config import Config, DatasetConfig, DimsConfig, EvalConfig, ModelConfig, TrainConfig
from weightnet.resolve import resolve
from weightnet.runs.lease import Lease
from weightnet.runs.record import Record, new_record
from weightnet.sweep.compose import composer
from weightnet.sweep.plan import make_plan

ROOT = Path(__file__).resolve().parents[1]
REAL_DATA = Path(os.environ.get("WEIGHTNET_DATA", ROOT.parent / "shared" / "data"))

DATASETS = {
    "mnist": DatasetConfig(
        name="mnist", shape=[1, 28, 28], classes=10,
        examples=[60000, 10000], mean=[0.1307], std=[0.3081], channels=[5, 10], hidden=50, epochs=6
    ),
    "cifar": DatasetConfig(
        name="cifar", shape=[3, 32, 32], classes=10,
        examples=[50000, 10000], mean=[0.5] * 3, std=[0.5] * 3, channels=[20, 50], hidden=500,
        epochs=20,
    ),
    "digits": DatasetConfig(
        name="digits", shape=[1, 28, 28], classes=10,
        examples=[1438, 359], mean=[0.3], std=[0.3], channels=[5, 10], hidden=50, epochs=2
    ),
}  # fmt: skip
CONTROLS = ("constant", "padding", "equal", "noise", "fixed_noise", "shuffled", "foreign", "bias_lr")
KERNELS = ["dx", "m", "n"]
MODELS = {
    "baseline": ModelConfig(name="baseline", feedback="none", uses=[]),
    "pool": ModelConfig(name="pool", feedback="pool", uses=KERNELS),
    "rmp": ModelConfig(name="rmp", feedback="projection", uses=["dx"], kind="dense", scale="xavier"),
    "projection": ModelConfig(name="projection", feedback="projection", uses=["dx"], kind="sparse", scale="xavier"),
    "twin": ModelConfig(name="twin", feedback="none", uses=[], params={"perturbation": 1e-6}),
    "wide": ModelConfig(name="wide", feedback="none", uses=[], parameters_of="pool"),
    "ones": ModelConfig(name="ones", feedback="ones", uses=["dx"]),
    **{name: ModelConfig(name=name, feedback=name, uses=KERNELS) for name in CONTROLS},
}


def expand(overrides: Sequence[str]) -> list[Config]:
    """Return the resolved config of every job of a sweep, each once."""
    with composer(overrides) as jobs:
        return [job.config for job in make_plan(jobs).jobs]


def metrics(outputs: Path) -> dict[str, list[str]]:
    """Return metrics.csv without its last column, seconds, by run."""
    return {
        path.parent.name: [line.rpartition(",")[0] for line in path.read_text().splitlines()]
        for path in (outputs / "runs").glob("*/metrics.csv")
    }


def make_record(config: Config, **fields: Any) -> Record:
    """Return the record of a run that is done, made by today's code, but for these fields."""
    record = new_record(config, [], None)
    record.status, record.finished = "done", record.started
    return replace(record, **fields)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the slowest, so that no process is left alone with one at the end."""
    slow = {item: item.get_closest_marker("slow") for item in items}
    items.sort(key=lambda item: -(mark.kwargs.get("minutes", 1) if (mark := slow[item]) else 0))


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def make_config(tmp_path: Path) -> Callable[..., Config]:
    """Return a builder of configs, resolved unless asked otherwise; what is not given is the default of conf/."""

    def make(
        dataset: str = "digits",
        model: str = "pool",
        *,
        resolved: bool = True,
        test_feedback: str = "live",
        **changes: object,
    ) -> Config:
        dims = DimsConfig(rule="published", dx=None, m=None, n=None, hidden=None)
        train = TrainConfig(
            epochs=2,
            batch_size=64,
            test_batch_size=1000,
            lr=0.01,
            momentum=0.5,
            subset=None,
            precision="float32",
            log_interval=40,
        )
        config = Config(
            dataset=DATASETS[dataset], model=replace(MODELS[model]), dims=dims, train=train,
            eval=EvalConfig(feedback=test_feedback),
            seed=1, device="cpu", threads=1,
            outputs=str(tmp_path / "outputs"), data_root=str(tmp_path / "data"),
        )  # fmt: skip
        for key, value in changes.items():
            part = next(
                (part for part in (config, dims, train, config.model, config.eval) if key in type(part).__slots__),
                None,
            )
            assert part is not None, key
            setattr(part, key, value)
        return resolve(config) if resolved else config

    return make


@pytest.fixture
def real_data() -> Path:
    """Return the root folder of the real MNIST and CIFAR-10."""
    if not (REAL_DATA / "MNIST" / "raw" / "train-images-idx3-ubyte").exists():
        pytest.skip(f"needs the real MNIST and CIFAR-10 in {REAL_DATA} (set WEIGHTNET_DATA)")
    return REAL_DATA


MEAN = """
from torch import Tensor, nn


class MeanFeedback(nn.Module):
    def __init__(self, dx: int, gain: float = 1.0) -> None:
        super().__init__()
        self.dx, self.gain = dx, gain

    def forward(self, weight1: Tensor, weight2: Tensor) -> Tensor:
        return self.gain * weight1.mean(dim=0)[: self.dx]
"""


@pytest.fixture
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Work in a folder of one's own, with a feedback in it."""
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path / "mine")
    monkeypatch.setattr("sys.path", [*__import__("sys").path])
    (tmp_path / "mine" / "my_feedback.py").write_text(MEAN)
    yield tmp_path / "mine"


@pytest.fixture
def own(make_config: Callable[..., Config]) -> Callable[..., Config]:
    """Return a builder of configs, not resolved, with a feedback of one's own."""

    def make(feedback: str = "my_feedback.py:MeanFeedback", **changes: Any) -> Config:
        return make_config(feedback=feedback, resolved=False, **changes)

    return make


@pytest.fixture
def cluster() -> Iterator[None]:
    """Wait for the cluster to be nobody else's, leave it empty; skip where it does not run."""
    conf = Path(os.environ.get("SLURM_CONF", "none"))
    if not shutil.which("sinfo") or not conf.exists() or "ClusterName=weightnet\n" not in conf.read_text():
        pytest.skip("needs a Slurm of its own: tests/slurm/start.sh DIR; export SLURM_CONF=DIR/slurm.conf")
    from processes import wait_until
    from slurm_sweeps import slurm  # it imports this module

    with Lease(conf.parent / "tests"):  # of several processes of pytest
        yield
        slurm("scancel", "--me")
        wait_until(lambda: not slurm("squeue", "--noheader"))
