import json
from collections.abc import Callable
from pathlib import Path

import pytest
from weightnet.estimate import estimate, probe, seconds_per_epoch, work
from weightnet.model import WeightNet

from weightnet.config import Config, parameter_count, shape

MakeConfig = Callable[..., Config]


def write_record(outputs: Path, name: str, **record: object) -> None:
    folder = outputs / "runs" / name
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps(record))


@pytest.mark.parametrize(("dataset", "model"), [("mnist", "baseline"), ("mnist", "pool"), ("mnist", "rmp"),
                                                ("cifar", "baseline"), ("cifar", "pool")])  # fmt: skip
def test_sizes_are_the_models(make_config: MakeConfig, dataset: str, model: str) -> None:
    config = make_config(dataset, model)
    built = WeightNet(config)
    assert parameter_count(config) == sum(parameter.numel() for parameter in built.parameters())


def test_a_shape_is_shared_by_what_takes_the_same_time(make_config: MakeConfig) -> None:
    config = make_config()
    assert shape(config) == shape(make_config(seed=2, lr=0.5, epochs=9))
    for change in ({"model": "rmp"}, {"batch_size": 32}, {"threads": 2}, {"subset": 100}, {"m": 62}):
        assert shape(config) != shape(make_config(**change))


def test_finished_runs_of_the_same_shape_say_how_long(make_config: MakeConfig, tmp_path: Path) -> None:
    config = make_config(epochs=10)
    for number, seconds in enumerate((20, 40, 90)):
        write_record(tmp_path, f"a{number}", status="done", shape=shape(config), seconds=seconds, epochs=10)
    write_record(tmp_path, "b", status="failed", shape=shape(config), seconds=1000, epochs=10)
    write_record(tmp_path, "c", status="done")
    (tmp_path / "runs" / "c" / "run.json").write_text("{")
    assert seconds_per_epoch(tmp_path) == {shape(config): 4.0}
    other = make_config("mnist", epochs=10)
    known, unknown = estimate([config, other], tmp_path, probing=False)
    assert known == 40 and unknown == pytest.approx(40 * work(other) / work(config))


def test_a_probe_is_of_the_right_size(make_config: MakeConfig) -> None:
    seconds = probe(make_config())
    assert 0.01 < seconds < 5  # 23 steps of about 4 ms, and an evaluation


def test_more_work_takes_longer(make_config: MakeConfig) -> None:
    small, large = work(make_config("mnist", "baseline")), work(make_config("cifar", "baseline"))
    assert small < large < work(make_config("cifar", "rmp"))
    assert work(make_config("mnist", epochs=4)) == 2 * work(make_config("mnist", epochs=2))
