"""Against torch's own layers in float64."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from weightnet import native
from weightnet.net.convolution import Layer, native_features, torch_features

pytestmark = pytest.mark.skipif(bool(native.why_not()), reason=f"no kernel: {native.why_not()}")


def layer(outputs: int, channels: int, seed: int = 0) -> Layer:
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(outputs, channels, 5, 5, generator=generator, requires_grad=True)
    return weight, torch.randn(outputs, generator=generator, requires_grad=True)


def expected(images: Tensor, *layers: Layer) -> Tensor:
    """Return the features in float64, with ReLU where the notebook has it."""
    x = images.double()
    for weight, bias in layers:
        x = functional.max_pool2d(functional.relu(functional.conv2d(x, weight.double(), bias.double())), 2)
    return x.flatten(1)


def agree(images: Tensor, *layers: Layer) -> None:
    """Values and all gradients, up to what float32 rounds."""
    ours, theirs = native_features(images, *layers), expected(images, *layers)
    wanted = (images, *(parameter for each in layers for parameter in each))
    outer = torch.randn(theirs.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    outer = outer * (theirs.detach() > 1e-4)  # a result this near to 0 may be on its other side in float32
    torch.testing.assert_close(ours.double(), theirs, rtol=1e-4, atol=1e-4)
    gradients = torch.autograd.grad(ours, wanted, outer.float())
    for mine, true in zip(gradients, torch.autograd.grad(theirs, wanted, outer), strict=True):
        torch.testing.assert_close(mine.double(), true.double(), rtol=1e-3, atol=1e-4 * (1 + float(true.abs().max())))


@settings(max_examples=60, deadline=None)
@given(
    examples=st.integers(1, 40), channels=st.integers(1, 6), outputs=st.integers(1, 13),
    height=st.integers(6, 19), width=st.integers(6, 19), seed=st.integers(0, 1000),
)  # fmt: skip
def test_values_and_gradients_are_those_of_torchs_layers(
    examples: int, channels: int, outputs: int, height: int, width: int, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(examples, channels, height, width, generator=generator, requires_grad=True)
    agree(images, layer(outputs, channels, seed))


@pytest.mark.parametrize("examples", [64, 30, 1])
def test_two_layers_as_in_the_network(examples: int) -> None:
    images = torch.randn(examples, 1, 28, 28, generator=torch.Generator().manual_seed(0), requires_grad=True)
    agree(images, layer(5, 1), layer(10, 5))
    torch.testing.assert_close(
        native_features(images, layer(5, 1), layer(10, 5)),
        torch_features(images, layer(5, 1), layer(10, 5)),
        rtol=1e-4,
        atol=1e-4,
    )


def test_float64_is_not_taken_for_float32() -> None:
    images = torch.randn(3, 2, 9, 9, dtype=torch.float64)
    weight, bias = (part.detach().double() for part in layer(4, 2))
    torch.testing.assert_close(native_features(images, (weight, bias)), expected(images, (weight, bias)))


def test_of_equal_places_one_gets_the_gradient() -> None:
    # a flat image: all four places under a window are equal, and the gradient must not be counted four times
    weight = torch.ones(1, 1, 5, 5, requires_grad=True)
    native_features(torch.ones(1, 1, 6, 6), (weight, torch.zeros(1))).sum().backward()
    assert weight.grad is not None and weight.grad.flatten().tolist() == [1.0] * 25


def test_where_relu_is_zero_nothing_gets_a_gradient() -> None:
    weight, bias = torch.zeros(1, 1, 5, 5, requires_grad=True), torch.zeros(1, requires_grad=True)
    native_features(torch.ones(3, 1, 6, 6), (weight, bias)).sum().backward()
    assert weight.grad is not None and weight.grad.abs().sum() == 0
    assert bias.grad is not None and bias.grad.item() == 0


@pytest.mark.parametrize("pixel", [math.nan, math.inf])
def test_what_is_not_finite_is_not_hidden(pixel: float) -> None:
    images = torch.zeros(2, 1, 6, 6)
    images[1, 0, 3, 3] = pixel
    features = native_features(images, layer(3, 1))
    assert features[0].isfinite().all()
    alone = torch_features(images, layer(3, 1))
    torch.testing.assert_close(features, alone, equal_nan=True)


def test_an_example_s_features_do_not_depend_on_its_neighbours() -> None:
    images = torch.randn(37, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    layers = layer(5, 1), layer(10, 5)
    together = native_features(images, *layers)
    assert torch.equal(together[5:9], native_features(images[5:9], *layers))
    assert torch.equal(together.flip(0), native_features(images.flip(0), *layers))


@pytest.mark.parametrize("flags", [("-DLANES=4",), ("-DLANES=8",), ("-DLANES=16", "-O1"), ("-mno-avx512f",)])
def test_the_numbers_do_not_depend_on_the_width_of_a_register(
    flags: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    try:
        other = native.build(*flags, "-Wno-psabi")
    except native.NoKernel as error:
        pytest.skip(str(error))  # -mno-avx512f is unknown elsewhere than on x86
    images = torch.randn(37, 3, 14, 17, generator=torch.Generator().manual_seed(0), requires_grad=True)
    layers = layer(7, 3), layer(4, 7)
    results = []
    for kernel in (native.kernel(), other):
        monkeypatch.setattr(native, "kernel", lambda kernel=kernel: kernel)
        features = native_features(images, *layers)
        wanted = (images, *(parameter for each in layers for parameter in each))
        results.append([features, *torch.autograd.grad(features.square().sum(), wanted)])
    assert all(torch.equal(one, two) for one, two in zip(*results, strict=True))
