from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import expand
from hydra import compose
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from weightnet.errors import UserError
from weightnet.identity import run_id, signature
from weightnet.matching import solve
from weightnet.sweep.compose import Composer, composer, to_config
from weightnet.sweep.conf_folders import CONF
from weightnet.sweep.plan import make_plan


@pytest.fixture(autouse=True)
def hydra() -> Iterator[None]:
    with composer():
        yield


def choices(group: str) -> list[str]:
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


def test_the_groups_are_those_of_the_design() -> None:
    assert choices("dataset") == ["cifar", "digits", "fashion_mnist", "kmnist", "mnist"]
    assert set(choices("model")) >= {"baseline", "pool", "rmp", "projection"}
    assert choices("dims") == ["auto", "controlled", "published"]
    assert set(choices("experiment")) >= {"demo", "fig1", "fig2", "fig3", "fig4", "paper"}


@pytest.mark.parametrize("dims", choices("dims"))
@pytest.mark.parametrize("model", choices("model"))
@pytest.mark.parametrize("dataset", choices("dataset"))
def test_every_combination_of_files_composes(dataset: str, model: str, dims: str) -> None:
    config = to_config(compose("config", [f"dataset={dataset}", f"model={model}", f"dims={dims}"]))
    assert (config.dataset.name, config.model.name, config.dims.rule) == (dataset, model, dims)
    assert config.dims.hidden and (config.dims.dx or config.model.feedback == "none")


@pytest.mark.parametrize("path", sorted(CONF.glob("*/*.yaml")), ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_every_file_begins_with_a_comment(path: Path) -> None:
    assert path.read_text().startswith("# ")


def test_the_defaults_are_the_notebooks() -> None:
    config = to_config(compose("config"))
    train = config.train
    assert (train.lr, train.momentum, train.batch_size, train.test_batch_size) == (0.01, 0.5, 64, 1000)
    assert (config.seed, train.epochs, train.log_interval, config.threads) == (1, 6, 40, 1)
    assert to_config(compose("config", ["dataset=cifar"])).train.epochs == 20
    assert (config.dataset.mean, config.dataset.std) == ([0.1307], [0.3081])


def test_weightnet_data_says_where_the_data_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEIGHTNET_DATA", "/somewhere")
    assert to_config(compose("config")).data_root == "/somewhere"
    monkeypatch.delenv("WEIGHTNET_DATA")
    assert to_config(compose("config")).data_root == "data"


def jobs(*overrides: str) -> list[tuple[str, str, int]]:
    return [(config.dataset.name, config.model.name, config.seed) for config in expand(overrides)]


@pytest.mark.parametrize(
    ("experiment", "expected"),
    [
        ("fig1", {("mnist", "baseline", 1), ("mnist", "pool", 1)}),
        ("fig2", {("cifar", "baseline", 1), ("cifar", "pool", 1)}),
        ("fig3", {("mnist", model, 1) for model in ("baseline", "pool", "rmp")}),
        ("fig4", {("cifar", model, 1) for model in ("baseline", "pool", "rmp")}),
        ("paper", {(data, model, 1) for data in ("mnist", "cifar") for model in ("baseline", "pool", "rmp")}),
        ("demo", {("digits", model, seed) for model in ("baseline", "pool", "rmp") for seed in (1, 2, 3)}),
    ],
)
def test_experiments_run_the_published_arms(experiment: str, expected: set[tuple[str, str, int]]) -> None:
    assert set(jobs(f"experiment={experiment}")) == expected


def test_the_command_line_overrides_an_experiments_axes() -> None:
    assert jobs("experiment=fig1", "seed=range(1,4)", "model=rmp") == [("mnist", "rmp", seed) for seed in (1, 2, 3)]


def test_expand_equals_hydras_own_composition() -> None:
    expanded = {signature(c) for c in expand(["model=baseline,pool", "dims=controlled", "seed=1,7", "train.lr=0.1"])}
    one_by_one = {
        signature(to_config(compose("config", [f"model={model}", "dims=controlled", f"seed={seed}", "train.lr=0.1"])))
        for model in ("baseline", "pool")
        for seed in (1, 7)
    }
    assert expanded == one_by_one


def test_equal_jobs_share_a_run() -> None:
    configs = expand(["model=baseline,pool", "dims.m=31,62", "dims.hidden=50"])
    assert len(configs) == len({run_id(config) for config in configs}) == 3


def test_every_mistake_of_a_sweep_is_named() -> None:
    with pytest.raises(UserError) as caught:
        expand(["dims=controlled", "dims.m=30,31,33"])
    assert str(caught.value).startswith("2 of 3 combinations do not fit; these do: dims.m=31\n")
    with pytest.raises(UserError) as caught:
        expand(["model=pool,pol", "seed=1,x", "train.lr=0,0.1"])
    text = str(caught.value)
    assert "did you mean pool?" in text and "'x'" in text and "train.lr=0.0: must be greater than 0" in text


@pytest.mark.parametrize("seed", ["x", "1.5", "-1"])
def test_an_impossible_seed_is_refused(seed: str) -> None:
    with pytest.raises((UserError, HydraException)):
        expand([f"seed=1,{seed}"])


@pytest.mark.parametrize("override", ["train.epoch=1", "+train.foo=1", "+foo=1", "train.epochs=two", "seed=1.5"])
def test_the_schema_refuses(override: str) -> None:
    with pytest.raises((HydraException, OmegaConfBaseException)):
        to_config(compose("config", [override]))


def test_the_saved_config_composes_to_itself() -> None:
    config = to_config(compose("config", ["model=pool", "dims=auto"]))
    again = to_config(OmegaConf.structured(config))
    assert signature(again) == signature(config)


def test_the_kernels_experiment_is_the_notebooks_matching_table() -> None:
    jobs = Composer(GlobalHydra.instance().config_loader(), ["experiment=kernels", "seed=1"])
    plan = make_plan(jobs, zipped=jobs.master.hydra.sweeper.zip)
    pools = [job.config.dims for job in plan.jobs if job.config.model.name == "pool"]
    table = [(match.dx, match.m, match.n) for match in solve(160, 50, 10, range(10, 40))]
    assert [(dims.dx, dims.m, dims.n) for dims in pools] == table and len(table) == 39
    assert len(plan.jobs) == 40  # and one without feedback
