import torch

from weightnet.net.epoch import EpochResult
from weightnet.runs.progress import Bar, on_terminal


def test_the_bar_shows_epoch_loss_and_accuracy() -> None:
    bar = Bar(epochs=3, steps=30, done=1)
    try:
        task = bar.bar.tasks[0]
        assert task.completed == 10 and task.total == 30 and task.fields["epoch"] == 2
        bar.step(15, torch.tensor(0.25))
        assert task.completed == 15 and task.fields["loss"] == "0.250"
        bar.step(16, torch.tensor(9.0))  # at once: not worth a wait for the device
        assert task.fields["loss"] == "0.250"
        bar.epoch(EpochResult(2, 20, 0.1, 0.1, 0.987, 1.0, []))
        assert task.completed == 20 and task.fields["accuracy"] == "98.70%" and task.fields["epoch"] == 3
    finally:
        bar.close()


def test_no_bar_where_output_is_captured() -> None:
    assert not on_terminal()
