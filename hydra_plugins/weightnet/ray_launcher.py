"""`hydra/launcher=ray`: each run a task of Ray, on this machine or a cluster. See `weightnet.sweep.ray_tasks`."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from weightnet.errors import UserError
from weightnet.sweep.engine import Engine, Outcome, Task


@dataclass
class RayLauncherConfig:
    """The keys below `hydra.launcher`."""

    _target_: str = "hydra_plugins.weightnet.ray_launcher.RayLauncher"
    address: str | None = None  # of a cluster, as ray.init has it (auto, HOST:PORT); null: one that ends with the sweep
    num_cpus: int | None = None  # CPUs that a run takes; null: one for each of its threads
    num_gpus: float | None = None  # GPUs that a run takes; null: one where runs use a GPU
    max_retries: int = 3  # times that a run goes on elsewhere whose process or machine was lost
    max_failures: int | None = None  # so many failures end the sweep, after the epochs in progress


with suppress(ImportError):  # hydra-ray-launcher takes the same name: where it is installed, ours comes after it
    import_module("hydra_plugins.hydra_ray_launcher._config")
ConfigStore.instance().store(group="hydra/launcher", name="ray", node=RayLauncherConfig, provider="weightnet")


class RayLauncher(Engine, Launcher):
    """Runs jobs as tasks of Ray."""

    def __init__(self, **options: Any) -> None:
        self.options = vars(RayLauncherConfig(**options))
        del self.options["_target_"]

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Remember what Hydra hands over."""
        for key in ("num_cpus", "num_gpus", "max_failures"):
            if (value := self.options[key]) is not None and not value > 0:
                raise UserError(f"hydra.launcher.{key}={value}: must be greater than 0")
        if (retries := self.options["max_retries"]) < 0:
            raise UserError(f"hydra.launcher.max_retries={retries}: must be 0 or more")
        if find_spec("ray") is None:
            raise UserError("hydra/launcher=ray: needs ray; pip install 'weightnet[ray]'")
        self.config = config

    def execute(self, tasks: Sequence[Task], *, title: str = "") -> list[Outcome]:
        """Execute the tasks, in their order as Ray has room for them."""
        from weightnet.sweep.ray_tasks import execute

        return execute(tasks, Path(self.config.hydra.sweep.dir), title=title, **self.options)

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Refuse the jobs of a sweeper that is not ours: it would start Ray anew for every few."""
        raise UserError("hydra/launcher=ray: takes hydra/sweeper=study")
