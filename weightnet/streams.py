"""Independent random streams, one for each use of chance."""

import hashlib
import math

import torch
from torch import Tensor


def stream(seed: int, name: str) -> torch.Generator:
    """Return the CPU generator that belongs to (`seed`, `name`).

    Each use of chance has a name of its own ("parameters/conv1.weight", "projection", "order/3"), so that
    runs which share a seed share everything that they have in common, and a stream can be started anew
    from its name alone: a run that resumes needs no stored generator state.
    """
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)


def initial(seed: int, name: str, shape: tuple[int, ...], *, fan_in: int) -> Tensor:
    """Return the initial value of a parameter: uniform within 1 / sqrt(fan-in), torch's default."""
    bound = 1 / math.sqrt(fan_in)
    return torch.empty(shape).uniform_(-bound, bound, generator=stream(seed, f"parameters/{name}"))
