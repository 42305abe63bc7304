import math

import pytest
import torch

from weightnet.projection import dense
from weightnet.streams import stream


def test_dense_is_xavier_uniform() -> None:
    P = dense(26, 9800, stream(1, "projection"))
    expected = torch.nn.init.xavier_uniform_(torch.empty(9800, 26), generator=torch.Generator().manual_seed(0))
    assert P.shape == (26, 9800) and P.dtype == torch.float32
    assert float(P.abs().max()) == pytest.approx(float(expected.abs().max()), rel=1e-3)
    assert float(P.abs().max()) <= math.sqrt(6 / (9800 + 26))
    assert float(P.std()) == pytest.approx(float(expected.std()), rel=1e-2)
    assert abs(float(P.mean())) < 1e-4


def test_dense_depends_on_its_generator_alone() -> None:
    first, again = (dense(5, 100, stream(1, "projection")) for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.equal(first, dense(5, 100, stream(2, "projection")))
