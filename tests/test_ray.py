"""`hydra/launcher=ray` on real Rays, in network namespaces: what they listen on is not this machine's network."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from conftest import ROOT, metrics
from hydra.types import HydraContext
from omegaconf import OmegaConf
from processes import records, rows, wait_until

from hydra_plugins.weightnet.ray_launcher import RayLauncher
from weightnet.config import Config
from weightnet.errors import RunFailed, UserError
from weightnet.identity import run_folder
from weightnet.runs import probe
from weightnet.runs.probe import Probe
from weightnet.sweep.engine import Task
from weightnet.sweep.ray_tasks import _perform

NAMESPACE = ["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Skip where no Ray can be started apart from the network; else give it a folder for its sockets and logs."""
    if find_spec("ray") is None:
        pytest.skip("needs ray: pip install 'weightnet[ray]'")
    if not (shutil.which("unshare") and shutil.which("ip")):
        pytest.skip("needs unshare (util-linux) and ip (iproute2)")
    if subprocess.run([*NAMESPACE, "true"], capture_output=True).returncode:
        pytest.skip("may make no network namespace: needs root")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:  # pytest's own are too long for sockets
        monkeypatch.setenv("RAY_TMPDIR", folder)
        monkeypatch.setenv("RAY_worker_niceness", "0")  # of a cluster: other tests may keep this machine busy
        yield


def start(folder: Path, *arguments: str, within: list[str] = NAMESPACE) -> "subprocess.Popen[str]":
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [*within, sys.executable, "-m", "weightnet", "-m", "dataset=digits", "device=cpu", *arguments]
    return subprocess.Popen(command, cwd=folder, env=environment, text=True, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, start_new_session=True)  # fmt: skip


def sweep(folder: Path, *arguments: str, status: int = 0) -> tuple[str, str]:
    process = start(folder, *arguments)
    out, err = process.communicate(timeout=400)
    assert process.returncode == status, f"{out}\n{err}"
    return out, err


def epochs(outputs: Path) -> int:
    return sum(max(0, len(path.read_text().splitlines()) - 1) for path in outputs.glob("runs/*/metrics.csv"))


def run_logs(outputs: Path) -> str:
    return "".join(path.read_text() for path in sorted(outputs.glob("runs/*/run.log")))


MINE = """
import os, signal, sys
from torch import nn

class Mine(nn.Module):
    def __init__(self, dx, deed="none"):
        super().__init__()
        self.dx, self.deed, self.steps = dx, deed, 0

    def forward(self, weight1, weight2):
        self.steps += self.training and "ray" in sys.modules
        if self.steps == 60 and self.deed == "fails":
            raise ValueError("by hand")
        if self.steps == 60 and self.deed == "dies":  # again, when it has gone on for long
            os.kill(os.getpid(), signal.SIGKILL)
        return weight1.mean(dim=0)[: self.dx]
"""


@pytest.mark.slow
@pytest.mark.usefixtures("ray")
def test_each_run_once_and_as_local_whoever_dies(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(MINE)
    own = ["model=baseline,mine.py:Mine", "dims=controlled", "seed=1,2", "train.epochs=4"]
    out, err = sweep(tmp_path, *own, "model.params.deed=none,dies,fails", "hydra/launcher=ray", status=1)
    assert "[8/8]" in out and "2 of 8 runs failed" in err and "2 x ValueError: by hand" in err
    ended = {name: record["status"] for name, record in records(tmp_path / "outputs").items()}
    assert len(ended) == 8 and all(
        status == ("failed" if "fails" in name else "done") for name, status in ended.items()
    )
    assert run_logs(tmp_path / "outputs").count("going on after epoch 2") == 2
    assert run_logs(tmp_path / "outputs").count(" parameters, on ") == 8 + 2
    here = [*own, "model.params.deed=none,dies"]
    out, _ = sweep(tmp_path, *here, "hydra/launcher=ray")
    assert "6 runs: 6 done, " in out and "; 0 to run" in out
    sweep(tmp_path, *here, "outputs=local")
    of_ray, of_local = metrics(tmp_path / "outputs"), metrics(tmp_path / "local")
    assert len(of_local) == 6 and of_local == {name: of_ray[name] for name in of_local}


@pytest.mark.slow
@pytest.mark.usefixtures("ray")
def test_ctrl_c_finishes_the_epochs(tmp_path: Path) -> None:
    process = start(tmp_path, "seed=range(1,9)", "train.epochs=500", "hydra/launcher=ray")
    wait_until(lambda: epochs(tmp_path / "outputs") > 2, seconds=200)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: Ray's processes are told as well
    _, err = process.communicate(timeout=100)
    assert process.returncode == 130 and "the same command goes on where this one stopped" in err, err
    (folder,) = (tmp_path / "outputs" / "sweeps").iterdir()
    assert {row["state"] for row in rows(folder / "summary.csv")} == {"interrupted", "missing"}
    assert {record["status"] for record in records(tmp_path / "outputs").values()} == {"interrupted"}


CLUSTER = """
import sys
from ray.cluster_utils import Cluster

cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
other = cluster.add_node(num_cpus=1)
print(cluster.address, flush=True)
sys.stdin.readline()
cluster.remove_node(other, allow_graceful=False)
sys.stdin.readline()
cluster.shutdown()
"""


@pytest.mark.slow
@pytest.mark.usefixtures("ray")
def test_the_runs_of_a_lost_node_go_on_elsewhere(tmp_path: Path) -> None:
    command = [*NAMESPACE, sys.executable, "-c", CLUSTER]
    with subprocess.Popen(command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as cluster:
        assert cluster.stdin is not None and cluster.stdout is not None
        address = cluster.stdout.readline().strip()
        there = ["nsenter", "--net", f"--target={cluster.pid}"]
        process = start(tmp_path, "seed=1,2", "train.epochs=100", "hydra/launcher=ray",
                        f"hydra.launcher.address={address}", within=there)  # fmt: skip
        try:
            wait_until(
                lambda: [len(run) > 3 for run in metrics(tmp_path / "outputs").values()] == [True] * 2, seconds=200
            )
            print(file=cluster.stdin, flush=True)
            out, err = process.communicate(timeout=400)
        finally:
            process.kill()
            cluster.stdin.close()
    assert process.returncode == 0 and "2 runs: 2 done" in out, err
    assert run_logs(tmp_path / "outputs").count("going on after epoch") == 1


def test_without_the_extra_it_is_one_line(tmp_path: Path) -> None:
    program = "import sys; sys.modules['ray'] = None; from weightnet.__main__ import main; main()"
    done = subprocess.run([sys.executable, "-c", program, "-m", "dataset=digits", "hydra/launcher=ray"], cwd=tmp_path,
                          env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr == "weightnet: hydra/launcher=ray: needs ray; pip install 'weightnet[ray]'\n"
    assert not list(tmp_path.iterdir())


def test_a_worker_that_does_not_see_others_locks_refuses(
    make_config: Callable[..., Config], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(probe, "BEAT", 0.1)
    monkeypatch.setattr(probe, "is_held", lambda path: False)  # as on a disk whose locks are each machine's own
    config = make_config()
    with Probe(run_folder(config).parent), pytest.raises(RunFailed, match="does not see a lock that"):
        _perform(Task(config, []), tmp_path / "stop")


def test_impossible_needs_are_refused() -> None:
    fine = {"num_cpus": None, "num_gpus": 0.25, "max_retries": 0, "max_failures": None}
    for key, value in (("num_cpus", 0), ("num_gpus", -1), ("max_retries", -1), ("max_failures", 0)):
        launcher = RayLauncher(address=None, **fine | {key: value})
        with pytest.raises(UserError, match=f"hydra.launcher.{key}={value}: must be "):
            launcher.setup(hydra_context=HydraContext(None, None), task_function=print, config=OmegaConf.create())
