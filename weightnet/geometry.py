"""The sizes of a run's network: features, parameters, what is fed back, multiplications. No torch in here."""

import math
from collections.abc import Callable

from weightnet import registry
from weightnet.config import Config, DatasetConfig
from weightnet.matching import pooled_length

KERNEL = 5  # side of both convolutions' kernels


def convolved(side: int) -> int:
    """Return the side of an image after a valid convolution."""
    return side - KERNEL + 1


def pooled_side(side: int) -> int:
    """Return the side of an image after a valid convolution and 2x2 max-pooling, which rounds down."""
    return convolved(side) // 2


def flat_features(dataset: DatasetConfig) -> int:
    """Return the number of features that enter fc1 from the convolutions, a in the notebook."""
    height, width = (pooled_side(pooled_side(side)) for side in dataset.shape[1:])
    return dataset.channels[1] * height * width


def fed_back(config: Config) -> int:
    """Return how many numbers a resolved config's network is fed back."""
    return 0 if config.model.feedback in ("none", *registry.BIAS_RATES) else config.dims.dx or 0


def fan_in(config: Config) -> int:
    """Return the fan-in by which the weights of fc1's features, and its bias, start in a resolved config's network."""
    return flat_features(config.dataset) + (fed_back(config) if config.train.init == "notebook" else 0)


def training_examples(config: Config) -> int:
    """Return the number of examples that a resolved config trains on."""
    return config.train.subset or config.dataset.examples[0] - (config.train.validation or 0)


def parameter_count(config: Config) -> int:
    """Return the number of trained parameters of a resolved config's network."""
    dataset, hidden = config.dataset, config.dims.hidden or 0
    (first, second), image_channels = dataset.channels, dataset.shape[0]
    convolutions = first * (KERNEL**2 * image_channels + 1) + second * (KERNEL**2 * first + 1)
    return convolutions + hidden * (flat_features(dataset) + fed_back(config) + 1) + dataset.classes * (hidden + 1)


def carried(config: Config) -> int | None:
    """Return dw, how many numbers of `me` are weights or made of them, of a resolved config."""
    if config.model.feedback in registry.NO_WEIGHTS:
        return 0
    return pooled(config) if config.dims.m and config.dims.n else config.dims.dx


def pooled(config: Config) -> int:
    """Return how many numbers pooling makes of a resolved config's weights; ValueError: it has no kernels."""
    dims, dataset = config.dims, config.dataset
    if not (dims.dx and dims.m and dims.n and dims.hidden):
        raise ValueError(f"model={config.model.name} has no kernels")
    sizes = {"features": flat_features(dataset), "hidden": dims.hidden, "classes": dataset.classes}
    return pooled_length(dims.dx, dims.m, dims.n, **sizes)


def dropped(config: Config) -> str | None:
    """Say what pooling leaves out of the weight matrices of a resolved config, or None if nothing."""
    dims = config.dims
    if dims.dx and dims.m and dims.n and dims.hidden:
        columns, rows = (flat_features(config.dataset) + dims.dx) % dims.m, dims.hidden % dims.n
        if columns or rows:
            return f"pooling drops the last {rows} of {dims.hidden} rows and {columns} columns of fc1.weight (floor)"
    return None


MAP_NUMBERS: dict[str, Callable[[int, int, int], int]] = {
    "dense": lambda rows, columns, dx: dx * rows * columns,
    "sparse": lambda rows, columns, dx: 2 * dx * math.isqrt(rows * columns),
    "kron": lambda rows, columns, dx: kron_sides(dx)[0] * rows + kron_sides(dx)[1] * columns,
    "srht": lambda rows, columns, dx: rows * columns + dx * math.isqrt(rows * columns),
    "countsketch": lambda rows, columns, dx: 2 * rows * columns,
}
"""`model.kind` -> how many numbers a map of weights (rows, columns) to dx holds, about."""


def kron_sides(dx: int) -> tuple[int, int]:
    """Return the two factors of dx that are nearest to its root, the smaller one first."""
    p = max(divisor for divisor in range(1, math.isqrt(dx) + 1) if dx % divisor == 0)
    return p, dx // p


def map_bytes(config: Config) -> int:
    """Return the memory of a resolved config's random map, about, in bytes; 0 without one."""
    dx, hidden, kind = config.dims.dx, config.dims.hidden, config.model.kind
    if kind is None:
        return 0
    assert dx is not None and hidden is not None, "config is not resolved"
    return 4 * MAP_NUMBERS[kind](hidden, flat_features(config.dataset) + dx + config.dataset.classes, dx)


def work(config: Config) -> float:
    """Return the multiplications of a run's training steps, for comparing runs that were never timed."""
    dataset, train = config.dataset, config.train
    (first, second), (image_channels, height, width) = dataset.channels, dataset.shape
    convolutions = KERNEL**2 * (
        image_channels * first * convolved(height) * convolved(width)
        + first * second * convolved(pooled_side(height)) * convolved(pooled_side(width))
    )
    linear = (config.dims.hidden or 0) * (flat_features(dataset) + dataset.classes)
    examples = training_examples(config)
    per_step = 8 * map_bytes(config) / 4 + parameter_count(config)  # reading a number: about eight multiplications
    return train.epochs * (3 * examples * (convolutions + linear) + examples / train.batch_size * per_step)
