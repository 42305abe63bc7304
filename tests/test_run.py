"""The command line as a user meets it: real processes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT


def python(*arguments: str, cwd: Path = ROOT, **environment: str) -> "subprocess.CompletedProcess[str]":
    env = {key: value for key, value in os.environ.items() if key not in ("HYDRA_FULL_ERROR", "WEIGHTNET_DATA")}
    return subprocess.run(
        [sys.executable, *arguments], cwd=cwd, env=env | environment, capture_output=True, text=True, timeout=300
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["model=pol"], "model=pol: there is no such model; did you mean pool? Choices: baseline, bias_lr, constant, "),
        (["model=my_feedback.py"], "must name the class, too: model=my_feedback.py:MyFeedback"),
        (["-m", "model=pool,filler"], "model=filler: is an experiment: experiment=filler"),
        (["dataset=minst"], "dataset=minst: there is no such dataset; did you mean mnist?"),
        (["dims=publishd"], "did you mean published?"),
        (["experiment=fig"], "experiment=fig: there is no such experiment; did you mean fig"),
        (["train.epoch=3"], "train.epoch: there is no such key; did you mean train.epochs?"),
        (["epochs=3"], "epochs: there is no such key; did you mean train.epochs?"),
        (["model.gain=2"], "model.gain: there is no such key; did you mean model.params.gain?"),
        (["modle=pool"], "modle: there is no such key; did you mean model?"),
        (["+foo=1"], "foo: there is no such key."),
        (["+train.foo=1"], "foo: there is no such key"),
        (["+seed=2"], "+seed: this key exists; leave out the +"),
        (["train.epochs=abc"], "train.epochs: Value 'abc' of type 'str' could not be converted to Integer"),
        (["train.epochs=0"], "train.epochs=0: must be at least 1"),
        (["dims.m=30"], "m=30 does not divide 160+26=186"),
        (
            ["dataset=digits", "seed=1,2"],
            "seed=1,2: several values make a sweep: python run.py -m dataset=digits seed=1,2 outputs=",
        ),
        (["-m", "model=pool,pol"], "did you mean pool?"),
        (["-m", "dims=controlled", "dims.m=31,30,33"], "2 of 3 combinations do not fit; these do: dims.m=31\n"),
        (["-m", "dataset=digits", "seed=1,x"], "seed"),
        (["-m", "seed=range(1,4),7"], "seed=range(1,4),7: a range, glob or interval stands alone; else"),
        (["-m", "--cfg", "job"], "-m and --cfg exclude one another"),
        (["-m", "+hydra.launcher.ray.remote.num_cpus=1"], "hydra.launcher.ray: there is no such key; `python"),
        (["-m", "seed=1,2", "hydra.launcher.processes=-1"], "hydra.launcher.processes=-1: must be greater than 0"),
        (
            ["-m", "seed=1,2", "hydra.sweeper.max_failures=2"],
            "hydra.sweeper.max_failures: there is no such key; `python",
        ),
        (
            ["model=pool", "hydra.sweeper.dry_run=true"],
            "hydra.sweeper.dry_run=true: is an option of sweeps: python run.py -m",
        ),
        (["--nope"], "unrecognized arguments: --nope; see python run.py --help"),
        (["device=gpu"], "device=gpu: must be one of auto, cpu, cuda"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_runs(arguments: list[str], message: str, tmp_path: Path) -> None:
    done = python("run.py", *arguments, f"outputs={tmp_path}/outputs")
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr and "Error executing job" not in done.stderr
    assert done.stderr.startswith("weightnet: ")
    if arguments[0] != "-m":
        assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "outputs" / "runs").exists()


def test_a_missing_data_set_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = python("run.py", "dataset=mnist", f"outputs={tmp_path}", WEIGHTNET_DATA=str(tmp_path / "file"))
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1
    assert str(tmp_path / "file") in done.stderr and "dataset=digits" in done.stderr


def test_help_is_for_a_person_and_quick() -> None:
    done = python("run.py", "--help")
    assert done.returncode == 0
    for word in ("dataset: cifar, digits", "model: baseline, bias_lr, constant", "experiment=fig3", "Examples"):
        assert word in done.stdout
    assert done.stdout.split("Examples")[1].count("python run.py") >= 5
    assert "torch" not in python("-X", "importtime", "run.py", "--help").stderr


@pytest.mark.slow
def test_a_sweep_shares_runs_and_repeats_none(tmp_path: Path) -> None:
    command = [
        "run.py", "-m", "dataset=digits", "dims=controlled", "model=baseline,pool", "dims.m=31,62", "train.epochs=1",
        f"outputs={tmp_path}",
    ]  # fmt: skip
    first, again = python(*command), python(*command)
    assert first.returncode == again.returncode == 0, first.stderr + again.stderr
    assert len(list((tmp_path / "runs").glob("digits-*"))) == 3
    assert "3 missing, 1 of the combinations equal to another; 3 to run" in first.stdout and "3 done" in again.stdout


@pytest.mark.slow
def test_joblib_gives_the_same_numbers(tmp_path: Path) -> None:
    command = ["run.py", "-m", "dataset=digits", "model=pool,rmp", "train.epochs=2"]
    basic, joblib = tmp_path / "basic", tmp_path / "joblib"
    assert python(*command, f"outputs={basic}").returncode == 0
    done = python(*command, f"outputs={joblib}", "hydra/launcher=joblib")
    assert done.returncode == 0, done.stderr

    def metrics(root: Path) -> dict[str, list[str]]:
        return {
            path.parent.name: [line.rpartition(",")[0] for line in path.read_text().splitlines()]
            for path in (root / "runs").glob("*/metrics.csv")
        }

    assert len(metrics(basic)) == 2 and metrics(basic) == metrics(joblib)


@pytest.mark.slow
def test_an_experiment_runs_then_draws(tmp_path: Path) -> None:
    command = ["run.py", "experiment=demo", "train.epochs=2", "seed=1,2", f"outputs={tmp_path}"]
    done = python(*command)
    assert done.returncode == 0, done.stderr
    figure = tmp_path / "figures" / "demo-train.epochs=2-seed=1,2.png"  # other seeds than those that it names: beside
    for suffix in (".png", ".svg"):
        assert figure.with_suffix(suffix).stat().st_size > 10_000
    assert f"figure: {figure}" in done.stdout
    assert "95% low" in done.stdout and "n (seeds)" in done.stdout
    again = python("-m", "analysis", "figures", "demo", "train.epochs=2", "seed=1,2", "--outputs", str(tmp_path))
    assert again.returncode == 0, again.stderr
    assert f"figure: {figure}" in again.stdout
    table = python("-m", "analysis", "table", "--csv", "--outputs", str(tmp_path))
    rows = table.stdout.splitlines()
    assert len(rows) == 4 and all(row.endswith(",2") for row in rows[1:])
    missing = python("-m", "analysis", "figures", "fig1", "--outputs", str(tmp_path))
    assert missing.returncode == 1
    assert "run it with: python run.py experiment=fig1" in missing.stderr


@pytest.mark.slow
def test_published_mnist_learns(real_data: Path, tmp_path: Path) -> None:
    done = python(
        "run.py", "dataset=mnist", "model=pool", "train.epochs=1", "train.subset=20000", f"outputs={tmp_path}",
        WEIGHTNET_DATA=str(real_data),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (path,) = (tmp_path / "runs").glob("mnist-pool-*/metrics.csv")
    assert float(path.read_text().splitlines()[-1].split(",")[4]) > 0.85
