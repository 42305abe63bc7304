"""Independent random streams, one for each use of chance."""

import hashlib
import math

import torch
from torch import Tensor


def stream(seed: int, name: str) -> torch.Generator:
    """Return the CPU generator that belongs to (`seed`, `name`).

    Each use of chance has a name of its own ("parameters/conv1.weight", "projection", "order/3"): so runs of one seed
    share everything that they have in common, and a resumed run starts a stream anew instead of storing its state.
    """
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)


def initial(seed: int, name: str, shape: tuple[int, ...], *, fan_in: int) -> Tensor:
    """Return the initial value of a parameter: uniform within 1 / sqrt(fan-in), torch's default."""
    bound = 1 / math.sqrt(fan_in)
    return torch.empty(shape).uniform_(-bound, bound, generator=stream(seed, f"parameters/{name}"))


def initial_linear(
    seed: int, *, features: int, dx: int, hidden: int, classes: int, fan_in: int | None = None
) -> tuple[Tensor, Tensor]:
    """Return the initial weights that a feedback of a seed's network starts from: (b, a + dx) and (c, b).

    The fan-in of the columns that the feedback enters by is a + dx, as in the notebook. That of the others is a, with
    or without feedback, unless `fan_in` says otherwise: so arms of one seed start from the same shared parameters.
    """
    weight_x = initial(seed, "fc1.weight", (hidden, features), fan_in=fan_in or features)
    weight_f = initial(seed, "feedback_weight", (hidden, dx), fan_in=features + dx)
    return torch.cat((weight_x, weight_f), dim=1), initial(seed, "fc2.weight", (classes, hidden), fan_in=hidden)
