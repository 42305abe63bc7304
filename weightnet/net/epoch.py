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
    own: dict[str, float] = field(default_factory=dict)  # further columns: `VALIDATION`, those of `eval.metrics`


METRICS = ("epoch", "step", "train_loss", "test_loss", "test_accuracy", "seconds")
"""The first columns of metrics.csv: of an `EpochResult`, losses in nats, accuracy in [0, 1], seconds of wall time."""

VALIDATION = ("validation_loss", "validation_accuracy")
"""Further columns with `train.validation`: as test_loss and test_accuracy, on what is held out of the training set."""
