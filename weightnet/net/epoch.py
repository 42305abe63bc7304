"""What one epoch gives. No torch in here."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class EpochResult:
    """What one epoch gave."""

    epoch: int  # from 1
    step: int  # optimiser steps since the start of the run
    train_loss: float  # mean over the examples of the epoch, each at the weights of its step, in nats
    test_loss: float  # mean over the test split, in nats
    test_accuracy: float  # in [0, 1]
    seconds: float  # of training and evaluation
    step_losses: list[tuple[int, float]]  # (step, loss of its batch), every `log_interval` steps
    feedback: tuple[float, float] | None = None  # |me| after the epoch, |me - me before it|; None without feedback
    own: dict[str, float] = field(default_factory=dict)  # the columns of `eval.metrics`, on the test split


METRICS = ("epoch", "step", "train_loss", "test_loss", "test_accuracy", "seconds")
"""The columns of metrics.csv: of an `EpochResult`, losses in nats, accuracy in [0, 1], seconds of wall time."""
