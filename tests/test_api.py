"""weightnet from Python: what it returns, what it refuses, and that it is the command line."""

import json
import os
import pickle
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch
from conftest import MEAN, ROOT, expand, metrics
from hydra.core.global_hydra import GlobalHydra
from processes import records
from test_load import write_run

import weightnet
from weightnet import own
from weightnet.config import Config
from weightnet.errors import RunFailed, UserError
from weightnet.net.model import WeightNet

MakeConfig = Callable[..., Config]


def python(code: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    """Execute a script, without `if __name__ == ...`, in a folder of its own."""
    (folder / "script.py").write_text(code)
    env = {key: value for key, value in os.environ.items() if key != "WEIGHTNET_DATA"} | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "script.py"], cwd=folder, env=env, capture_output=True, text=True, timeout=240
    )


def test_importing_it_costs_nothing(tmp_path: Path) -> None:
    done = python(
        "import sys, weightnet; print(dir(weightnet), {'torch', 'pandas', 'hydra'} & {*sys.modules})", tmp_path
    )
    assert done.stdout == "['Run', 'RunFailed', 'Runs', 'UserError', 'load', 'run', 'sweep'] set()\n", done.stderr


@pytest.mark.parametrize(
    ("call", "words", "message"),
    [
        (weightnet.run, "model=pol", "model=pol: there is no such model; did you mean pool?"),
        (weightnet.run, "train.epochs=x", "train.epochs: Value 'x' of type 'str'"),
        (weightnet.run, "train.epochs=0", "train.epochs=0: must be at least 1"),
        (weightnet.run, ["dataset=digits", "seed=1,2"], r"several values make a sweep: weightnet.sweep\(\['dataset"),
        (weightnet.run, "experiment=fig1", "several values make a sweep"),
        (weightnet.run, "hydra.sweeper.rerun=all", "is an option of sweeps"),
        (weightnet.run, "model=__main__:Cell", r"write it to a file: my_file.py:Cell"),
        (weightnet.run, "model='pool", "No closing quotation"),
        (weightnet.sweep, "-m model=pool", "-m: must be KEY=VALUE"),
        (weightnet.sweep, "model=pool,pol dataset=digits", "model=pol: there is no such model"),
        (weightnet.sweep, "dataset=digits hydra.sweeper.rerun=now", "must be one of missing, stale"),
        (weightnet.sweep, "dataset=digits analysis.primary=mean:ten", "analysis.primary=mean:ten: must be METRIC"),
    ],
)
def test_a_mistake_is_an_error_of_one_line_and_leaves_nothing_behind(
    call: Callable[[object], object], words: object, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = list(sys.argv)
    with pytest.raises(UserError, match=message):
        call(words)
    assert sys.argv == before and not GlobalHydra.instance().is_initialized() and not list(tmp_path.iterdir())


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    words = ["dataset=digits", "model=baseline,pool", "seed=range(1,4)", "dims=controlled", f"outputs={tmp_path}/o"]
    for number, config in enumerate(expand([*words, "train.epochs=2", "device=cpu"])):
        write_run(config, [0.5, 0.6 + 0.01 * number])
    return tmp_path / "o"


WORDS = ["dataset=digits", "model=baseline,pool", "seed=range(1,4)", "dims=controlled", "train.epochs=2", "device=cpu"]


@pytest.mark.parametrize("words", [[], WORDS])
def test_runs_are_frames_tables_and_figures(outputs: Path, words: list[str]) -> None:
    runs = weightnet.load(outputs, words)
    assert len(runs) == 6 and len(runs.frame) == 12 and repr(runs).startswith("6 runs below ")
    last = runs.frame[runs.frame["epoch"] == 2].groupby("model.name")["accuracy"]
    assert last.mean().to_dict() == pytest.approx({"baseline": 61, "pool": 64})
    table = runs.table()
    assert table["n (seeds)"].tolist() == [3, 3] and table.iloc[:, -4].tolist() == pytest.approx([61, 64])
    (row,) = runs.compare("baseline").to_dict("records")
    assert row["difference in test accuracy, last epoch, points"] == pytest.approx(3) and row["n (pairs)"] == 3
    figure = runs.figure("differences")
    assert figure.axes and figure._repr_png_().startswith(b"\x89PNG")  # type: ignore[attr-defined]
    with pytest.raises(UserError, match="these runs have '', 'final'"):
        runs.figure("nothing")
    assert runs._repr_html_().count("<tr") == 3
    assert {run.config.model.name for run in runs} == {"baseline", "pool"}


def test_an_experiment_is_loaded_by_its_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for config in expand(["experiment=fig1", "seed=1,2", f"outputs={tmp_path}/o", "device=cpu"]):
        write_run(config, [0.9] * 6)
    runs = weightnet.load(tmp_path / "o", "fig1")
    assert len(runs) == 4 and runs.table()["n (seeds)"].tolist() == [2, 2]
    with pytest.raises(UserError, match="there are no runs"):
        weightnet.load(tmp_path)
    with pytest.raises(RunFailed, match="no finished or running run"):
        weightnet.load(tmp_path / "o", "fig2").table()
    assert "fig2" in weightnet.load(tmp_path / "o", "fig2")._repr_html_()
    for config in expand(["experiment=demo", "seed=range(1,6)", f"outputs={tmp_path}/d", "device=cpu"]):
        write_run(config, [0.9] * 15)
    runs = weightnet.load(tmp_path / "d", "demo")  # which plans three seeds
    assert "demo: 6 runs of other seeds than it plans left out" in capsys.readouterr().err
    assert len(runs) == len(runs.frame) // 15 == 9 and runs.table()["n (seeds)"].tolist() == [3, 3, 3]


def test_a_run_is_its_files(outputs: Path) -> None:
    run = next(iter(weightnet.load(outputs)))
    (run.folder / "steps.csv").write_text("step,loss\n40,0.25\n")
    pd.testing.assert_frame_equal(run.metrics, pd.read_csv(run.folder / "metrics.csv"), check_dtype=False)
    assert run.steps.to_dict("records") == [{"step": 40, "loss": 0.25}] and run.config.train.epochs == 2
    (run.folder / "steps.csv").write_text("step,loss\n")  # fewer steps than train.log_interval
    assert run.steps.empty and list(run.steps) == ["step", "loss"]
    (run.folder / "steps.csv").write_text("step\n")
    with pytest.raises(RunFailed, match="steps.csv has the columns"):
        run.steps  # noqa: B018
    with pytest.raises(UserError, match="has no model.pt; run it with train.save_model=true"):
        run.model()
    (run.folder / "metrics.csv").write_text("epoch\nx\n")
    with pytest.raises(RunFailed, match="metrics.csv has the columns"):
        run.metrics  # noqa: B018


class Evil:
    def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
        return os.mkdir, ("executed",)


def test_the_network_is_what_was_trained_and_a_file_executes_nothing(
    make_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = make_config(model="pool", seed=3)
    trained, folder = WeightNet(config), write_run(config, [0.5, 0.5])
    torch.nn.init.ones_(trained.fc1.weight)
    torch.save(trained.state_dict(), folder / "model.pt")
    model, me = weightnet.Run(folder).model(), weightnet.Run(folder).feedback()
    assert not model.training and me is not None and me.tolist()[-4:] == [1.0] * 4
    images = torch.rand(2, 1, 28, 28)
    assert torch.equal(model(images), trained.eval()(images)) and torch.equal(me, trained.me())
    (folder / "model.pt").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(RunFailed, match="model.pt cannot be loaded"):
        weightnet.Run(folder).model()
    assert not Path("executed").exists()


def test_own_code_is_executed_for_who_names_it_and_as_it_is_now(
    make_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [*sys.path])
    text = MEAN.replace("self.gain *", "helper.HALF *").replace("Tensor, nn", "Tensor, nn\n\nimport helper")
    Path("mine.py").write_text(text)
    Path("helper.py").write_text("HALF = 0.5\n")
    (config,) = expand(["dataset=digits", "model=mine.py:MeanFeedback", f"outputs={tmp_path}/o", "device=cpu"])
    folder = write_run(config, [0.5] * config.train.epochs)
    torch.save(WeightNet(config).state_dict(), folder / "model.pt")
    (found,) = weightnet.load("o")
    own.named.clear()
    with pytest.raises(UserError, match=r"names code, mine.py:MeanFeedback; model\(execute=True\) executes it"):
        found.model()
    (run,) = weightnet.load("o", "dataset=digits model=mine.py:MeanFeedback device=cpu")
    before = run.feedback()
    Path("helper.py").write_text("HALF = 0.25\n")
    after = run.feedback()
    assert before is not None and after is not None and torch.equal(2 * after, before)
    own.named.clear()
    assert found.model(execute=True).feedback is not None


README = re.findall(r"```python\n(import weightnet\n.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)

SCRIPT = """
import os, signal, sys, threading, weightnet
signal.signal(signal.SIGINT, signal.default_int_handler)  # who runs these tests may ignore it
print("begins")
run = weightnet.run("model=pool seed=1 dataset=digits device=cpu train.epochs=2 train.save_model=true outputs=o")
assert weightnet.run("model=pool seed=1 dataset=digits device=cpu train.epochs=2 outputs=o") == run
assert "torch" not in sys.modules and run.feedback().shape == (26,) and len(run.metrics) == 2
runs = weightnet.sweep("model=baseline,pool seed=1 dataset=digits device=cpu train.epochs=2 outputs=o")
assert len(runs) == 2 and runs.figure().axes and runs.compare()["n (pairs)"].item() == 1
assert len(weightnet.sweep(["model=baseline,pool", "dataset=digits", "device=cpu", "train.epochs=2", "outputs=o"])) == 2
try:
    weightnet.run("model=pool seed=1 dataset=digits device=cpu train.lr=1e30 outputs=/proc/nowhere")
except weightnet.RunFailed as error:
    print(error)
long = "model=baseline seed=1 dataset=digits device=cpu train.epochs=1000 outputs=o"
(folder,) = (run.folder.parent.parent / "runs").glob("*baseline-s1-*")


def interrupt():
    while not [path for path in folder.parent.glob("*baseline-s1-*/checkpoint.pt")]:
        pass
    os.kill(os.getpid(), signal.SIGINT)


threading.Thread(target=interrupt).start()
try:
    weightnet.run(long)
except KeyboardInterrupt:
    print("interrupted", signal.getsignal(signal.SIGINT) is signal.default_int_handler, sys.argv)
"""


@pytest.mark.slow
def test_the_readme_says_how(tmp_path: Path) -> None:
    (code,) = README
    done = python(f"{code}print(len(runs), runs.figure().axes != [], tuple(run.feedback().shape))", tmp_path)
    assert done.returncode == 0 and done.stdout.endswith("\n6 True (26,)\n"), done.stderr


@pytest.mark.slow
def test_it_is_the_command_line(tmp_path: Path) -> None:
    done = python(SCRIPT, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("begins") == 1  # no worker executes the script
    assert "2 runs: 1 missing, 1 done; 1 to run" in done.stdout and "2 runs: 2 done; 0 to run" in done.stdout
    assert "cannot use /proc/nowhere" in done.stdout
    assert done.stdout.splitlines()[-1] == "interrupted True ['script.py']"
    (left,) = [record for record in records(tmp_path / "o").values() if record["status"] != "done"]
    assert left["status"] == "interrupted"
    first, second = sorted((tmp_path / "o" / "sweeps").iterdir())
    assert {path.name for path in first.iterdir()} >= {"plan.csv", "summary.csv", "table.md", "figure.png"}
    assert json.loads((second / "sweep.json").read_text())["command"].startswith("weightnet -m model=baseline,pool ")
    command = [sys.executable, str(ROOT / "run.py"), "-m", "dataset=digits", "device=cpu", "train.epochs=2"]
    typed = subprocess.run(
        [*command, "model=baseline,pool", "outputs=typed"], cwd=tmp_path, capture_output=True, text=True
    )
    assert typed.returncode == 0, typed.stderr
    ours = metrics(tmp_path / "o")
    assert {run: ours[run] for run in metrics(tmp_path / "typed")} == metrics(tmp_path / "typed")
