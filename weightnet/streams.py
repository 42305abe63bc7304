"""Independent random streams, one for each use of chance."""

import hashlib

import torch


def stream(seed: int, name: str) -> torch.Generator:
    """Return the CPU generator that belongs to (`seed`, `name`).

    Each use of chance has a name of its own ("parameters/conv1.weight", "projection", "order/3"), so that
    runs which share a seed share everything that they have in common, and a stream can be started anew
    from its name alone: a run that resumes needs no stored generator state.
    """
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)
