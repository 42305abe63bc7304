from collections.abc import Callable
from dataclasses import replace

from weightnet.config import Config
from weightnet.geometry import flat_features
from weightnet.identity import arm, canonical, run_folder, run_id, signature

MakeConfig = Callable[..., Config]


def test_flat_features_are_the_notebooks(make_config: MakeConfig) -> None:
    assert flat_features(make_config("mnist").dataset) == 4 * 4 * 10
    assert flat_features(make_config("cifar").dataset) == 5 * 5 * 50


def test_the_baseline_ignores_kernels(make_config: MakeConfig) -> None:
    assert signature(make_config(model="baseline", m=31)) == signature(make_config(model="baseline", m=62))
    assert signature(make_config(model="rmp", m=31)) == signature(make_config(model="rmp", m=62))
    assert signature(make_config(hidden=50, m=31)) != signature(make_config(hidden=50, m=62))


def test_the_rule_that_chose_the_dimensions_does_not_matter(make_config: MakeConfig) -> None:
    assert signature(make_config(model="baseline")) == signature(make_config(model="baseline", rule="controlled"))


def test_paths_and_logging_do_not_matter(make_config: MakeConfig) -> None:
    config = make_config()
    assert signature(config) == signature(replace(config, outputs="x", data_root="y"))
    assert signature(config) == signature(make_config(log_interval=7))


def test_all_that_changes_the_numbers_matters(make_config: MakeConfig) -> None:
    changes = [
        {"seed": 2}, {"epochs": 3}, {"lr": 0.02}, {"momentum": 0.9}, {"batch_size": 32}, {"test_batch_size": 500},
        {"subset": 100}, {"precision": "bf16"}, {"threads": 2}, {"hidden": 50}, {"model": "rmp"},
        {"model": "projection"},
        {"model": "projection", "kind": "kron"}, {"model": "projection", "scale": "jl"},
        {"dataset": "mnist"},
    ]  # fmt: skip
    signatures = [signature(make_config(**change)) for change in [{}, *changes]]
    assert len(set(signatures)) == len(changes) + 1


def test_an_arm_is_shared_by_seeds_and_machines(make_config: MakeConfig) -> None:
    config = make_config()
    assert arm(config) == arm(make_config(seed=2, threads=2))
    assert arm(config) != arm(make_config(lr=0.02))
    assert arm(config) != arm(make_config(model="rmp"))


def test_run_id_reads_well(make_config: MakeConfig) -> None:
    config = make_config("mnist", "pool", seed=3)
    assert run_id(config) == f"mnist-pool-dx26-m31-n25-s3-{signature(config)[:8]}"
    assert run_id(make_config("mnist", "baseline")).startswith("mnist-baseline-s1-")
    assert run_id(make_config("mnist", "projection")).startswith("mnist-projection-sparse-dx26-s1-")
    assert run_id(make_config("mnist", "projection", scale="jl")).startswith("mnist-projection-sparse-jl-dx26-s1-")
    assert run_folder(config).parts[-2:] == ("runs", run_id(config))


def test_the_canonical_form_leaves_out_what_is_unused(make_config: MakeConfig) -> None:
    assert canonical(make_config(model="baseline"))["dims"] == {"hidden": 50}
    assert canonical(make_config(model="baseline"))["model"] == {"name": "baseline", "feedback": "none"}
    assert canonical(make_config(model="rmp"))["dims"] == {"hidden": 50, "dx": 26}
