"""How a run shows that it is alive on a terminal: a bar. (Elsewhere the log has a line an epoch.)"""

import logging
import multiprocessing
import sys
from typing import TYPE_CHECKING

from tqdm import tqdm  # type: ignore[import-untyped]

from weightnet.experiment import EpochResult

if TYPE_CHECKING:
    from torch import Tensor


class Bar:
    """One line on a terminal: epoch, steps a second, loss, accuracy, time left. As a context: alone on its line."""

    def __init__(self, *, epochs: int, steps: int, done: int) -> None:
        """Start the bar of a run of `steps` steps in `epochs` epochs, of which `done` epochs are behind it."""
        self.epochs, self.shown = epochs, {"loss": "-", "accuracy": "-"}
        self.bar = tqdm(
            total=steps, initial=steps * done // epochs, desc=f"epoch {min(done + 1, epochs)}/{epochs}", unit=" steps",
            bar_format="{desc} {bar} {rate_noinv_fmt}{postfix}, {remaining} left", postfix=self.shown,
            mininterval=0.2, miniters=1, leave=False, dynamic_ncols=True,
        )  # fmt: skip

    def __enter__(self) -> "Bar":
        logging.getLogger("weightnet").propagate = False  # keeps the log's lines off the bar
        return self

    def __exit__(self, *error: object) -> None:
        self.bar.close()
        logging.getLogger("weightnet").propagate = True

    def step(self, step: int, loss: "Tensor") -> None:
        """Move the bar, and look at the loss when it is drawn, a few times a second: each look waits for the device."""
        if self.bar.update(step - self.bar.n):
            self.shown["loss"] = f"{loss.item():.3f}"
            self.bar.set_postfix(self.shown)

    def epoch(self, result: EpochResult) -> None:
        """Show the epoch's accuracy."""
        self.shown["accuracy"] = f"{result.test_accuracy:.2%}"
        self.bar.set_description_str(f"epoch {min(result.epoch + 1, self.epochs)}/{self.epochs}", refresh=False)
        self.bar.set_postfix(self.shown)


def on_terminal() -> bool:
    """Tell whether a bar of this process would be seen, and be the only one."""
    return sys.stderr.isatty() and multiprocessing.parent_process() is None
