import re
from collections.abc import Callable
from dataclasses import replace

import pytest

from weightnet.config import Config, ModelConfig
from weightnet.errors import UserError
from weightnet.identity import canonical, run_id
from weightnet.resolve import resolve

MakeConfig = Callable[..., Config]


def sizes(config: Config) -> tuple[int | None, ...]:
    return config.dims.dx, config.dims.m, config.dims.n, config.dims.hidden


@pytest.mark.parametrize(
    ("dataset", "model", "expected"),
    [
        ("mnist", "baseline", (0, None, None, 50)),
        ("mnist", "pool", (26, 31, 25, 60)),
        ("mnist", "rmp", (26, None, None, 50)),
        ("cifar", "baseline", (0, None, None, 700)),
        ("cifar", "pool", (460, 45, 50, 500)),
        ("cifar", "rmp", (460, None, None, 500)),
        ("digits", "pool", (26, 31, 25, 60)),
    ],
)
def test_published_dimensions_are_the_notebooks(
    make_config: MakeConfig, dataset: str, model: str, expected: tuple[int | None, ...]
) -> None:
    assert sizes(make_config(dataset, model)) == expected


@pytest.mark.parametrize(("dataset", "hidden"), [("mnist", 50), ("cifar", 500)])
def test_controlled_has_one_hidden_width(make_config: MakeConfig, dataset: str, hidden: int) -> None:
    for model in ("baseline", "pool", "rmp", "projection"):
        assert make_config(dataset, model, rule="controlled").dims.hidden == hidden


def test_auto_fits_and_gives_projections_the_same_length(make_config: MakeConfig) -> None:
    dx, m, n, hidden = sizes(make_config("mnist", "pool", rule="auto"))
    assert dx and m and n and hidden == 50
    assert (160 + dx) % m == 0 and hidden % n == 0
    assert make_config("mnist", "rmp", rule="auto").dims.dx == dx


def test_the_command_line_wins(make_config: MakeConfig) -> None:
    assert sizes(make_config("mnist", "pool", rule="auto", dx=26)) == (26, 31, 25, 50)
    assert sizes(make_config("mnist", "pool", hidden=50, dx=29, m=27)) == (29, 27, 25, 50)
    assert sizes(make_config("mnist", "rmp", dx=40)) == (40, None, None, 50)
    assert sizes(make_config("mnist", "baseline", hidden=60)) == (0, None, None, 60)


def test_a_triple_that_does_not_fit_names_the_reason_and_what_fits(make_config: MakeConfig) -> None:
    with pytest.raises(UserError, match=r"m=30 does not divide 160\+26=186.*Nearest that fit: dims.dx=") as caught:
        make_config("mnist", "pool", hidden=50, m=30)
    for dx, m, n in re.findall(r"dims.dx=(\d+) dims.m=(\d+) dims.n=(\d+)(?:;|$)", str(caught.value)):
        make_config("mnist", "pool", hidden=50, dx=int(dx), m=int(m), n=int(n))


def test_only_the_published_kernel_may_drop_rows(make_config: MakeConfig) -> None:
    assert sizes(make_config("mnist", "pool", dx=26, m=31, n=25, hidden=60)) == (26, 31, 25, 60)
    assert sizes(make_config("mnist", "pool", m=62)) == (26, 62, 25, 60)
    with pytest.raises(UserError, match="n=25 does not divide hidden=60"):
        make_config("cifar", "pool", dx=460, m=45, n=25, hidden=60)
    with pytest.raises(UserError, match="n=25 does not divide hidden=70"):
        make_config("mnist", "pool", hidden=70)


def test_published_without_a_table_says_what_to_use(make_config: MakeConfig) -> None:
    config = make_config("mnist", resolved=False)
    mine = replace(config, dataset=replace(config.dataset, name="mine"))
    with pytest.raises(UserError, match="dims=controlled or dims=auto"):
        resolve(mine)
    assert resolve(replace(mine, dims=replace(mine.dims, rule="controlled"))).dims.dx


def test_a_width_without_divisors_is_explained(make_config: MakeConfig) -> None:
    with pytest.raises(UserError, match="hidden=53.*divisors of|hidden=53.*those of 53: 1, 53"):
        make_config("mnist", "pool", rule="auto", hidden=53)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 0}, "train.epochs=0: must be at least 1"),
        ({"batch_size": 0}, "train.batch_size=0"),
        ({"lr": 0.0}, "train.lr=0.0: must be greater than 0"),
        ({"lr": float("nan")}, "train.lr=nan"),
        ({"momentum": 1.0}, "train.momentum=1.0"),
        ({"subset": 0}, "train.subset=0"),
        ({"subset": 1439}, "train.subset=1439: digits has 1438 training examples"),
        ({"validation": 0}, "train.validation=0: must be at least 1"),
        ({"validation": 1438}, "train.validation=1438: digits has 1438 training examples"),
        ({"subset": 1000, "validation": 439}, "train.subset=1000 train.validation=439: digits has 1438 training"),
        ({"init": "torch"}, "train.init=torch: must be one of shared, notebook"),
        ({"seed": -1}, "seed=-1"),
        ({"threads": 0}, "threads=0"),
        ({"device": "gpu"}, "device=gpu: must be one of auto, cpu, cuda"),
        ({"dx": 0}, "dims.dx=0"),
        ({"m": 0}, "dims.m=0"),
        ({"rule": "published?"}, "dims.rule=published?"),
    ],
)
def test_impossible_values_are_refused(make_config: MakeConfig, change: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        make_config(**change)


def test_every_mistake_is_named(make_config: MakeConfig) -> None:
    with pytest.raises(UserError, match="seed=-1.*train.lr=0"):
        make_config(seed=-1, lr=0.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shape": [28, 28]}, "dataset.shape"),
        ({"shape": [1, 8, 8]}, "16x16 or larger"),
        ({"mean": [0.1, 0.2]}, "one number for each of 1 channels"),
        ({"std": [0.0]}, "dataset.std"),
        ({"channels": [5]}, "dataset.channels"),
        ({"examples": [5]}, "dataset.examples"),
        ({"margin": -0.1}, "dataset.margin"),
    ],
)
def test_an_impossible_data_set_is_refused(make_config: MakeConfig, change: dict[str, object], message: str) -> None:
    config = make_config(resolved=False)
    with pytest.raises(UserError, match=re.escape(message)):
        resolve(replace(config, dataset=replace(config.dataset, **change)))


def test_an_impossible_model_is_refused(make_config: MakeConfig) -> None:
    config = make_config(resolved=False)
    for model in (
        ModelConfig(name="x", feedback="loop", kind=None),
        ModelConfig(name="x", feedback="projection", kind="spars"),
        ModelConfig(name="x", feedback="projection", kind=None),
        ModelConfig(name="x", feedback="projection", kind="kron", scale="unit"),
    ):
        with pytest.raises(UserError, match="must be"):
            resolve(replace(config, model=model))


@pytest.mark.parametrize(
    ("model", "params", "message"),
    [
        ("pool", {"gain": -1}, "model.params.gain=-1: must be a number from 0 to 9007199254740992"),
        ("pool", {"gain": float("nan")}, "model.params.gain=nan: must be"),
        ("constant", {"gain": float("inf")}, "model.params.gain=inf: must be"),
        ("pool", {"fill": "ones"}, "model.params.fill=ones: must be a number"),
        ("pool", {"fill": None}, "model.params.fill=None: must be a number"),
        ("pool", {"gain": True}, "model.params.gain=True: must be a number"),
        ("shuffled", {"keep_filler": 1}, "model.params.keep_filler=1: must be true or false"),
        ("twin", {"perturbation": -1e-6}, "model.params.perturbation=-1e-06: must be a number"),
        ("bias_lr", {"multiplier": -2}, "model.params.multiplier=-2: must be a number"),
        ("bias_lr", {"gain": 2, "multiplier": 3}, "model.params.gain=2 model.params.multiplier=3: give one of them"),
    ],
)
def test_impossible_parameters_are_refused(
    make_config: MakeConfig, model: str, params: dict[str, object], message: str
) -> None:
    with pytest.raises(UserError, match=re.escape(message)) as caught:
        make_config("mnist", model, params=params)
    assert "\n" not in str(caught.value)


def test_a_parameter_at_its_default_makes_no_other_run(make_config: MakeConfig) -> None:
    for model, params in (
        ("pool", {"gain": 1, "fill": 1.0}), ("shuffled", {"keep_filler": False}), ("baseline", {"perturbation": 0}),
        ("bias_lr", {"gain": 1, "multiplier": None}), ("ones", {"gain": 1}),
    ):  # fmt: skip
        said, unsaid = make_config("mnist", model, params=params), make_config("mnist", model)
        assert canonical(said) == canonical(unsaid) and "params" not in canonical(said)["model"]
        assert said.model.params == unsaid.model.params and set(params) <= set(said.model.params)
    other = make_config("mnist", "pool", params={"fill": 0})
    assert canonical(other)["model"] == {"name": "pool", "feedback": "pool", "params": {"fill": 0.0}}
    assert run_id(other).startswith("mnist-pool-fill0.0-dx26-m31-n25-s1-")
    assert run_id(make_config("mnist", "twin")).startswith("mnist-twin-perturbation1e_06-s1-")


def test_what_a_model_does_not_use_is_cleared(make_config: MakeConfig) -> None:
    model = make_config(model="baseline", kind="kron", scale="jl").model
    assert (model.kind, model.scale) == (None, None)


def test_auto_device_is_decided(make_config: MakeConfig) -> None:
    assert make_config(device="auto").device in ("cpu", "cuda")
