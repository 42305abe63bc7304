"""Random linear maps from the weights to the dx numbers that are fed back.

Each kind is a pair of functions: `draw` makes a map's tensors from a random stream, `apply` maps the weights, given as
one matrix [fc1.weight | fc2.weight transposed] (b, a + dx + c) of D numbers, to `me` (dx,).

Every kind keeps the norm in expectation, E |me|^2 = gain^2 |weights|^2, as a Johnson-Lindenstrauss map does, where the
gain is that of `model.scale`. What each takes for CIFAR-10 is measured in docs/performance.md.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from weightnet import registry
from weightnet.geometry import kron_sides
from weightnet.net.streams import stream

Tensors = dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of random map."""

    # (rows, columns, dx, gain, generator) -> the map's tensors, for weights (rows, columns)
    draw: Callable[[int, int, int, float, torch.Generator], Tensors]
    apply: Callable[..., Tensor]  # (weights, tensors by name) -> me (dx,)


def xavier(dx: int, inputs: int) -> float:
    """Return the gain that makes `me` as large as the notebook's dense P does: variance 2 / (D + dx) an entry."""
    return math.sqrt(2 * dx / (inputs + dx))


def jl(dx: int, inputs: int) -> float:
    """Return the gain that keeps the norm of the weights, as the literature on these maps has it.

    On CIFAR-10 that makes `me` 30 times as long as `xavier`, and a feedback of that length multiplies the learning rate
    of fc1's bias by 1 + |me|^2, about 200.
    """
    return 1.0


def _draw_dense(rows: int, columns: int, dx: int, gain: float, generator: torch.Generator) -> Tensors:
    """P (dx, D), uniform. With the gain `xavier`: the notebook's Xavier-uniform, transposed: twice as fast to apply."""
    bound = gain * math.sqrt(3 / dx)
    return {"P": torch.empty(dx, rows * columns).uniform_(-bound, bound, generator=generator)}


def _draw_sparse(rows: int, columns: int, dx: int, gain: float, generator: torch.Generator) -> Tensors:
    """Very sparse random projections: P. Li, T. Hastie, K. Church, KDD 2006.

    Independent entries: zero, but with probability 1 / sqrt(D) plus or minus a constant. The distances from one
    entry that is not zero to the next are geometric, so only those entries are drawn.
    """
    inputs, entries = rows * columns, dx * rows * columns
    probability = 1 / math.sqrt(inputs)
    expected = entries * probability
    gaps = torch.empty(math.ceil(expected + 10 * math.sqrt(expected)) + 10, dtype=torch.float64)
    positions = gaps.geometric_(probability, generator=generator).cumsum(0).long() - 1
    positions = positions[positions < entries]
    values = gain * math.sqrt(1 / (probability * dx)) * _signs(len(positions), generator)
    return _by_output(positions // inputs, positions % inputs, values, dx)


def _draw_countsketch(rows: int, columns: int, dx: int, gain: float, generator: torch.Generator) -> Tensors:
    """Count sketch: M. Charikar, K. Chen, M. Farach-Colton, ICALP 2002.

    As a projection: K. Weinberger et al., Feature hashing for large scale multitask learning, ICML 2009. Every weight
    is added to one output of its own choice, with a random sign.
    """
    inputs = rows * columns
    outputs = torch.randint(dx, (inputs,), generator=generator)
    return _by_output(outputs, torch.arange(inputs), gain * _signs(inputs, generator), dx)


def _by_output(outputs: Tensor, inputs: Tensor, values: Tensor, dx: int) -> Tensors:
    """Return the entries (output, input, value) of a sparse matrix as `index` and `value`, both (dx, most of a row).

    Rows are filled up with zeros times the first weight: so a sum takes the same order every time, on any device.
    """
    order = outputs.argsort(stable=True)
    outputs, inputs, values = outputs[order], inputs[order], values[order]
    counts = outputs.bincount(minlength=dx)
    column = torch.arange(len(outputs)) - (counts.cumsum(0) - counts)[outputs]
    index = torch.zeros(dx, int(counts.max()), dtype=torch.int32)
    value = torch.zeros(index.shape)
    index[outputs, column] = inputs.int()
    value[outputs, column] = values
    return {"index": index, "value": value}


def _apply_sparse(weights: Tensor, index: Tensor, value: Tensor) -> Tensor:
    return (weights.flatten().index_select(0, index.flatten()).view(index.shape) * value).sum(1)


def _draw_kron(rows: int, columns: int, dx: int, gain: float, generator: torch.Generator) -> Tensors:
    """A Gaussian matrix on either side of the weights, A (p, b) and B (a + dx + c, q), with p q = dx.

    As a map of the D weights it is the Kronecker product of the two. Its distortion is that of a dense map plus a
    part that grows with the share of the weights that is of low rank (`tests/test_projection.py` has the formula);
    S. Ahle et al., SODA 2020, for such maps. p is the largest divisor of dx up to its root.
    """
    p, q = kron_sides(dx)
    left = torch.randn(p, rows, generator=generator)  # the first of the two to be drawn
    return {"left": left * (gain / math.sqrt(dx)), "right": torch.randn(columns, q, generator=generator)}


def _draw_srht(rows: int, columns: int, dx: int, gain: float, generator: torch.Generator) -> Tensors:
    """Subsampled randomised Hadamard transform: N. Ailon, B. Chazelle, SICOMP 2009; J. Tropp, AADA 2011.

    Random signs, the Hadamard matrix of order N, the least power of two that is at least D, then dx of its N outputs.
    H_N is the Kronecker product of three smaller Hadamard matrices. The first is needed at the chosen outputs alone.
    """
    inputs = rows * columns
    exponent = max(3, (inputs - 1).bit_length())
    third = exponent // 3
    first, second, last = (hadamard(2**e) for e in (exponent - 2 * third, third, third))
    chosen = torch.randperm(2**exponent, generator=generator)[:dx]
    inner = len(second) * len(last)
    first = first[chosen // inner].t() * (gain / math.sqrt(dx))
    signs = _signs(inputs, generator)
    return {"signs": signs, "first": first, "second": second, "last": last, "column": chosen % inner}


def _apply_srht(weights: Tensor, signs: Tensor, first: Tensor, second: Tensor, last: Tensor, column: Tensor) -> Tensor:
    sides = len(first), len(second), len(last)
    cube = functional.pad(weights.flatten() * signs, (0, math.prod(sides) - len(signs))).view(sides)
    mixed = torch.matmul(second, cube @ last).view(len(first), -1)  # Hadamard matrices are symmetric
    return (mixed.index_select(1, column) * first).sum(0)


def hadamard(order: int) -> Tensor:
    """Return the Hadamard matrix (order, order) of ones and minus ones, Sylvester's; `order` is a power of two."""
    matrix = torch.ones(1, 1)
    while len(matrix) < order:
        matrix = torch.kron(torch.tensor([[1.0, 1.0], [1.0, -1.0]]), matrix)
    return matrix


def _signs(count: int, generator: torch.Generator) -> Tensor:
    return torch.randint(2, (count,), generator=generator).float() * 2 - 1


DENSE = Kind(_draw_dense, lambda weights, P: torch.mv(P, weights.flatten()))
SPARSE = Kind(_draw_sparse, _apply_sparse)
KRON = Kind(_draw_kron, lambda weights, left, right: (left @ (weights @ right)).flatten())
SRHT = Kind(_draw_srht, _apply_srht)
COUNTSKETCH = Kind(_draw_countsketch, _apply_sparse)


def kind_of(name: str) -> Kind:
    """Return the kind of random map that a key of `weightnet.registry.KINDS` names."""
    found: Kind = registry.locate(registry.KINDS, name, "model.kind")
    return found


_held: dict[tuple[object, ...], Tensors] = {}


def draw(kind: str, scale: str, *, rows: int, columns: int, dx: int, seed: int) -> Tensors:
    """Return a seed's map of weights (rows, columns) to (dx,): `kind` and `scale` are keys of `weightnet.registry`.

    Asked again for the last one, it returns the same tensors: the dense P is large.
    """
    key = (kind, scale, rows, columns, dx, seed)
    if key not in _held:
        _held.clear()  # first, so that there is never more than one
        gain = registry.locate(registry.SCALES, scale, "model.scale")(dx, rows * columns)
        _held[key] = kind_of(kind).draw(rows, columns, dx, gain, stream(seed, f"projection/{kind}"))
    return _held[key]
