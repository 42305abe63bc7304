"""Random maps from the D weights to the dx numbers that are fed back."""

import math
from collections.abc import Callable

import torch
from torch import Tensor


def dense(dx: int, inputs: int, generator: torch.Generator) -> Tensor:
    """Return the notebook's map: Xavier-uniform, every entry drawn.

    Args:
        dx: length of the result.
        inputs: D, number of weights.
        generator: a CPU generator.

    Returns:
        P (dx, D) float32, the notebook's (D, dx) transposed: twice as fast to apply. Memory: 4 dx D bytes,
        1.58 GB for CIFAR-10.
    """
    bound = math.sqrt(6 / (inputs + dx))
    return torch.empty(dx, inputs).uniform_(-bound, bound, generator=generator)


KINDS: dict[str, Callable[[int, int, torch.Generator], Tensor]] = {"dense": dense}
"""`model.kind` -> function of (dx, D, generator) that returns P (dx, D)."""
