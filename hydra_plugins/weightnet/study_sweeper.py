"""`hydra/sweeper=study`: plans a sweep, runs what is missing, never repeats or loses a run. See `weightnet.sweep`."""

from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from weightnet.errors import RunFailed, UserError
from weightnet.sweep.search import SearchConfig

if TYPE_CHECKING:
    from weightnet.sweep.stages import Looks


@dataclass
class StudySweeperConfig:
    """The keys below `hydra.sweeper`."""

    _target_: str = "hydra_plugins.weightnet.study_sweeper.StudySweeper"
    rerun: str = "missing"  # missing (the interrupted and the failed too), stale, verify, failed, all or none
    verify_epochs: int = 1  # rerun=verify: how many epochs of each stale run are replayed
    dry_run: bool = False  # print the plan and run nothing
    exclude: list[str] = field(default_factory=list)  # combinations to leave out: ["model=rmp,dataset=cifar"]
    zip: list[str] = field(default_factory=list)  # axes that move together, not crossing: ["model,dims.hidden"]
    impossible: str = "refuse"  # combinations whose dimensions do not fit; skip: leave them out
    looks: list[int] = field(default_factory=list)  # [8, 16]: after 8 seeds, arms go on to 16 that are not decided yet
    search: SearchConfig = field(default_factory=SearchConfig)  # of keys that are given as intervals
    params: dict[str, str] = field(default_factory=dict)  # axes, as on the command line: {model: "baseline,pool"}


ConfigStore.instance().store(group="hydra/sweeper", name="study", node=StudySweeperConfig, provider="weightnet")


class StudySweeper(Sweeper):
    """Decides what runs; the launcher decides where."""

    def __init__(self, **options: Any) -> None:
        """Take the keys below `hydra.sweeper`, which are also in the config of `setup`."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Make the launcher, and remember what Hydra hands over."""
        launcher = Plugins.instance().instantiate_launcher(hydra_context, task_function, config)
        self.asked, self.callbacks = (hydra_context.config_loader, launcher, config), hydra_context.callbacks

    def sweep(self, arguments: list[str]) -> Any:
        """Plan, run, report; return the config, whose `hydra.sweep.dir` says by now where the records are."""
        from weightnet.sweep.sweep import sweep

        try:
            sweep(*self.asked, looks=_looks)
            return self.asked[2]
        except (RunFailed, UserError):  # Hydra calls them only where nothing failed; but the others have given results
            with suppress(SystemExit):
                self.callbacks.on_multirun_end(config=self.asked[2])
            raise


def _looks() -> "Looks":
    from analysis import stages  # not above: pandas takes a second

    return stages
