"""`hydra/launcher=slurm`: workers in the queue of a cluster, which share the runs. See `weightnet.sweep.watch`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from weightnet.errors import UserError
from weightnet.sweep.engine import Engine, Outcome, Task
from weightnet.sweep.slurm import Options


@dataclass
class SlurmLauncherConfig(Options):
    """The keys below `hydra.launcher`."""

    _target_: str = "hydra_plugins.weightnet.slurm_launcher.SlurmLauncher"
    wait: bool = True  # false: return once the workers are submitted


ConfigStore.instance().store(group="hydra/launcher", name="slurm", node=SlurmLauncherConfig, provider="weightnet")


class SlurmLauncher(Engine, Launcher):
    """Runs jobs by workers that Slurm starts."""

    def __init__(self, wait: bool, **options: Any) -> None:
        self.wait, self.options = wait, Options(**options)

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Remember what Hydra hands over."""
        self.options.check()
        self.config = config

    def execute(self, tasks: Sequence[Task], *, title: str = "") -> list[Outcome]:
        """Execute the tasks, in any order."""
        from weightnet.sweep.watch import execute

        return execute(tasks, Path(self.config.hydra.sweep.dir), self.options, wait=self.wait, title=title)

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Refuse the jobs of a sweeper that is not ours: it would wait for the queue after every few."""
        raise UserError("hydra/launcher=slurm: takes hydra/sweeper=study")
