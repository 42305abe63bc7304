"""Feedback: from a network's own weights to the vector `me` of length dx.

Every feedback is a module called with the weights as the notebook's layers hold them, `fc1.weight` (b, a + dx)
and `fc2.weight` (c, b), and returns `me` (dx,). It has no parameters and no persistent state.
"""

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from weightnet import projection
from weightnet.config import POOLED, Config, flat_features
from weightnet.matching import pooled_length
from weightnet.streams import initial, stream


class Feedback(nn.Module):
    """From a network's own weights to the vector that is fed back. Abstract: a subclass defines `forward`."""

    redrawn = False
    """Whether every step draws anew."""

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


class ConstantFeedback(Feedback):
    """A vector that stays as it is."""

    vector: Tensor

    def __init__(self, vector: Tensor) -> None:
        """Feed back `vector` (dx,)."""
        super().__init__(len(vector))
        self.register_buffer("vector", vector, persistent=False)

    def forward(self, weight1: Tensor, weight2: Tensor) -> Tensor:
        """Return the vector (dx,), whatever the weights."""
        return self.vector


class _Redrawn(Feedback):
    """The pool feedback made meaningless in a way that is drawn anew at each training step. Abstract."""

    redrawn = True

    def __init__(self, pool: PoolFeedback, seed: int) -> None:
        super().__init__(pool.dx)
        self.pool, self.seed, self.draws = pool, seed, 0

    def forward(self, weight1: Tensor, weight2: Tensor) -> Tensor:
        """Return `me` (dx,); at evaluation, with the draw of the step before."""
        self.draws += self.training
        return self._redraw(self.pool(weight1, weight2), stream(self.seed, f"control/{self.draws}"))

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

    def _redraw(self, me: Tensor, generator: torch.Generator) -> Tensor:
        return me[torch.randperm(self.dx, generator=generator).to(me.device)]


class NoiseFeedback(_Redrawn):
    """Gaussian noise drawn anew at each step, as long as the pool feedback."""

    def _redraw(self, me: Tensor, generator: torch.Generator) -> Tensor:
        return _as_long_as(me, torch.randn(self.dx, generator=generator).to(me))


def _as_long_as(me: Tensor, direction: Tensor) -> Tensor:
    scale: Tensor = torch.linalg.vector_norm(me) / torch.linalg.vector_norm(direction)
    return direction * scale


def initial_me(config: Config, seed: int | None = None) -> Tensor:
    """Return the pool feedback (dx,) of the initial weights of a resolved config's network, or that of another seed."""
    features, classes, dims = flat_features(config.dataset), config.dataset.classes, config.dims
    assert dims.dx is not None and dims.hidden is not None, "config is not resolved"
    seed = config.seed if seed is None else seed
    weight_x = initial(seed, "fc1.weight", (dims.hidden, features), fan_in=features)
    weight_f = initial(seed, "feedback_weight", (dims.hidden, dims.dx), fan_in=features + dims.dx)
    weight2 = initial(seed, "fc2.weight", (classes, dims.hidden), fan_in=dims.hidden)
    return cast(Tensor, _pool(config)(torch.cat((weight_x, weight_f), dim=1), weight2))


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


def _fixed_noise(config: Config) -> ConstantFeedback:
    me = initial_me(config)
    return ConstantFeedback(_as_long_as(me, torch.randn(len(me), generator=stream(config.seed, "control/fixed"))))


FOREIGN = 1_000_003
"""Added to a run's seed: the seed of the network that `foreign` is fed."""

FEEDBACKS: dict[str, Callable[[Config], Feedback]] = {
    "pool": _pool,
    "projection": _projection,
    # controls of pool: what a gain would have to be more than
    "constant": lambda config: ConstantFeedback(initial_me(config)),
    "foreign": lambda config: ConstantFeedback(initial_me(config, config.seed + FOREIGN)),
    "fixed_noise": _fixed_noise,
    "ones": lambda config: ConstantFeedback(torch.ones(config.dims.dx or 0)),
    "noise": lambda config: NoiseFeedback(_pool(config), config.seed),
    "shuffled": lambda config: ShuffledFeedback(_pool(config), config.seed),
}
"""`model.feedback` -> function of a resolved config that builds it. The baseline has none."""


def dropped(config: Config) -> str | None:
    """Say what pooling leaves out of the weight matrices of a resolved config, or None if nothing."""
    dims = config.dims
    if (
        config.model.feedback not in POOLED
        or config.model.feedback == "ones"
        or not (dims.dx and dims.m and dims.n and dims.hidden)
    ):
        return None
    columns, rows = (flat_features(config.dataset) + dims.dx) % dims.m, dims.hidden % dims.n
    if not columns and not rows:
        return None
    return f"pooling drops the last {rows} of {dims.hidden} rows and {columns} columns of fc1.weight (floor)"


def carried(config: Config) -> int | None:
    """Return dw, how many numbers of `me` are weights or made of them, of a resolved config."""
    dims = config.dims
    if config.model.feedback in ("noise", "fixed_noise", "ones", "bias_lr"):
        return 0
    if config.model.feedback in POOLED:
        assert dims.dx and dims.m and dims.n and dims.hidden, "config is not resolved"
        return pooled_length(
            dims.dx, dims.m, dims.n,
            features=flat_features(config.dataset), hidden=dims.hidden, classes=config.dataset.classes,
        )  # fmt: skip
    return dims.dx
