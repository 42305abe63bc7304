"""Convolution, 2x2 max-pooling and ReLU in one: by the library, or for few channels by matrix products."""

from functools import lru_cache
from itertools import product
from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

NARROW = 16  # fewer output channels than this fill no vector register of 16 floats: there matrix products win on a CPU


def pooled_convolution(images: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return relu(max_pool2d(conv2d(images, weight, bias), 2)), (N, O, h, v), of images (N, C, H, W).

    `weight` is (O, C, k, k) with an odd k, `bias` (O,). Images in any memory format; results of this function are best.
    ReLU comes after the pooling: the same values and gradients as before it, on a quarter of the numbers.
    """
    if images.device.type == "cpu" and len(weight) < NARROW and not torch.is_autocast_enabled("cpu"):
        return cast(Tensor, _MatrixProduct.apply(images, weight, bias))
    return functional.relu(functional.max_pool2d(functional.conv2d(images, weight, bias), 2))


class _MatrixProduct(torch.autograd.Function):
    """`pooled_convolution` with the batch as the innermost dimension: all that moves, moves in long runs.

    The four places under a pooling window see patches of k + 1 by k + 1 pixels, two pixels apart. So with the kernel
    in its four places within such a patch, one matrix product

        kernels (4 O, C (k+1)^2) x patches (C (k+1)^2, h v N)

    gives everything that the maximum is taken of, and no intermediate image is ever as large as the convolution's.
    """

    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        outputs, channels, size, _ = weight.shape
        x = images.permute(1, 2, 3, 0).contiguous()  # (C, H, W, N)
        windows = x.unfold(1, size + 1, 2).unfold(2, size + 1, 2)  # (C, h, v, N, k + 1, k + 1)
        high, wide = windows.shape[1:3]
        patches = windows.permute(0, 4, 5, 1, 2, 3).reshape(channels * (size + 1) ** 2, -1)
        placed = weight.reshape(outputs * channels, size**2) @ _places(size, weight.dtype)
        kernels = placed.view(outputs, channels, 4, -1).permute(2, 0, 1, 3).reshape(4 * outputs, -1)
        four = (kernels @ patches).view(4, outputs, -1)
        largest = torch.maximum(torch.maximum(four[0], four[1]), torch.maximum(four[2], four[3]))
        result = (largest + bias.unsqueeze(1)).relu_()
        ctx.save_for_backward(patches, kernels, four, largest, result)
        ctx.images_shape, ctx.weight_shape = images.shape, weight.shape
        return result.view(outputs, high, wide, -1).permute(3, 0, 1, 2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor, Tensor]:
        patches, kernels, four, largest, result = ctx.saved_tensors
        outputs, channels, size, _ = ctx.weight_shape
        (gradient,) = gradients
        high, wide = gradient.shape[2:]
        where_positive = torch.ops.aten.threshold_backward  # its first argument where the second exceeds the third
        rest = where_positive(gradient.permute(1, 2, 3, 0).reshape(outputs, -1), result, 0)
        bias_gradient = rest.sum(1)
        routed = torch.empty_like(four)
        for place in range(3):  # to the first place that has the maximum, as max_pool2d does
            routed[place] = where_positive(rest, four[place] - largest, -1e-30)  # 0 exceeds it, else a rounding error
            rest = rest - routed[place]
        routed[3] = rest
        routed = routed.view(4 * outputs, -1)
        placed = (routed @ patches.t()).view(4, outputs, channels, -1).permute(1, 2, 0, 3)
        weight_gradient = placed.reshape(outputs * channels, -1) @ _places(size, patches.dtype).t()
        images_gradient = None
        if ctx.needs_input_grad[0]:
            in_patches = (kernels.t() @ routed).view(channels, size + 1, size + 1, high, wide, -1)
            images_gradient = _overlap_add(in_patches, ctx.images_shape)
        return images_gradient, weight_gradient.view(ctx.weight_shape), bias_gradient


def _overlap_add(patches: Tensor, shape: torch.Size) -> Tensor:
    """Add patches (C, k+1, k+1, h, v, N), two pixels apart, where they lie in images of `shape` (N, C, H, W).

    In cells of 2 x 2 pixels: each patch covers (k+1)/2 by (k+1)/2 cells, and neighbours are one cell apart.
    """
    channels, size, _, high, wide, batch = patches.shape
    cells = size // 2
    patches = patches.view(channels, cells, 2, cells, 2, high, wide, batch)
    image = patches.new_zeros(channels, high + cells - 1, 2, wide + cells - 1, 2, batch)
    for i, j in product(range(cells), range(cells)):
        image[:, i : i + high, :, j : j + wide] += patches[:, i, :, j].permute(0, 3, 1, 4, 2, 5)
    image = image.view(channels, 2 * image.shape[1], 2 * image.shape[3], batch)
    below, right = shape[2] - image.shape[1], shape[3] - image.shape[2]  # rows and columns that no window reaches
    return functional.pad(image, (0, 0, 0, right, 0, below)).permute(3, 0, 1, 2)


@lru_cache
def _places(size: int, dtype: torch.dtype) -> Tensor:
    """Return the matrix (k^2, 4 (k+1)^2) of zeros and ones that puts a kernel in its four places in a patch."""
    places = torch.zeros(size, size, 2, 2, size + 1, size + 1, dtype=dtype)
    for row, column, below, right in product(range(size), range(size), range(2), range(2)):
        places[row, column, below, right, row + below, column + right] = 1
    return places.view(size**2, -1)
