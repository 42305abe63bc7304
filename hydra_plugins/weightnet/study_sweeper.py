"""`hydra/sweeper=study`: plans a sweep, runs what is missing, never repeats or loses a run. See `weightnet.sweep`."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


@dataclass
class StudySweeperConfig:
    """The keys below `hydra.sweeper`."""

    _target_: str = "hydra_plugins.weightnet.study_sweeper.StudySweeper"
    rerun: str = "missing"
    """missing (also resumes the interrupted and retries the failed), stale, verify, failed, all or none."""
    verify_epochs: int = 1
    """rerun=verify: how many epochs of each stale run are replayed."""
    dry_run: bool = False
    """Print the plan and run nothing."""
    exclude: list[str] = field(default_factory=list)
    """Combinations to leave out: ["model=rmp,dataset=cifar"]."""
    zip: list[str] = field(default_factory=list)
    """Axes that move together instead of crossing: ["model,dims.hidden"]."""
    params: dict[str, str] | None = None
    """Axes, as on the command line: {model: "baseline,pool"}."""


ConfigStore.instance().store(group="hydra/sweeper", name="study", node=StudySweeperConfig, provider="weightnet")


class StudySweeper(Sweeper):
    """Decides what runs; the launcher decides where."""

    def __init__(
        self,
        rerun: str,
        verify_epochs: int,
        dry_run: bool,
        exclude: Sequence[str],
        zip: Sequence[str],
        params: dict[str, str] | None,
    ) -> None:
        """Take the keys below `hydra.sweeper`; `params` is read with the command line's axes."""
        self.rerun, self.verify_epochs, self.dry_run = rerun, verify_epochs, dry_run
        self.exclude, self.zip = list(exclude), list(zip)
        self.launcher: Launcher | None = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Remember what Hydra hands over, and make the launcher."""
        self.hydra_context, self.task_function, self.config = hydra_context, task_function, config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Any:
        """Plan, run, report."""
        from weightnet.sweep.sweep import sweep

        assert self.launcher is not None and self.config is not None and self.hydra_context is not None
        return sweep(
            loader=self.hydra_context.config_loader, launcher=self.launcher, master=self.config, rerun=self.rerun,
            dry_run=self.dry_run, exclude=self.exclude, zipped=self.zip, verify_epochs=self.verify_epochs,
        )  # fmt: skip
