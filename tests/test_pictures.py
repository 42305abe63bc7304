from pathlib import Path

import pytest
from test_load import write_run
from test_sweeps import write_sweep

from analysis.experiments import asked_for
from analysis.load import load_runs
from analysis.pictures import choose_axes
from analysis.records import read_sweep
from analysis.sweeps import studies_of
from weightnet.errors import UserError

ZIPPED = 'hydra.sweeper.zip=["dims.dx,dims.m"]'


@pytest.mark.parametrize(
    ("overrides", "picture"),
    [
        (["model=baseline,pool", "seed=1,2"], []),
        (["model=projection", "model.kind=sparse,kron"], []),
        (["model=pool", "dims=published,controlled"], []),
        (["model=pool", "train.precision=float32,bf16", "train.lr=0.1"], []),
        (["model=pool", "train.lr=0.1,0.2", "seed=1,2"], ["train.lr"]),
        (["model=baseline,pool", "dims=controlled", "dims.m=31,62"], ["dims.m"]),
        (["model=baseline,pool,constant,ones", "model.params.fill=0,1"], []),  # which pool alone has
        (["train.subset=100,200", "model=baseline,pool"], ["train.subset"]),
        (["model=pool", "train.subset=null,200"], []),  # all examples are no number
        (["train.momentum=0,0.5", "train.lr=0.1,0.2"], ["train.momentum", "train.lr"]),
        (["train.momentum=0,0.5", "train.lr=0.1,0.2", "train.batch_size=32,64"], ["train.momentum", "train.lr"]),
        (["model=pool", "dims=auto", "dims.dx=29,29,36", "dims.m=21,27,28", ZIPPED], ["dims.m"]),
    ],
    ids=str,
)
def test_the_picture_follows_from_what_was_swept(overrides: list[str], picture: list[str]) -> None:
    experiment = asked_for([*overrides, "dataset=digits"])
    assert choose_axes(experiment.arms, experiment.axes) == picture


def test_what_is_asked_for_comes_first() -> None:
    experiment = asked_for(["dataset=digits", "train.momentum=0,0.5", "train.lr=0.1,0.2", "train.batch_size=32,64"])
    arms, axes = experiment.arms, experiment.axes
    assert choose_axes(arms, axes, x="train.lr") == ["train.lr"]
    assert choose_axes(arms, axes, x="train.lr", y="train.batch_size") == ["train.lr", "train.batch_size"]
    assert choose_axes(arms, axes, y="train.momentum") == ["train.lr", "train.momentum"]
    numbers = "must be a number that varies in these runs; there are train.momentum, train.lr, train.batch_size"
    for key in ("train.epochs", "model.name", "nonsense", "seed"):
        with pytest.raises(UserError, match=f"--x={key}: {numbers}"):
            choose_axes(arms, axes, x=key)
    with pytest.raises(UserError, match="--y=train.lr: is the x axis already"):
        choose_axes(arms, axes, x="train.lr", y="train.lr")


def test_a_key_that_follows_from_another_may_be_asked_for() -> None:
    kernels = asked_for(["dataset=digits", "model=pool", "dims=auto", "dims.dx=29,36", "dims.m=27,28", ZIPPED])
    assert choose_axes(kernels.arms, kernels.axes, x="dims.dx") == ["dims.dx"]


def test_only_what_has_run_counts(tmp_path: Path) -> None:
    folder, (first, _) = write_sweep(tmp_path, "dataset=digits", "model=pool", "train.lr=0.1,0.2")
    write_run(first, [0.9] * first.train.epochs)
    sweep = read_sweep(folder)
    (study,) = studies_of(sweep, load_runs(tmp_path, sweep.runs))
    assert study.axes == []
