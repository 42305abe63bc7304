import torch

from weightnet.net.epoch import EpochResult
from weightnet.runs.progress import Bar, on_terminal


def test_the_bar_shows_epoch_loss_and_accuracy() -> None:
    with Bar(epochs=3, steps=30, done=1) as bar:
        shown = bar.bar
        assert shown.n == 10 and shown.total == 30 and shown.desc == "epoch 2/3"
        shown.last_print_t -= 1  # as if it had been drawn a second ago
        bar.step(15, torch.tensor(0.25))
        assert shown.n == 15 and "loss=0.250" in shown.postfix
        bar.step(16, torch.tensor(9.0))  # at once: not worth a wait for the device
        assert "loss=0.250" in shown.postfix
        bar.step(20, torch.tensor(9.0))
        bar.epoch(EpochResult(2, 20, 0.1, 0.1, 0.987, 1.0, []))
        assert shown.n == 20 and "accuracy=98.70%" in shown.postfix and shown.desc == "epoch 3/3"
        assert str(shown).startswith("epoch 3/3 ") and "steps/s, " in str(shown) and str(shown).endswith(" left")


def test_no_bar_where_output_is_captured() -> None:
    assert not on_terminal()
