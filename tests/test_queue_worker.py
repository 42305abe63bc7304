import json
from collections.abc import Callable
from pathlib import Path

import pytest

from weightnet.config import Config
from weightnet.errors import RunFailed
from weightnet.runs.job import run
from weightnet.sweep import queue_worker
from weightnet.sweep.engine import Outcome, Task
from weightnet.sweep.handover import Handover, hand_over
from weightnet.sweep.queue_worker import Chooser, work

MakeConfig = Callable[..., Config]


@pytest.fixture
def handover(make_config: MakeConfig, tmp_path: Path) -> Handover:
    tasks = [Task(make_config(seed=seed, epochs=3, subset=64), []) for seed in range(4)]
    return hand_over(tmp_path / "w", tasks)


def everything(chooser: Chooser) -> list[int]:
    return list(iter(chooser.next, None))


def test_each_worker_begins_at_its_own_place(handover: Handover) -> None:
    for offset in range(4):
        chooser = Chooser(handover, offset=offset, time_left=lambda: float("inf"))
        assert everything(chooser) == [*range(offset, 4), *range(offset)]


def test_what_others_do_is_left_to_them(handover: Handover) -> None:
    handover.tell(0, Outcome(error=RunFailed("by hand")))
    run(handover.tasks[1].config)
    chooser = Chooser(handover, offset=0, time_left=lambda: float("inf"))
    with handover.folders[2].lock():
        assert everything(chooser) == [3]
        assert not chooser.look_again() and everything(chooser) == []
    assert chooser.look_again() and everything(chooser) == [2]


def test_no_run_is_started_that_does_not_fit(handover: Handover, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = {0: 10.0, 1: 30.0, 2: 100.0, 3: 20.0}  # seed -> of each of its three epochs
    monkeypatch.setattr(queue_worker, "shape", lambda config: config.seed)
    monkeypatch.setattr(queue_worker, "seconds_per_epoch", lambda outputs: seconds)
    left = [100.0]

    def chosen(limit: float, now: float) -> tuple[list[int], list[int]]:
        left[0] = limit
        chooser = Chooser(handover, offset=0, time_left=lambda: left[0])
        left[0] = now
        return everything(chooser), chooser.remaining()

    assert chosen(100, 100) == ([0, 1, 2, 3], [])  # the third is longer than any allocation: an epoch of it fits
    assert chosen(100, 65) == ([0, 3], [1, 2])
    assert chosen(100, 10) == ([], [0, 1, 2, 3])
    assert chosen(50, 50) == ([0, 1, 3], [2])
    run_epochs = iter([False, True])
    with pytest.raises(KeyboardInterrupt):
        run(handover.tasks[1].config, stop=lambda: next(run_epochs))
    assert chosen(100, 35) == ([0, 1], [2, 3])  # one of its epochs is left


@pytest.mark.slow
def test_a_worker_does_it_all_and_leaves(handover: Handover) -> None:
    chooser = Chooser(handover, offset=1, time_left=lambda: float("inf"))
    assert not work(handover, chooser, processes=2, stopping=lambda: False)
    assert [handover.outcome(index) is not None for index in range(4)] == [True] * 4
    assert not list((handover.path / "ended").iterdir())


def test_a_worker_that_is_stopped_says_that_there_is_more(handover: Handover) -> None:
    chooser = Chooser(handover, offset=0, time_left=lambda: float("inf"))
    assert work(handover, chooser, processes=1, stopping=lambda: True)
    assert [handover.outcome(index) for index in range(4)] == [None] * 4


@pytest.mark.slow
def test_failures_and_replays_are_told(make_config: MakeConfig, tmp_path: Path) -> None:
    done = make_config(seed=1, epochs=1, subset=64)
    run(done)
    missing = make_config("mnist", seed=1, data_root=str(tmp_path / "file"))
    (tmp_path / "file").write_text("")
    handover = hand_over(tmp_path / "w", [Task(done, [], verify_epochs=1), Task(missing, [])])
    chooser = Chooser(handover, offset=0, time_left=lambda: float("inf"))
    assert not work(handover, chooser, processes=1, stopping=lambda: False)
    assert handover.outcome(0) == Outcome("")
    failed = json.loads((handover.path / "ended" / handover.ids[1]).read_text())
    assert failed["mistake"] and failed["error"].startswith("dataset=mnist: cannot use")


def test_as_many_cores_as_were_allocated() -> None:
    for said, cores in (({"SLURM_CPUS_PER_TASK": "8"}, 8), ({"SLURM_CPUS_PER_TASK": ""}, None), ({}, None)):
        assert queue_worker._cores(said) == cores
