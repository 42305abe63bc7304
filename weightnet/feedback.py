"""Feedback: from a network's own weights to the vector `me` of length dx.

Every feedback is a module called with the weights as the notebook's layers hold them, `fc1.weight` (b, a + dx)
and `fc2.weight` (c, b), and returns `me` (dx,). It has no parameters and no persistent state.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from weightnet import projection
from weightnet.config import Config, flat_features
from weightnet.matching import pooled_length


class Feedback(nn.Module):
    """From a network's own weights to the vector that is fed back. Abstract: a subclass defines `forward`."""

    def __init__(self, dx: int) -> None:
        """Feed back `dx` numbers."""
        super().__init__()
        self.dx = dx


class PoolFeedback(Feedback):
    """The max-pooled weight matrices, row by row, filled up to dx with ones."""

    def __init__(self, dx: int, m: int, n: int) -> None:
        super().__init__(dx)
        self.m, self.n = m, n

    def forward(self, weight1: Tensor, weight2: Tensor) -> Tensor:
        """Return `me` (dx,) for `fc1.weight` (b, a + dx) and `fc2.weight` (c, b).

        Rows and columns that a kernel does not reach are dropped, as in the notebook's MNIST network.
        """
        pooled1 = functional.max_pool2d(weight1.unsqueeze(0), (self.n, self.m)).squeeze(0)  # (b/n, (a+dx)/m)
        pooled2 = functional.max_pool2d(weight2.unsqueeze(0), (2, self.n)).squeeze(0)  # (c/2, b/n)
        pooled = torch.cat((pooled1, pooled2.t()), dim=1).flatten()
        return functional.pad(pooled, (0, self.dx - len(pooled)), value=1.0)


class ProjectionFeedback(Feedback):
    """All weights of fc1 and fc2 through a fixed random linear map.

    The map's tensors are buffers that no state dict holds (1.58 GB for the dense one on CIFAR-10): they are drawn anew
    from their stream.
    """

    def __init__(self, dx: int, kind: str, tensors: projection.Tensors) -> None:
        """Feed back through the map of `kind` that has these tensors."""
        super().__init__(dx)
        self.apply_map = projection.KINDS[kind].apply
        for name, tensor in tensors.items():
            self.register_buffer(name, tensor, persistent=False)

    def forward(self, weight1: Tensor, weight2: Tensor) -> Tensor:
        """Return `me` (dx,) for `fc1.weight` (b, a + dx) and `fc2.weight` (c, b), with D = (a + dx + c) b."""
        return self.apply_map(torch.cat((weight1, weight2.t()), dim=1), **dict(self.named_buffers()))


def _pool(config: Config) -> PoolFeedback:
    dims = config.dims
    assert dims.dx is not None and dims.m is not None and dims.n is not None, "config is not resolved"
    return PoolFeedback(dims.dx, dims.m, dims.n)


def _projection(config: Config) -> ProjectionFeedback:
    dx, hidden, kind, scale = config.dims.dx, config.dims.hidden, config.model.kind, config.model.scale
    assert dx is not None and hidden is not None and kind is not None and scale is not None, "config is not resolved"
    columns = flat_features(config.dataset) + dx + config.dataset.classes
    tensors = projection.draw(kind, scale, rows=hidden, columns=columns, dx=dx, seed=config.seed)
    return ProjectionFeedback(dx, kind, tensors)


FEEDBACKS: dict[str, Callable[[Config], Feedback]] = {
    "pool": _pool,
    "projection": _projection,
}
"""`model.feedback` -> function of a resolved config that builds it. The baseline has none."""


def dropped(config: Config) -> str | None:
    """Say what pooling leaves out of the weight matrices of a resolved config, or None if nothing."""
    dims = config.dims
    if config.model.feedback != "pool" or not (dims.dx and dims.m and dims.n and dims.hidden):
        return None
    columns, rows = (flat_features(config.dataset) + dims.dx) % dims.m, dims.hidden % dims.n
    if not columns and not rows:
        return None
    return f"pooling drops the last {rows} of {dims.hidden} rows and {columns} columns of fc1.weight (floor)"


def carried(config: Config) -> int | None:
    """Return dw, how many numbers of `me` are weights or made of them, of a resolved config."""
    dims = config.dims
    if config.model.feedback == "pool":
        assert dims.dx and dims.m and dims.n and dims.hidden, "config is not resolved"
        return pooled_length(
            dims.dx, dims.m, dims.n,
            features=flat_features(config.dataset), hidden=dims.hidden, classes=config.dataset.classes,
        )  # fmt: skip
    return dims.dx
