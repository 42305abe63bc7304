"""The notebook's six networks written out, with concatenation: the independent reference for `weightnet.net.model`."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class _Net(nn.Module):
    """The conv net; a subclass says what is appended to the flat features."""

    colours, first, second, side, dx, hidden = 1, 5, 10, 4, 0, 50

    def __init__(self) -> None:
        super().__init__()
        self.flat = self.second * self.side * self.side
        self.conv1 = nn.Conv2d(self.colours, self.first, kernel_size=5, stride=1)
        self.conv2 = nn.Conv2d(self.first, self.second, kernel_size=5, stride=1)
        self.fc1 = nn.Linear(self.flat + self.dx, self.hidden)
        self.fc2 = nn.Linear(self.hidden, 10)

    def own_weights(self) -> Tensor | None:
        return None

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.conv1(x)), 2, 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2, 2)
        x = x.reshape(len(x), self.flat)
        extra = self.own_weights()
        if extra is not None:
            x = torch.cat([x, extra.repeat(len(x), 1)], dim=1)
        return F.log_softmax(self.fc2(F.relu(self.fc1(x))), dim=1)


class _Pool(_Net):
    m, n = 0, 0

    def own_weights(self) -> Tensor:
        """Pool by explicit loops over the kernels' places."""
        w1, w2 = self.fc1.weight.data, self.fc2.weight.data
        rows = []
        for i in range(w1.shape[0] // self.n):
            band = slice(i * self.n, (i + 1) * self.n)
            row = [w1[band, j * self.m : (j + 1) * self.m].max() for j in range(w1.shape[1] // self.m)]
            row += [w2[2 * k : 2 * k + 2, band].max() for k in range(5)]
            rows.append(torch.stack(row))
        pooled = torch.cat(rows)
        return torch.cat([pooled, torch.ones(self.dx - len(pooled), dtype=pooled.dtype)])


class _Projection(_Net):
    def __init__(self) -> None:
        super().__init__()
        self.P = torch.empty((self.flat + self.dx + 10) * self.hidden, self.dx)

    def own_weights(self) -> Tensor:
        side_by_side = torch.cat([self.fc1.weight.data, self.fc2.weight.data.t()], dim=1)
        return side_by_side.reshape(-1) @ self.P.to(side_by_side.dtype)


class Net(_Net):
    pass


class WeightNetMnist(_Pool):
    dx, m, n, hidden = 26, 31, 25, 60


class WeightNetMnistP(_Projection):
    dx = 26


class NetCifar10(_Net):
    colours, first, second, side, hidden = 3, 20, 50, 5, 700


class WeightNetCifar10(_Pool):
    colours, first, second, side, dx, m, n, hidden = 3, 20, 50, 5, 460, 45, 50, 500


class WeightNetCifar10P(_Projection):
    colours, first, second, side, dx, hidden = 3, 20, 50, 5, 460, 500


NETWORKS: dict[tuple[str, str], type[_Net]] = {
    ("mnist", "baseline"): Net,
    ("mnist", "pool"): WeightNetMnist,
    ("mnist", "rmp"): WeightNetMnistP,
    ("cifar", "baseline"): NetCifar10,
    ("cifar", "pool"): WeightNetCifar10,
    ("cifar", "rmp"): WeightNetCifar10P,
}
