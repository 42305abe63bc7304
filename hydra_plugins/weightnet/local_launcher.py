"""`hydra/launcher=local`: a worker process a core, each of which may be lost. See `weightnet.sweep.workers`."""

from collections.abc import Sequence
from dataclasses import dataclass

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from weightnet.errors import UserError
from weightnet.sweep.engine import Engine, Outcome, Task, warm_up


@dataclass
class LocalLauncherConfig:
    """The keys below `hydra.launcher`."""

    _target_: str = "hydra_plugins.weightnet.local_launcher.LocalLauncher"
    processes: int | None = None  # runs at a time; null: as many as there are cores for, one where runs use a GPU
    job_timeout: float | None = None  # seconds that a run may take before it counts as failed; null: any
    max_failures: int | None = None  # so many failures end the sweep, after the epochs in progress


ConfigStore.instance().store(group="hydra/launcher", name="local", node=LocalLauncherConfig, provider="weightnet")


class LocalLauncher(Engine, Launcher):
    """Runs jobs in worker processes on this machine."""

    def __init__(self, processes: int | None, job_timeout: float | None, max_failures: int | None) -> None:
        self.processes, self.job_timeout, self.max_failures = processes, job_timeout, max_failures

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Remember what Hydra hands over; workers warm up while the sweep is planned."""
        for key, value in vars(self).items():
            if value is not None and not value > 0:
                raise UserError(f"hydra.launcher.{key}={value}: must be greater than 0")
        self.hydra_context, self.config = hydra_context, config
        warm_up()

    def execute(self, tasks: Sequence[Task], *, title: str = "") -> list[Outcome]:
        """Execute the tasks, in their order as workers become free."""
        from weightnet.sweep.workers import execute

        return execute(
            tasks, processes=self.processes, timeout=self.job_timeout, max_failures=self.max_failures, title=title
        )

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Execute the jobs of a sweeper that is not ours."""
        from weightnet.experiment import resolve
        from weightnet.sweep.compose import Composer

        composer = Composer(self.hydra_context.config_loader, [], self.config)
        outcomes = self.execute([Task(resolve(composer.compose(parts)), list(parts)) for parts in job_overrides])
        returns = []
        for parts, end in zip(job_overrides, outcomes, strict=True):
            status = JobStatus.FAILED if end.error else JobStatus.COMPLETED
            returns.append(JobReturn(parts, status=status, _return_value=end.error or end.value))
        return returns
