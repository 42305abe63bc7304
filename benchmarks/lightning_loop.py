"""The same networks with PyTorch Lightning and its usual DataLoader (`pip install -e .[bench]`).

    python -m benchmarks.lightning_loop mnist baseline pool rmp --epochs 2 --threads 1

trains the models one after the other and prints, as JSON, the seconds of every `fit` of so many epochs, the start of
Python and of the libraries not counted.
"""

import json
import logging
import tempfile
import time
import warnings

import lightning
import torch
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor
from torch.nn import functional as F

from benchmarks.notebook import Net, arguments, loaders


class Module(lightning.LightningModule):
    """One of the notebook's networks."""

    def __init__(self, dataset: str, model: str) -> None:
        super().__init__()
        self.net = Net(dataset, model)

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        """Return the loss."""
        loss = F.nll_loss(self.net(batch[0]), batch[1])
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], index: int) -> None:
        """Log loss and accuracy."""
        output = self.net(batch[0])
        self.log("test_loss", F.nll_loss(output, batch[1]))
        self.log("test_accuracy", (output.argmax(1) == batch[1]).float().mean())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return the notebook's."""
        return torch.optim.SGD(self.parameters(), lr=0.01, momentum=0.5)


def main() -> None:
    """Train and print the seconds."""
    options = arguments()
    warnings.simplefilter("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    seconds, accuracies = [], []
    with tempfile.TemporaryDirectory() as folder:
        for name in options.models:
            lightning.seed_everything(1, verbose=False)
            train, test = loaders(options.dataset, options.root)
            trainer = lightning.Trainer(
                max_epochs=options.epochs, accelerator="cpu", default_root_dir=folder, enable_progress_bar=False,
                enable_model_summary=False, num_sanity_val_steps=0, log_every_n_steps=40, logger=CSVLogger(folder),
            )  # fmt: skip
            start = time.perf_counter()
            trainer.fit(Module(options.dataset, name), train, test)
            seconds.append(time.perf_counter() - start)
            accuracies.append(float(trainer.callback_metrics["test_accuracy"]))
    print(json.dumps({"seconds": seconds, "accuracies": accuracies}))


if __name__ == "__main__":
    main()
