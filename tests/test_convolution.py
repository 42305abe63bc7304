import pytest
import torch
from torch.nn import functional

from weightnet.net.convolution import pooled_convolution


@pytest.mark.parametrize("shape", [(3, 1, 28, 28), (4, 5, 12, 12), (2, 3, 17, 20), (5, 2, 6, 6)])
@pytest.mark.parametrize(("outputs", "size"), [(5, 5), (10, 3), (20, 5)])
def test_values_and_gradients_are_those_of_torchs_layers(
    shape: tuple[int, int, int, int], outputs: int, size: int
) -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(*shape, generator=generator, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(outputs, shape[1], size, size, generator=generator, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(outputs, generator=generator, dtype=torch.float64, requires_grad=True)
    ours = pooled_convolution(images, weight, bias)
    expected = functional.max_pool2d(functional.relu(functional.conv2d(images, weight, bias)), 2)
    torch.testing.assert_close(ours, expected)
    outer = torch.randn(expected.shape, generator=generator, dtype=torch.float64)
    wanted = (images, weight, bias)
    for mine, theirs in zip(
        torch.autograd.grad(ours, wanted, outer), torch.autograd.grad(expected, wanted, outer), strict=True
    ):
        torch.testing.assert_close(mine, theirs)


def test_of_equal_places_one_gets_the_gradient() -> None:
    # a flat image: all four places under a window are equal, and the gradient must not be counted four times
    images = torch.ones(1, 1, 6, 6)
    weight = torch.ones(1, 1, 5, 5, requires_grad=True)
    pooled_convolution(images, weight, torch.zeros(1)).sum().backward()
    assert weight.grad is not None and weight.grad.flatten().tolist() == [1.0] * 25


def test_a_result_goes_in_again_without_a_copy() -> None:
    first = pooled_convolution(torch.randn(4, 1, 28, 28), torch.randn(5, 1, 5, 5), torch.zeros(5))
    assert first.permute(1, 2, 3, 0).is_contiguous()
