import json
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import CancelledError
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from weightnet.config import Config
from weightnet.errors import Held, RunFailed, UserError
from weightnet.fingerprint import origins
from weightnet.runs.job import run
from weightnet.sweep.engine import Outcome, Task, perform
from weightnet.sweep.handover import hand_over, read_handover

MakeConfig = Callable[..., Config]


def test_what_is_handed_over_is_what_is_read(make_config: MakeConfig, tmp_path: Path) -> None:
    tasks = [
        Task(make_config(seed=1), ["seed=1"]),
        Task(make_config("cifar", "rmp", seed=2), [], verify_epochs=3, differing="seed=2"),
        Task(make_config(model="noise", seed=2), [], anew=True),
    ]
    hand_over(tmp_path / "w", tasks)
    read, codes = read_handover(tmp_path / "w")
    assert read.tasks == [replace(task, before="") for task in tasks]
    assert codes == [origin.code for origin in origins(task.config for task in tasks)]


def test_paths_mean_the_same_to_workers(
    make_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    made = hand_over(tmp_path / "w", [Task(replace(make_config(), outputs="out", data_root="data"), [])])
    assert (made.tasks[0].config.outputs, made.tasks[0].config.data_root) == (f"{tmp_path}/out", f"{tmp_path}/data")


def test_how_tasks_ended(make_config: MakeConfig, tmp_path: Path) -> None:
    tasks = [Task(make_config(seed=seed, epochs=1), []) for seed in (1, 2, 3)]
    tasks += [replace(tasks[0], verify_epochs=1)]
    done = run(tasks[1].config)  # before: that says nothing of what is to be done anew
    made = hand_over(tmp_path / "w", tasks)
    assert [made.outcome(index) for index in range(4)] == [None] * 4
    first = run(tasks[0].config)
    assert made.outcome(0) == Outcome(first.test_accuracy) == made.outcome(0)
    assert made.outcome(1) is None
    again = perform(replace(made.tasks[1], anew=True), lambda: False)
    assert again == made.outcome(1) == Outcome(done.test_accuracy)
    assert perform(replace(made.tasks[1], anew=True), lambda: False) == again  # by two workers at once: once
    assert len(list((tmp_path / "outputs" / "runs" / ".old").iterdir())) == 1
    for outcome in (Outcome(error=Held("other")), Outcome(error=CancelledError())):
        made.tell(2, outcome)
        assert made.outcome(2) is None
    for error in (RunFailed("first\nlast"), UserError("no data")):
        made.tell(2, Outcome(error=error))
        told = made.outcome(2)
        assert told and told.failed and type(told.error) is type(error) and str(told.error) == str(error)
    assert made.outcome(3) is None
    made.tell(3, Outcome("epoch 1 differs"))
    assert made.outcome(3) == Outcome("epoch 1 differs")


def test_a_run_that_is_done_already_ends_all_the_same(make_config: MakeConfig, tmp_path: Path) -> None:
    task = Task(make_config(epochs=1, subset=64), [])
    done = run(task.config)
    made = hand_over(tmp_path / "w", [task])
    made.tell(0, perform(made.tasks[0], lambda: False))
    assert made.outcome(0) == Outcome(done.test_accuracy)


def test_what_is_still_being_written_is_no_refusal(make_config: MakeConfig, tmp_path: Path) -> None:
    made = hand_over(tmp_path / "w", [Task(make_config(), [])])
    (made.path / "refused" / ".7_1.4711").write_text("")
    made.refuse("7_0", "too\nlittle time")
    assert made.refusals() == {"7_0": "too little time"}


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "{}", '{"tasks": 3}', '{"tasks": [3]}', '{"tasks": [{}]}', '{"tasks": [{"before": "", "code": 3}]}',
     '{"tasks": []}',
     '{"tasks": [{"before": "", "code": ""}]}', '{"tasks": [{"before": "", "code": "", "config": []}]}'],
)  # fmt: skip
def test_damaged_tasks_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "tasks.json").write_text(text)
    with pytest.raises(ValueError):
        read_handover(tmp_path)


@pytest.mark.parametrize(
    "change", [{"overrides": "seed=1"}, {"anew": 1}, {"verify_epochs": "2"}, {"more": 1}, {"differing": None}]
)
def test_tasks_of_other_types_are_refused(make_config: MakeConfig, tmp_path: Path, change: dict[str, object]) -> None:
    made = hand_over(tmp_path / "w", [Task(make_config(), [])])
    plain = asdict(made.tasks[0]) | {"before": "", "code": ""} | change
    (tmp_path / "w" / "tasks.json").write_text(json.dumps({"tasks": [plain]}))
    with pytest.raises(ValueError, match="tasks.json"):
        read_handover(tmp_path / "w")


@pytest.mark.parametrize("text", ["{", "{}", '{"value": null}', "[]"])
def test_damaged_outcomes_are_failures(make_config: MakeConfig, tmp_path: Path, text: str) -> None:
    made = hand_over(tmp_path / "w", [Task(make_config(), [])])
    (tmp_path / "w" / "ended" / made.ids[0]).write_text(text)
    told = made.outcome(0)
    assert told and told.failed


OWN = {
    "ideas/mine.py": "from torch import nn\nfrom helper import half\n\n\nclass Mine(nn.Module):\n    pass\n",
    "ideas/helper.py": "half = 0.5\n",
    "pack/__init__.py": "",
    "pack/metrics.py": "def metric(logits, labels):\n    return 1.0\n",
    "unused.py": "",
}


def test_code_is_copied_so_that_it_is_the_same_there(
    make_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in OWN.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    config = make_config()
    config.model.feedback, config.eval.metrics = "ideas/mine.py:Mine", {"m": "pack.metrics:metric"}
    made = hand_over(tmp_path / "w", [Task(config, [])])
    code = made.path / "code"
    assert {name: (code / name).read_text() for name in OWN if (code / name).exists()} == {
        name: text for name, text in OWN.items() if name != "unused.py"
    }
    program = f"""
from pathlib import Path
from weightnet import fingerprint
from weightnet.sweep.handover import codes, read_handover
made, then = read_handover(Path({str(made.path)!r}))
assert Path(fingerprint.__file__).is_relative_to({str(code)!r})
assert list(codes(made.tasks)) == then
"""
    for name in OWN:
        (tmp_path / name).write_text("raise ValueError")
    subprocess.run([sys.executable, "-c", program], cwd=code, check=True)


def test_code_from_elsewhere_is_refused(
    make_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.py").write_text(OWN["ideas/mine.py"])
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    config = make_config()
    for feedback in ("../mine.py:Mine", f"{tmp_path}/mine.py:Mine"):
        config.model.feedback = feedback
        with pytest.raises(UserError, match="must lie below"):
            hand_over(tmp_path / "w", [Task(config, [])])
