"""How a run shows that it is alive on a terminal: a bar. (Elsewhere the log has a line an epoch.)"""

import multiprocessing
import sys
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from weightnet.experiment import EpochResult

if TYPE_CHECKING:
    from torch import Tensor


class Bar:
    """One line on a terminal: epoch, steps a second, loss, accuracy, time left."""

    REFRESH = 0.2
    """Seconds between two looks at the loss: each waits for the device."""

    def __init__(self, *, epochs: int, steps: int, done: int) -> None:
        """Start the bar of a run of `steps` steps in `epochs` epochs, of which `done` epochs are behind it."""
        self.epochs = epochs
        self.bar = Progress(
            TextColumn("epoch {task.fields[epoch]}/" + str(epochs)),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[rate]} steps/s"),
            TextColumn("loss {task.fields[loss]}"),
            TextColumn("accuracy {task.fields[accuracy]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            expand=True,
            transient=True,
            speed_estimate_period=10,
        )
        self.task = self.bar.add_task(
            "", total=steps, completed=steps * done // epochs,
            epoch=min(done + 1, epochs), rate="-", loss="-", accuracy="-",
        )  # fmt: skip
        self.shown = 0.0
        self.bar.start()

    def step(self, step: int, loss: "Tensor") -> None:
        """Move the bar, a few times a second."""
        now = self.bar.get_time()
        if now - self.shown >= self.REFRESH:
            self.shown = now
            speed = self.bar.tasks[0].speed
            rate = f"{speed:.0f}" if speed else "-"
            self.bar.update(self.task, completed=step, loss=f"{loss.item():.3f}", rate=rate)

    def epoch(self, result: EpochResult) -> None:
        """Show the epoch's accuracy."""
        accuracy, epoch = f"{result.test_accuracy:.2%}", min(result.epoch + 1, self.epochs)
        self.bar.update(self.task, completed=result.step, epoch=epoch, accuracy=accuracy)

    def close(self) -> None:
        """Remove the bar."""
        self.bar.stop()


def on_terminal() -> bool:
    """Tell whether a bar of this process would be seen, and be the only one."""
    return sys.stderr.isatty() and multiprocessing.parent_process() is None
