from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import MEAN, make_record
from hydra.core.global_hydra import GlobalHydra

from weightnet.errors import UserError
from weightnet.net.epoch import EpochResult
from weightnet.runs.folder import State
from weightnet.sweep.compose import Composer, composer
from weightnet.sweep.conf_folders import offer_own_models
from weightnet.sweep.plan import Plan, combinations, make_plan
from weightnet.sweep.states import RERUN, read_states


@pytest.fixture(autouse=True)
def hydra() -> Iterator[None]:
    with composer():
        yield


def plan(
    outputs: Path,
    *overrides: str,
    zipped: list[str] | None = None,
    exclude: list[str] | None = None,
    impossible: str = "refuse",
) -> Plan:
    sweep = Composer(GlobalHydra.instance().config_loader(), ["device=cpu", f"outputs={outputs}", *overrides])
    return make_plan(sweep, zipped=zipped or [], exclude=exclude or [], impossible=impossible)


def models(made: Plan) -> list[str]:
    return [job.config.model.name for job in made.jobs]


def test_equal_runs_are_one_job(tmp_path: Path) -> None:
    made = plan(tmp_path, "model=baseline,pool,rmp", "dims.m=31,62")
    assert models(made) == ["baseline", "pool", "pool", "rmp"] and made.merged == 2
    assert made.jobs[1].differing == "model=pool dims.m=31"


def test_the_overrides_in_which_jobs_differ_are_shown_as_they_were_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.py").write_text(MEAN)
    monkeypatch.chdir(tmp_path)
    offer_own_models(["model=pool,mine.py:MeanFeedback"])
    made = plan(tmp_path, "model=pool,mine.py:MeanFeedback", "dims=controlled")
    assert [job.differing for job in made.jobs] == ["model=pool", "model=mine.py:MeanFeedback"]


def test_axes_of_a_model_apply_to_that_model(tmp_path: Path) -> None:
    # kinds other than dense are for the projection alone; pool has no kind
    made = plan(tmp_path, "model=pool,projection", "dims.m=31,62", "model.kind=dense")
    assert models(made) == ["pool", "pool", "projection"]


def test_every_mistake_is_listed_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        plan(tmp_path, "model=pool,pol", "seed=1,x", "dims.m=31,30")
    text = str(caught.value)
    assert "did you mean pool?" in text and "'x'" in text and "m=30 does not divide" in text


def test_what_does_not_fit_is_counted_or_left_out(tmp_path: Path) -> None:
    sweep = ("model=baseline,pool", "dims=controlled", "dims.m=29,30,31,62,63")
    with pytest.raises(UserError) as caught:
        plan(tmp_path, *sweep)
    first, second = str(caught.value).splitlines()
    assert first == "3 of 5 combinations do not fit; these do: dims.m=31, dims.m=62"
    assert "hydra.sweeper.impossible=skip" in second and "m=29 does not divide" in second
    made = plan(tmp_path, *sweep, impossible="skip")
    assert models(made) == ["baseline", "pool", "pool"] and made.impossible == 3
    with pytest.raises(UserError, match="2 of 2 combinations do not fit; none does"):
        plan(tmp_path, "model=pool", "dims=controlled", "dims.m=29,30", impossible="skip")
    with pytest.raises(UserError, match="must be one of refuse, skip"):
        plan(tmp_path, impossible="ignore")


def test_several_experiments_are_several_sweeps(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="experiment=fig1,fig2: an experiment is a sweep of its own"):
        plan(tmp_path, "experiment=fig1,fig2")


def test_the_axes_are_what_was_swept(tmp_path: Path) -> None:
    made = plan(tmp_path, "model=pool", "seed=1,2", "dims=auto", "dims.dx=29,36", "dims.m=27,28", "train.lr=0.1",
                zipped=["dims.dx,dims.m"])  # fmt: skip
    assert made.axes == [["seed"], ["dims.dx", "dims.m"]]


def test_parameters_must_be_those_of_some_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gains.py").write_text(
        "from weightnet.net.feedback import Feedback\n\n\nclass Gain(Feedback):\n"
        "    def __init__(self, dx: int, gain: float):\n        super().__init__(dx)\n        self.gain = gain\n\n"
        "    def forward(self, weight1, weight2):\n        return self.gain * weight1[0, : self.dx]\n"
    )
    monkeypatch.chdir(tmp_path)
    offer_own_models(["model=baseline,gains.py:Gain"])
    made = plan(tmp_path, "model=baseline,gains.py:Gain", "model.params.gain=0.5,1,2")
    assert models(made) == ["baseline", "Gain", "Gain", "Gain"] and made.merged == 2
    assert [job.config.model.params for job in made.jobs[1:]] == [{"gain": 0.5}, {"gain": 1.0}, {"gain": 2.0}]
    with pytest.raises(
        UserError, match="model.params.gian: there is no such parameter; baseline takes perturbation; Gain takes gain"
    ):
        plan(tmp_path, "model=baseline,gains.py:Gain", "model.params.gain=1", "model.params.gian=1")


def test_combinations_are_left_out(tmp_path: Path) -> None:
    made = plan(tmp_path, "model=baseline,pool", "dataset=mnist,cifar", exclude=["model=pool,dataset=cifar"])
    assert [(job.config.model.name, job.config.dataset.name) for job in made.jobs] == [
        ("baseline", "mnist"), ("baseline", "cifar"), ("pool", "mnist")
    ]  # fmt: skip
    assert made.excluded == 1
    # what does not fit can be left out too
    assert len(plan(tmp_path, "model=pool", "dims.m=31,30", exclude=["dims.m=30"]).jobs) == 1
    # parameters of models too, and a number is the same however it is written
    words = ("model=pool,padding", "model.params.gain=1,9", "train.lr=0.1,1")
    made = plan(tmp_path, *words, exclude=["model=padding,model.params.gain=9.0", "train.lr=1"])
    assert [(job.config.model.name, job.config.model.params["gain"]) for job in made.jobs] == [
        ("pool", 1), ("pool", 9), ("padding", 1)
    ]  # fmt: skip


def test_an_exclusion_that_does_nothing_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="model=rmp matches no job"):
        plan(tmp_path, "model=baseline,pool", exclude=["model=rmp"])
    with pytest.raises(UserError, match="there is no key train.lrr"):
        plan(tmp_path, "model=baseline", exclude=["train.lrr=1"])


def test_zipped_axes_move_together() -> None:
    axes = {"a": ["a=1", "a=2"], "b": ["b=1", "b=2", "b=3"], "c": ["c=1", "c=2"], "d": ["d=1"]}
    assert list(combinations(axes, ["a,c"])) == [
        (f"a={a}", f"c={a}", f"b={b}", "d=1") for a in (1, 2) for b in (1, 2, 3)
    ]
    assert len(list(combinations(axes, []))) == 12
    with pytest.raises(UserError, match="a has 2, b has 3"):
        list(combinations(axes, ["a,b"]))
    with pytest.raises(UserError, match="e is no key of this sweep"):
        list(combinations(axes, ["a,e"]))
    with pytest.raises(UserError, match="a is named twice"):
        list(combinations(axes, ["a,c", "a,d"]))


def test_states_decide_what_runs(tmp_path: Path) -> None:
    made = plan(tmp_path, "model=baseline", "seed=range(1,8)")
    assert not list(tmp_path.iterdir())  # planning looks at no folder and takes no lock
    fields = [None, {}, {"code": "old"}, {"status": "failed"}, {"status": "interrupted"}, {"status": "running"},
              {}]  # fmt: skip
    for job, changed in zip(made.jobs, fields, strict=True):
        if changed is not None:
            job.folder.path.mkdir(parents=True)
            job.folder.write_record(make_record(job.config, **{"epochs": 1} | changed))
            job.folder.write_history([EpochResult(1, 23, 0.5, 0.5, 0.5, 1.0, [])])
    (made.jobs[6].folder.path / "metrics.csv").unlink()

    def states() -> list[State]:
        return [state.state for state in read_states(made.jobs).values()]

    def run_by(rerun: str) -> list[int]:
        found = read_states(made.jobs)
        return [job.config.seed for job in made.jobs if found[job.id].state in RERUN[rerun]]

    with made.jobs[5].folder.lock():
        assert states() == ["missing", "done", "stale", "failed", "interrupted", "running", "damaged"]
    assert states()[5] == "interrupted"
    assert run_by("missing") == [1, 4, 5, 6, 7] and run_by("stale") == [1, 3, 4, 5, 6, 7]
    assert run_by("failed") == [4] and run_by("all") == [1, 2, 3, 4, 5, 6, 7] and run_by("none") == []
    assert run_by("verify") == [3]
    assert set(RERUN) == {"missing", "stale", "verify", "failed", "all", "none"}
