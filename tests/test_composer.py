"""The sweep's own composing against Hydra's."""

import re
import time
from collections.abc import Iterator

import pytest
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from hydra.types import RunMode
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from omegaconf.errors import OmegaConfBaseException

from weightnet.config import Config
from weightnet.errors import UserError
from weightnet.experiment import untaken
from weightnet.resolve import resolve
from weightnet.sweep.compose import Composer, composer, to_config

VALUES = {
    "dataset": ["mnist", "cifar", "digits", "kmnist"],
    "model": ["baseline", "pool", "rmp", "projection"],
    "dims": ["published", "controlled", "auto"],
    "seed": ["1", "7", "120", "007", "null", "x", "1.5"],
    "device": ["cpu", "auto", "gpu", "'cpu'"],
    "outputs": ["x", "'a b'", "${data_root}", "null", "1", "2.50"],
    "data_root": ["here", "/abs/path"],
    "train.lr": ["0.1", "1", "12", "1e-3", "2.5e-3", "1.0e+3", "abc", "null", "true"],
    "train.epochs": ["3", "${dataset.epochs}", "2.5", "???"],
    "train.subset": ["null", "100", "[1]"],
    "train.momentum": ["0.9", "inf"],
    "train.typo": ["1"],
    "dims.dx": ["26", "null", "29"],
    "dims.m": ["31", "62", "30"],
    "dims.hidden": ["50", "null"],
    "dataset.epochs": ["2", "3"],
    "dataset.channels": ["[5,10]", "[4,8]", "[5,x]", "5"],
    "dataset.mean": ["[0.1]", "[1]", "[]"],
    "model.kind": ["dense", "null", "other"],
    "+train.extra": ["1"],
    "+seed": ["1"],
    "~train.lr": ["0.01"],
    "train": ["{lr:0.5}", "sgd"],
    "experiment": ["fig2", "demo"],
}
OVERRIDES = st.lists(st.sampled_from(sorted(VALUES)), unique=True, max_size=6).flatmap(
    lambda keys: st.tuples(*(st.sampled_from(VALUES[key]).map(lambda value, key=key: f"{key}={value}") for key in keys))
)
ERRORS = (HydraException, OmegaConfBaseException, UserError)


@pytest.fixture(scope="module")
def sweep() -> Iterator[Composer]:
    with composer():
        yield Composer(GlobalHydra.instance().config_loader(), [])


def by_hydra(sweep: Composer, parts: tuple[str, ...]) -> Config | str:
    try:
        return to_config(sweep.loader.load_sweep_config(sweep.master, list(parts)))
    except ERRORS as error:
        return f"{type(error).__name__}: {error}"


def by_us(sweep: Composer, parts: tuple[str, ...]) -> Config | str:
    try:
        asked = sweep.compose(parts)
        config = resolve(asked)
        if wrong := untaken(asked, [config]):  # of a sweep, the plan looks at all its jobs
            raise UserError(wrong)
        return config
    except ERRORS as error:
        return f"{type(error).__name__}: {error}"


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(parts=OVERRIDES)
@example(parts=("model=pool", "model.kind=dense"))
@example(parts=("train.lr=0.1", "train={lr:0.5}"))
def test_every_override_set_gives_what_hydra_gives(sweep: Composer, parts: tuple[str, ...]) -> None:
    assert by_us(sweep, parts) == by_hydra(sweep, parts)


@pytest.mark.parametrize(
    "parts",
    [
        ("dataset.epochs=2",),  # train.epochs refers to it
        ("dataset.epochs=2", "train.epochs=9"),
        ("train.epochs=9", "dataset=cifar"),
        ("data_root=here", "outputs=${data_root}"),
        ("train.lr=1",),
        ("seed=2", "seed=3"),
        ("experiment=demo", "train.lr=0.5"),
    ],
)
def test_known_traps(sweep: Composer, parts: tuple[str, ...]) -> None:
    ours = by_us(sweep, parts)
    assert isinstance(ours, Config) and ours == by_hydra(sweep, parts)


def test_axes_are_the_sweepers(sweep: Composer) -> None:
    master = sweep.loader.load_configuration(
        "config", ["experiment=demo", "seed=range(1,4)", "train.lr=0.1,0.2", "device=cpu"], run_mode=RunMode.MULTIRUN
    )
    assert Composer(sweep.loader, [], master).axes() == {
        "model": ["model=baseline", "model=pool", "model=rmp"],
        "seed": ["seed=1", "seed=2", "seed=3"],
        "experiment": ["experiment=demo"],
        "train.lr": ["train.lr=0.1", "train.lr=0.2"],
        "device": ["device=cpu"],
    }


def test_an_interval_is_its_ends(sweep: Composer) -> None:
    asked = Composer(sweep.loader, ["train.lr=interval(0.5,1)", "train.batch_size=interval(16,64)", "seed=1,2"])
    assert asked.axes() == {
        "train.lr": ["train.lr=0.5", "train.lr=1.0"],
        "train.batch_size": ["train.batch_size=16", "train.batch_size=64"],
        "seed": ["seed=1", "seed=2"],
    }
    assert list(asked.intervals()) == ["train.lr", "train.batch_size"]


@pytest.mark.parametrize("values", ["range(1,4),7", "0,glob(1*)", "choice(1,2),3", "1,interval(2,3)"])
def test_what_stands_for_several_values_stands_alone(sweep: Composer, values: str) -> None:
    with pytest.raises(UserError, match=rf"^seed={re.escape(values)}: a range, glob or interval stands alone"):
        Composer(sweep.loader, [f"seed={values}"]).axes()


def test_a_thousand_jobs_compose_in_seconds(sweep: Composer) -> None:
    start = time.perf_counter()
    configs = [
        resolve(sweep.compose((f"model={model}", f"seed={seed}", "device=cpu")))
        for model in ("baseline", "pool")
        for seed in range(500)
    ]
    assert len(configs) == 1000
    assert time.perf_counter() - start < 5
