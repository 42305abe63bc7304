"""The features of images: convolutions with 2x2 max-pooling and ReLU, by convolution.c or by torch's layers."""

from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from weightnet import native
from weightnet.geometry import KERNEL

BLOCK = 16  # examples that convolution.c works on at once

Layer = tuple[Tensor, Tensor]
"""Weight (O, C, k, k) and bias (O,) of a convolution."""


def torch_features(images: Tensor, *layers: Layer) -> Tensor:
    """Return the features (N, O h v) of images (N, C, H, W): of each layer in turn relu(max_pool2d(conv2d(x), 2)).

    ReLU comes after the pooling: the same values and gradients as before it, on a quarter of the numbers.
    """
    for weight, bias in layers:
        images = functional.relu(functional.max_pool2d(functional.conv2d(images, weight, bias), 2))
    return images.flatten(1)


def native_features(images: Tensor, *layers: Layer) -> Tensor:
    """Return what `torch_features` does, but for rounding; k is that of `geometry`.

    A network that has been moved from where it was built (`.double()`, `.cuda()`) goes on with torch's layers.
    NoKernel: there is no kernel here (`weightnet.native`).
    """
    if images.dtype != torch.float32 or images.device.type != "cpu":
        return torch_features(images, *layers)
    return cast(Tensor, _Native.apply(images, *(parameter for layer in layers for parameter in layer)))


class _Native(torch.autograd.Function):
    """All layers by convolution.c, on blocks of 16 examples: (blocks, C, H, W, 16)."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, *parameters: Tensor) -> Tensor:
        kernel, (examples, *shape) = native.kernel(), images.shape
        x, images = images.new_empty(-(-examples // BLOCK), *shape, BLOCK), images.contiguous()
        kernel.to_blocks(*_pointers(images, x), examples, x[0].numel() // BLOCK)
        saved: list[Tensor] = []
        for weight, bias in zip(parameters[::2], parameters[1::2], strict=True):
            weight, bias = weight.contiguous(), bias.contiguous()
            blocks, channels, height, width, _ = x.shape
            outputs, _, size, _ = weight.shape
            assert size == KERNEL, f"the kernel is compiled for {KERNEL} x {KERNEL}"
            result = x.new_empty(blocks, outputs, (height - size + 1) // 2, (width - size + 1) // 2, BLOCK)
            place = torch.empty_like(result, dtype=torch.int8)
            kernel.forward(*_pointers(x, weight, bias, result, place), blocks, channels, height, width, outputs)
            saved += [x, weight, place]
            x = result
        ctx.save_for_backward(*saved)
        features = x.new_empty(examples, x[0].numel() // BLOCK)
        kernel.from_blocks(*_pointers(x, features), *features.shape)
        return features

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        kernel, saved, gradient = native.kernel(), ctx.saved_tensors, gradients[0].contiguous()
        examples, numbers = gradient.shape
        of_result: Tensor | None = gradient.new_empty(len(saved[0]), numbers, BLOCK)
        kernel.to_blocks(*_pointers(gradient, of_result), examples, numbers)
        of_parameters: list[Tensor] = []
        for layer in range(len(saved) - 3, -1, -3):
            x, weight, place = saved[layer : layer + 3]
            blocks, channels, height, width, _ = x.shape
            of_x = torch.empty_like(x) if layer or ctx.needs_input_grad[0] else None
            of_weight, of_bias = torch.empty_like(weight), weight.new_empty(len(weight))
            pointers = _pointers(x, weight, of_result, place, of_x, of_weight, of_bias)
            if kernel.backward(*pointers, blocks, channels, height, width, len(weight)):
                raise MemoryError("no memory for the gradients of a convolution")
            of_parameters, of_result = [of_weight, of_bias, *of_parameters], of_x
        of_images = None
        if of_result is not None:
            of_images = x.new_empty(examples, *x.shape[1:4])
            kernel.from_blocks(*_pointers(of_result, of_images), examples, of_images[0].numel())
        return of_images, *of_parameters


def _pointers(*tensors: Tensor | None) -> list[int | None]:
    return [None if tensor is None else tensor.data_ptr() for tensor in tensors]
