"""`hydra/launcher=local`: a worker process a core, each of which may be lost. See `cli.workers`."""

from collections.abc import Sequence
from dataclasses import dataclass

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


@dataclass
class LocalLauncherConfig:
    """The keys below `hydra.launcher`."""

    _target_: str = "hydra_plugins.weightnet.local_launcher.LocalLauncher"
    processes: int | None = None
    """Runs at a time. null: as many as there are cores for; one where runs use a GPU."""
    job_timeout: float | None = None
    """Seconds that a run may take before it counts as failed. null: any."""


ConfigStore.instance().store(group="hydra/launcher", name="local", node=LocalLauncherConfig, provider="weightnet")


class LocalLauncher(Launcher):
    """Runs jobs in worker processes on this machine."""

    def __init__(self, processes: int | None, job_timeout: float | None) -> None:
        self.processes, self.job_timeout = processes, job_timeout

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Remember what Hydra hands over; workers warm up while the sweep is planned."""
        from cli.warm import warm_up

        self.hydra_context, self.config = hydra_context, config
        warm_up()

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Execute the jobs, in their order as workers become free."""
        from cli.compose import Composer
        from cli.workers import execute
        from weightnet.resolve import resolve

        composer = Composer(self.hydra_context.config_loader, [], self.config)
        configs = [resolve(composer.compose(parts)) for parts in job_overrides]
        return execute(
            configs, [list(parts) for parts in job_overrides], processes=self.processes,
            timeout=self.job_timeout, max_failures=self.config.hydra.sweeper.get("max_failures"),
        )  # fmt: skip
