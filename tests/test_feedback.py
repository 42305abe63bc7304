from collections.abc import Callable

import torch

from weightnet.config import Config
from weightnet.feedback import PoolFeedback, ProjectionFeedback, carried, dropped

MakeConfig = Callable[..., Config]


def test_pool_by_hand() -> None:
    # b=4, a+dx=6, c=4; kernel (n, m) = (2, 3): 2 x 2 from fc1, 2 x 2 from fc2 transposed, then ones up to dx=10
    weight1 = torch.tensor(
        [[1.0, 2, 3, 4, 5, 6], [0, 0, 9, 0, 0, 0], [-1, -2, -3, -4, -5, -6], [-9, -9, -9, -9, -9, -9]]
    )
    weight2 = torch.tensor([[1.0, 2, 3, 4], [5, 6, 7, 8], [-1, -2, -3, -4], [-5, -6, -7, -8]])
    me = PoolFeedback(dx=10, m=3, n=2)(weight1, weight2)
    assert me.tolist() == [9, 6, 6, -1, -1, -4, 8, -3, 1, 1]


def test_projection_by_hand() -> None:
    # b=2, a+dx=1, c=1: the row-by-row vector of [fc1.weight | fc2.weight transposed] is 1, 3, 2, 4
    weight1, weight2 = torch.tensor([[1.0], [2.0]]), torch.tensor([[3.0, 4.0]])
    P = torch.tensor([[1.0, 10, 100, 1000], [1, 0, 0, 0]])
    assert ProjectionFeedback(2, "dense", {"P": P})(weight1, weight2).tolist() == [1 + 30 + 200 + 4000, 1]


def test_dropped_rows_are_said(make_config: MakeConfig) -> None:
    note = dropped(make_config("mnist", "pool"))
    assert note == "pooling drops the last 10 of 60 rows and 0 columns of fc1.weight (floor)"
    assert dropped(make_config("mnist", "pool", hidden=50)) is None
    assert dropped(make_config("cifar", "pool")) is None
    assert dropped(make_config("mnist", "baseline")) is None


def test_carried_weights_are_the_notebooks_dw(make_config: MakeConfig) -> None:
    assert carried(make_config("mnist", "pool")) == 22
    assert carried(make_config("cifar", "pool")) == 430
    assert carried(make_config("cifar", "rmp")) == 460
    assert carried(make_config("cifar", "baseline")) == 0
