from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import make_record

from weightnet.config import Config
from weightnet.experiment import probe, work
from weightnet.geometry import parameter_count
from weightnet.identity import shape
from weightnet.net.model import WeightNet
from weightnet.runs.folder import RunFolder
from weightnet.sweep.estimate import estimate, seconds_per_epoch

MakeConfig = Callable[..., Config]


def write_record(outputs: Path, name: str, config: Config, **fields: object) -> None:
    folder = RunFolder(outputs / "runs" / name)
    folder.path.mkdir(parents=True)
    folder.write_record(make_record(config, **fields))


@pytest.mark.parametrize(("dataset", "model"), [("mnist", "baseline"), ("mnist", "pool"), ("mnist", "rmp"),
                                                ("cifar", "baseline"), ("cifar", "pool")])  # fmt: skip
def test_sizes_are_the_models(make_config: MakeConfig, dataset: str, model: str) -> None:
    config = make_config(dataset, model)
    built = WeightNet(config)
    assert parameter_count(config) == sum(parameter.numel() for parameter in built.parameters())


def test_a_shape_is_shared_by_what_takes_the_same_time(make_config: MakeConfig) -> None:
    config = make_config()
    assert shape(config) == shape(make_config(seed=2, lr=0.5, epochs=9))
    changes = ({"batch_size": 32}, {"threads": 2}, {"subset": 100}, {"m": 62}, {"precision": "bf16"})
    for change in ({"model": "rmp"}, *changes):
        assert shape(config) != shape(make_config(**change))


def test_finished_runs_of_the_same_shape_say_how_long(make_config: MakeConfig, tmp_path: Path) -> None:
    config = make_config(epochs=10)
    for number, seconds in enumerate((20, 40, 90)):
        write_record(tmp_path, f"a{number}", config, seconds=seconds)
    write_record(tmp_path, "b", config, status="failed", seconds=1000)
    write_record(tmp_path, "c", config)
    (tmp_path / "runs" / "c" / "run.json").write_text("{")
    assert seconds_per_epoch(tmp_path) == {shape(config): 4.0}
    other = make_config("mnist", epochs=10)
    known, unknown = estimate([config, other], tmp_path)
    assert known == 40 and unknown == pytest.approx(40 * work(other) / work(config))


def test_a_probe_is_of_the_right_size(make_config: MakeConfig) -> None:
    seconds = probe(make_config())
    assert 0.01 < seconds < 5  # 23 steps of about 4 ms, and an evaluation


def test_more_work_takes_longer(make_config: MakeConfig) -> None:
    small, large = work(make_config("mnist", "baseline")), work(make_config("cifar", "baseline"))
    assert small < large < work(make_config("cifar", "rmp"))
    assert work(make_config("mnist", epochs=4)) == 2 * work(make_config("mnist", epochs=2))
