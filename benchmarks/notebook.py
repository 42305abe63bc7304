"""The notebook's training loop, written anew from its facts: what a user would write, and what we measure against.

Per-sample transforms in a DataLoader, the feedback computed and concatenated for every batch, P stored (D, dx), plain
SGD, `.item()` after every step.

    python -m benchmarks.notebook mnist baseline pool rmp --epochs 2 --threads 2

trains the models one after the other and prints, as JSON, the seconds of every epoch, the start of Python and of the
libraries not counted.
"""

import argparse
import json
import os
import time

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

MNIST = {"colours": 1, "channels": (5, 10), "side": 4, "dx": 26, "kernel": (25, 31)}
CIFAR = {"colours": 3, "channels": (20, 50), "side": 5, "dx": 460, "kernel": (50, 45)}
HIDDEN = {
    ("mnist", "baseline"): 50, ("mnist", "pool"): 60, ("mnist", "rmp"): 50,
    ("cifar", "baseline"): 700, ("cifar", "pool"): 500, ("cifar", "rmp"): 500,
}  # fmt: skip


class Net(nn.Module):
    """The six networks of the notebook in one."""

    def __init__(self, dataset: str, model: str) -> None:
        super().__init__()
        sizes = MNIST if dataset == "mnist" else CIFAR
        first, second = sizes["channels"]
        self.model, self.kernel = model, sizes["kernel"]
        self.dx = 0 if model == "baseline" else sizes["dx"]
        self.flat = second * sizes["side"] ** 2
        hidden = HIDDEN[dataset, model]
        self.conv1 = nn.Conv2d(sizes["colours"], first, kernel_size=5, stride=1)
        self.conv2 = nn.Conv2d(first, second, kernel_size=5, stride=1)
        self.fc1 = nn.Linear(self.flat + self.dx, hidden)
        self.fc2 = nn.Linear(hidden, 10)
        if model == "rmp":
            self.P = nn.init.xavier_uniform_(torch.empty((self.flat + self.dx + 10) * hidden, self.dx))

    def own_weights(self) -> Tensor:
        """Return the feedback vector (dx,)."""
        weight1, weight2 = self.fc1.weight.data, self.fc2.weight.data
        if self.model == "rmp":
            side_by_side = torch.cat([weight1, weight2.t()], dim=1)
            return torch.mm(side_by_side.reshape(1, -1), self.P).squeeze(0)
        n, m = self.kernel
        pooled1 = F.max_pool2d(weight1[None, None], kernel_size=(n, m), stride=(n, m)).squeeze()
        pooled2 = F.max_pool2d(weight2[None, None], kernel_size=(2, n), stride=(2, n)).squeeze().t()
        me = torch.cat([pooled1, pooled2], dim=1).reshape(-1)
        return torch.cat([me, torch.ones(self.dx - len(me))])

    def forward(self, x: Tensor) -> Tensor:
        """Return log-probabilities (N, 10)."""
        x = F.max_pool2d(F.relu(self.conv1(x)), 2, 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2, 2)
        x = x.view(-1, self.flat)
        if self.dx:
            x = torch.cat([x, self.own_weights().repeat(x.size(0), 1)], dim=1)
        return F.log_softmax(self.fc2(F.relu(self.fc1(x))), dim=1)


def loaders(dataset: str, root: str) -> tuple[DataLoader, DataLoader]:
    """Return the loaders of training and test batches."""
    mean, std = ([0.1307], [0.3081]) if dataset == "mnist" else ([0.5] * 3, [0.5] * 3)
    transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize(mean, std)])
    kind = datasets.MNIST if dataset == "mnist" else datasets.CIFAR10
    train, test = (kind(root, train=part, transform=transform) for part in (True, False))
    return DataLoader(train, batch_size=64, shuffle=True), DataLoader(test, batch_size=1000, shuffle=True)


def train_step(model: Net, optimizer: torch.optim.Optimizer, data: Tensor, target: Tensor) -> float:
    """Take one step; return its loss."""
    optimizer.zero_grad()
    loss = F.nll_loss(model(data), target)
    loss.backward()
    optimizer.step()
    return loss.item()


def epoch(model: Net, optimizer: torch.optim.Optimizer, train: DataLoader, test: DataLoader) -> float:
    """Train and test for an epoch; return the accuracy."""
    model.train()
    losses = []
    for batch, (data, target) in enumerate(train):
        losses.append(train_step(model, optimizer, data, target))
        if batch % 40 == 0:
            print(f"{batch}/{len(train)} loss {losses[-1]:.6f}", file=open(os.devnull, "w"))
    model.eval()
    loss, correct = 0.0, 0
    with torch.no_grad():
        for data, target in test:
            output = model(data)
            loss += F.nll_loss(output, target, reduction="sum").item()
            prediction = output.argmax(dim=1, keepdim=True)
            correct += prediction.eq(target.view_as(prediction)).sum().item()
    return correct / len(test.dataset)


def arguments() -> argparse.Namespace:
    """Return what the command line asks for; set the number of threads."""
    parser = argparse.ArgumentParser()
    parser.add_argument("dataset", choices=["mnist", "cifar"])
    parser.add_argument("models", nargs="+", choices=["baseline", "pool", "rmp"])
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--root", default=os.environ.get("WEIGHTNET_DATA", "data"))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    return options


def main() -> None:
    """Train and print the seconds."""
    options = arguments()
    seconds, accuracies = [], []
    for name in options.models:
        torch.manual_seed(1)
        train, test = loaders(options.dataset, options.root)
        model = Net(options.dataset, name)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.5)
        for _ in range(options.epochs):
            start = time.perf_counter()
            accuracies.append(epoch(model, optimizer, train, test))
            seconds.append(time.perf_counter() - start)
    print(json.dumps({"seconds": seconds, "accuracies": accuracies}))


if __name__ == "__main__":
    main()
