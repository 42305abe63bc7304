"""Feedback: from a network's own weights to the vector `me` of length dx.

A feedback is built with the dimensions that its model uses: `PoolFeedback(dx=26, m=31, n=25)`. Its parameters
(`model.params`) are attributes with defaults. It is told once what the network starts from (`begin`), and then called
with the weights as the notebook's layers hold them, `fc1.weight` (b, a + dx) and `fc2.weight` (c, b), and returns `me`
(dx,). It has no parameters that are trained.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from weightnet.net import projection
from weightnet.net.streams import initial_linear, stream


class Feedback(nn.Module):
    """From a network's own weights to the vector that is fed back. Abstract: a subclass defines `forward`."""

    redrawn = False  # whether every step draws anew

    def __init__(self, dx: int) -> None:
        super().__init__()
        self.dx = dx

    def begin(self, weight1: Tensor, weight2: Tensor, seed: int) -> None:
        """Take what the run starts from: the initial `fc1.weight` (b, a + dx) and `fc2.weight` (c, b), and its seed."""


class PoolFeedback(Feedback):
    """The max-pooled weight matrices, row by row, filled up to dx; all of it times the gain."""

    gain = 1.0
    fill = 1.0  # the filler

    def __init__(self, dx: int, m: int, n: int) -> None:
        super().__init__(dx)
        self.m, self.n = m, n

    def forward(self, weight1: Tensor, weight2: Tensor) -> Tensor:
        """Return `me` (dx,) for `fc1.weight` (b, a + dx) and `fc2.weight` (c, b)."""
        pooled = self.pooled(weight1, weight2)
        me = torch.cat((pooled, pooled.new_full((self.dx - len(pooled),), self.fill)))
        return me if self.gain == 1 else self.gain * me

    def pooled(self, weight1: Tensor, weight2: Tensor) -> Tensor:
        """Return the pooled weights (dw,).

        Rows and columns that a kernel does not reach are dropped, as in the notebook's MNIST network.
        """
        pooled1 = functional.max_pool2d(weight1.unsqueeze(0), (self.n, self.m)).squeeze(0)  # (b/n, (a+dx)/m)
        pooled2 = functional.max_pool2d(weight2.unsqueeze(0), (2, self.n)).squeeze(0)  # (c/2, b/n)
        return torch.cat((pooled1, pooled2.t()), dim=1).flatten()


class ProjectionFeedback(Feedback):
    """All weights of fc1 and fc2 through a fixed random linear map.

    Its tensors are buffers that no state dict holds (dense on CIFAR-10: 1.58 GB): they are drawn anew by their stream.
    """

    def __init__(self, dx: int, kind: str, scale: str) -> None:
        """Feed back through a map of `kind` and `scale`, keys of `weightnet.registry`."""
        super().__init__(dx)
        self.kind, self.scale = kind, scale
        self.apply_map = projection.kind_of(kind).apply

    def begin(self, weight1: Tensor, weight2: Tensor, seed: int) -> None:
        """Draw the map of this seed, for weights of these shapes."""
        rows, columns = weight1.shape[0], weight1.shape[1] + weight2.shape[0]
        self.hold(projection.draw(self.kind, self.scale, rows=rows, columns=columns, dx=self.dx, seed=seed))

    def hold(self, tensors: projection.Tensors) -> None:
        """Take the map's tensors."""
        for name, tensor in tensors.items():
            self.register_buffer(name, tensor, persistent=False)

    def forward(self, weight1: Tensor, weight2: Tensor) -> Tensor:
        """Return `me` (dx,) for `fc1.weight` (b, a + dx) and `fc2.weight` (c, b), with D = (a + dx + c) b."""
        return self.apply_map(torch.cat((weight1, weight2.t()), dim=1), **dict(self.named_buffers()))


class OnesFeedback(Feedback):
    """Ones, times the gain."""

    gain = 1.0

    def forward(self, weight1: Tensor, weight2: Tensor) -> Tensor:
        """Return the gain dx times (dx,), whatever the weights."""
        return self.gain * weight1.new_ones(self.dx)


class ConstantFeedback(PoolFeedback):
    """The pool feedback of the initial weights, kept."""

    vector: Tensor

    def begin(self, weight1: Tensor, weight2: Tensor, seed: int) -> None:
        """Keep what `choose` returns."""
        self.register_buffer("vector", self.choose(weight1, weight2, seed), persistent=False)

    def choose(self, weight1: Tensor, weight2: Tensor, seed: int) -> Tensor:
        """Return the vector (dx,) to keep."""
        return super().forward(weight1, weight2)

    def forward(self, weight1: Tensor, weight2: Tensor) -> Tensor:
        """Return the vector (dx,), whatever the weights."""
        return self.vector


class PaddingFeedback(ConstantFeedback):
    """The filler alone: zeros, then ones where the pool feedback has them."""

    def choose(self, weight1: Tensor, weight2: Tensor, seed: int) -> Tensor:
        """Return the pool feedback (dx,) of weights that are zero."""
        return super().choose(torch.zeros_like(weight1), torch.zeros_like(weight2), seed)


class EqualFeedback(ConstantFeedback):
    """Equal numbers, as long a vector as the pool feedback of the initial weights."""

    def choose(self, weight1: Tensor, weight2: Tensor, seed: int) -> Tensor:
        """Return the vector (dx,)."""
        return _as_long_as(super().choose(weight1, weight2, seed), torch.ones(self.dx))


class ForeignFeedback(ConstantFeedback):
    """The pool feedback of another network's initial weights (`train.init=shared`), kept."""

    OTHER = 1_000_003  # added to a run's seed: that network's seed

    def choose(self, weight1: Tensor, weight2: Tensor, seed: int) -> Tensor:
        """Return the pool feedback (dx,) of a network with these shapes and another seed."""
        hidden, inputs = weight1.shape
        sizes = {"features": inputs - self.dx, "dx": self.dx, "hidden": hidden, "classes": len(weight2)}
        return super().choose(*initial_linear(seed + self.OTHER, **sizes), seed)


class FixedNoiseFeedback(ConstantFeedback):
    """Gaussian noise drawn once, as long as the pool feedback of the initial weights."""

    def choose(self, weight1: Tensor, weight2: Tensor, seed: int) -> Tensor:
        """Return the noise (dx,)."""
        me = super().choose(weight1, weight2, seed)
        return _as_long_as(me, torch.randn(self.dx, generator=stream(seed, "control/fixed")))


class _Redrawn(PoolFeedback):
    """The pool feedback made meaningless in a way that is drawn anew at each training step. Abstract."""

    redrawn = True
    seed = draws = 0

    def begin(self, weight1: Tensor, weight2: Tensor, seed: int) -> None:
        """Draw by this seed."""
        self.seed = seed

    def forward(self, weight1: Tensor, weight2: Tensor) -> Tensor:
        """Return `me` (dx,); at evaluation, with the draw of the step before."""
        self.draws += self.training
        return self._redraw(super().forward(weight1, weight2), stream(self.seed, f"control/{self.draws}"))

    def _redraw(self, me: Tensor, generator: torch.Generator) -> Tensor:
        raise NotImplementedError

    def get_extra_state(self) -> int:
        """Return the number of draws: a resumed run goes on with the next."""
        return self.draws

    def set_extra_state(self, state: int) -> None:
        """Go on after so many draws."""
        self.draws = state


class ShuffledFeedback(_Redrawn):
    """The pool feedback in an order drawn anew at each step: the same numbers, but no unit keeps its own."""

    keep_filler = False  # whether the filler stays where it is, and the pooled weights change places among themselves

    def begin(self, weight1: Tensor, weight2: Tensor, seed: int) -> None:
        """Draw by this seed."""
        super().begin(weight1, weight2, seed)
        self.moved = len(self.pooled(weight1, weight2)) if self.keep_filler else self.dx

    def _redraw(self, me: Tensor, generator: torch.Generator) -> Tensor:
        order = torch.randperm(self.moved, generator=generator).to(me.device)
        return torch.cat((me[order], me[self.moved :]))


class NoiseFeedback(_Redrawn):
    """Gaussian noise drawn anew at each step, as long as the pool feedback."""

    def _redraw(self, me: Tensor, generator: torch.Generator) -> Tensor:
        return _as_long_as(me, torch.randn(self.dx, generator=generator).to(me))


def _as_long_as(me: Tensor, direction: Tensor) -> Tensor:
    scale: Tensor = torch.linalg.vector_norm(me) / torch.linalg.vector_norm(direction)
    return direction * scale


def bias_rate_of_constant(
    weight1: Tensor, weight2: Tensor, *, dx: int, m: int, n: int, gain: float = 1.0, multiplier: float | None = None
) -> float:
    """Return the factor of the bias's learning rate: `multiplier`, else 1 + |me|^2 of the initial weights, what
    `constant` of that gain amounts to.
    """
    if multiplier is not None:
        return multiplier
    return 1 + gain**2 * float(PoolFeedback(dx, m, n)(weight1, weight2).square().sum())
