import math
from collections.abc import Callable

import pytest
import scipy.linalg
import torch
from torch import Tensor

from weightnet.config import Config
from weightnet.geometry import MAP_NUMBERS, map_bytes
from weightnet.net.model import WeightNet
from weightnet.net.projection import draw, hadamard, kind_of
from weightnet.registry import KINDS, SCALES, locate

MakeConfig = Callable[..., Config]
ROWS, COLUMNS, DX = 12, 20, 24
D = ROWS * COLUMNS


def mapped(weights: Tensor, kind: str, scale: str = "jl", seed: int = 1, dx: int = DX) -> Tensor:
    rows, columns = weights.shape
    return kind_of(kind).apply(weights, **draw(kind, scale, rows=rows, columns=columns, dx=dx, seed=seed))


def as_matrix(
    kind: str, scale: str = "jl", seed: int = 1, dx: int = DX, shape: tuple[int, int] = (ROWS, COLUMNS)
) -> Tensor:
    """Return the map as a matrix (dx, D): its values at the unit vectors."""
    units = torch.eye(shape[0] * shape[1]).view(-1, *shape)
    return torch.stack([mapped(unit, kind, scale, seed, dx) for unit in units], dim=1)


def test_dense_is_the_notebooks_xavier_uniform() -> None:
    # the notebook: torch.nn.init.xavier_uniform_ of a (D, dx) matrix, with the weights row by row on its left
    P = draw("dense", "xavier", rows=50, columns=196, dx=26, seed=1)["P"]
    expected = torch.nn.init.xavier_uniform_(torch.empty(9800, 26), generator=torch.Generator().manual_seed(0))
    assert P.shape == (26, 9800) and P.dtype == torch.float32
    assert float(P.abs().max()) == pytest.approx(float(expected.abs().max()), rel=1e-3)
    assert float(P.abs().max()) <= math.sqrt(6 / (9800 + 26))
    assert float(P.std()) == pytest.approx(float(expected.std()), rel=1e-2)
    assert abs(float(P.mean())) < 1e-4
    weights = torch.randn(50, 196)
    torch.testing.assert_close(kind_of("dense").apply(weights, P=P), weights.reshape(1, -1).mm(P.t()).squeeze(0))


@pytest.mark.parametrize("kind", KINDS)
def test_a_map_is_linear(kind: str) -> None:
    first, second = torch.randn(2, ROWS, COLUMNS, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(mapped(2 * first - second, kind), 2 * mapped(first, kind) - mapped(second, kind))
    torch.testing.assert_close(as_matrix(kind) @ first.flatten(), mapped(first, kind), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_a_map_depends_on_its_seed_alone(kind: str) -> None:
    weights = torch.randn(ROWS, COLUMNS, generator=torch.Generator().manual_seed(0))
    first = mapped(weights, kind)
    assert not torch.equal(first, mapped(weights, kind, seed=2))  # and the one that is held is replaced
    torch.manual_seed(7)
    assert torch.equal(first, mapped(weights, kind))


def variance(kind: str, weights: Tensor, dx: int, p: int) -> float:
    """Return the variance of |me|^2 / |weights|^2 over the draws of a map, worked out by hand for each kind."""
    inputs = weights.numel()
    w = weights.flatten()
    fourth = float((w**4).sum() / (w**2).sum() ** 2)
    if kind == "dense":  # independent entries of kurtosis k: (2 + (k - 3) fourth) / dx; the uniform's k is 9/5
        return (2 + (1.8 - 3) * fourth) / dx
    if kind == "sparse":  # a sign with probability 1/sqrt(D), else 0: k = sqrt(D)
        return (2 + (math.sqrt(inputs) - 3) * fourth) / dx
    if kind == "countsketch":  # only pairs of weights that meet in an output contribute
        return 2 * (1 - fourth) / dx
    if kind == "srht":  # dx of the N outputs without replacement; an output's fourth moment is 3 - 2 fourth
        size = 2 ** math.ceil(math.log2(inputs))
        return 2 * (1 - fourth) / dx * (size - dx) / (size - 1)
    assert kind == "kron"  # Gaussian on both sides; r tells how near the weights are to rank one
    gram = weights.t() @ weights
    r = float((gram @ gram).trace() / gram.trace() ** 2)
    q = dx // p
    return 2 * r / p + 2 * r / q + 2 * (1 + r) / (p * q)


@pytest.mark.parametrize("low_rank", [False, True], ids=["random", "rank one"])
@pytest.mark.parametrize("kind", KINDS)
def test_norms_are_kept_in_expectation_and_vary_at_the_theoretical_rate(kind: str, low_rank: bool) -> None:
    generator = torch.Generator().manual_seed(3)
    weights = torch.randn(ROWS, COLUMNS, generator=generator)
    if low_rank:
        weights = torch.outer(weights[:, 0], weights[0])
    draws = 4000
    ratios = torch.stack([mapped(weights, kind, seed=seed).square().sum() for seed in range(draws)])
    ratios /= weights.square().sum()
    expected = variance(kind, weights, DX, 4)
    assert float(ratios.mean()) == pytest.approx(1, abs=4 * math.sqrt(expected / draws))
    assert float(ratios.var()) == pytest.approx(expected, rel=0.15)


@pytest.mark.parametrize("kind", KINDS)
def test_distances_of_many_vectors_are_kept(kind: str) -> None:
    # Johnson-Lindenstrauss: squared distances of all 435 pairs lie within 1 +- eps, eps^2 = 4 ln(435) variance
    dx = 400
    points = torch.randn(30, 40, 50, generator=torch.Generator().manual_seed(0))
    images = torch.stack([mapped(point, kind, dx=dx) for point in points])
    ratios = torch.pdist(images).square() / torch.pdist(points.flatten(1)).square()
    spread = variance(
        kind, points[0] - points[1], dx, 20
    )  # much the same for all pairs: they point nowhere in particular
    epsilon = math.sqrt(4 * math.log(435) * spread)
    assert 1 - epsilon < float(ratios.min()) < float(ratios.max()) < 1 + epsilon
    assert float((ratios - 1).square().mean()) == pytest.approx(spread, rel=0.5)


@pytest.mark.parametrize("kind", KINDS)
def test_the_scale_xavier_gives_the_variance_of_the_notebooks_P(kind: str) -> None:
    matrices = torch.stack([as_matrix(kind, "xavier", seed=seed) for seed in range(50)])
    assert float(matrices.square().mean()) == pytest.approx(2 / (D + DX), rel=0.05)
    torch.testing.assert_close(as_matrix(kind, "xavier"), as_matrix(kind, "jl") * math.sqrt(2 * DX / (D + DX)))


@pytest.mark.parametrize("shape", [(2, 4), (5, 7), (16, 16)])
def test_srht_is_rows_of_a_hadamard_matrix(shape: tuple[int, int]) -> None:
    inputs = shape[0] * shape[1]
    size = max(8, 2 ** math.ceil(math.log2(inputs)))
    dx = 6
    parts = draw("srht", "jl", rows=shape[0], columns=shape[1], dx=dx, seed=1)
    reference = torch.as_tensor(scipy.linalg.hadamard(size), dtype=torch.float32)[:, :inputs] * parts["signs"]
    reference /= math.sqrt(dx)
    matrix = as_matrix("srht", dx=dx, shape=shape)
    rows = [int(torch.nonzero((reference - row).abs().amax(1) < 1e-5).squeeze()) for row in matrix]
    assert len(set(rows)) == dx


@pytest.mark.parametrize("order", [1, 2, 4, 32])
def test_hadamard_is_scipys(order: int) -> None:
    assert torch.equal(hadamard(order), torch.as_tensor(scipy.linalg.hadamard(order), dtype=torch.float32))


def test_sparse_has_one_entry_in_root_D() -> None:
    rows, columns, dx = 100, 400, 50
    value = draw("sparse", "jl", rows=rows, columns=columns, dx=dx, seed=1)["value"]
    entries = value[value != 0]
    assert len(entries) == pytest.approx(dx * math.sqrt(rows * columns), rel=0.05)
    torch.testing.assert_close(entries.abs(), torch.full_like(entries, (rows * columns) ** 0.25 / math.sqrt(dx)))
    assert float(entries.sign().mean()) == pytest.approx(0, abs=0.05)


def test_a_countsketch_uses_every_weight_once() -> None:
    matrix = as_matrix("countsketch")
    assert torch.equal((matrix != 0).sum(0), torch.ones(D, dtype=torch.int64))
    assert torch.equal(matrix.abs().sum(0), torch.ones(D))


@pytest.mark.parametrize("kind", KINDS)
def test_memory(make_config: MakeConfig, kind: str) -> None:
    config = make_config("mnist", "projection", kind=kind)
    parts = draw(kind, "xavier", rows=50, columns=196, dx=26, seed=1)
    assert map_bytes(config) == pytest.approx(
        sum(part.numel() * part.element_size() for part in parts.values()), rel=0.5
    )
    assert map_bytes(make_config("mnist", "pool")) == 0


def test_structured_maps_are_small_where_the_dense_one_is_not(make_config: MakeConfig) -> None:
    assert map_bytes(make_config("cifar", "rmp")) == 4 * 860_000 * 460
    for kind in set(KINDS) - {"dense"}:
        parts = draw(kind, "xavier", rows=500, columns=1720, dx=460, seed=1)
        size = sum(part.numel() * part.element_size() for part in parts.values())
        assert size < 16 * 2**20
        assert size == pytest.approx(map_bytes(make_config("cifar", "projection", kind=kind)), rel=0.5)


def test_runs_of_a_process_share_a_map(make_config: MakeConfig) -> None:
    first, second = (WeightNet(make_config("mnist", "rmp", lr=lr)) for lr in (0.01, 0.02))
    assert first.feedback is not None and second.feedback is not None
    assert first.feedback.P.data_ptr() == second.feedback.P.data_ptr()


def test_scales_are_gains() -> None:
    assert set(MAP_NUMBERS) == set(KINDS)
    assert locate(SCALES, "jl", "model.scale")(460, 860_000) == 1
    assert locate(SCALES, "xavier", "model.scale")(460, 860_000) == pytest.approx(
        0.0327, rel=1e-2
    )  # the docs' factor of 30
