"""Data sets as two pairs of tensors, held whole."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError

import torch
from filelock import FileLock
from torch import Tensor

from weightnet import registry
from weightnet.config import DatasetConfig
from weightnet.errors import UserError
from weightnet.net.streams import stream

Pixels = tuple[Tensor, Tensor]  # images (N, C, H, W) uint8 and labels (N,) int64


@dataclass(frozen=True, slots=True)
class Split:
    """Images (N, C, H, W) float32, normalised, and labels (N,) int64."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, slots=True)
class Dataset:
    """A training and a test split on one device."""

    train: Split
    test: Split


Reader = Callable[[Path], tuple[Pixels, Pixels]]  # from the root folder to the (training, test) pixels


def _torchvision(class_name: str) -> Reader:
    """Return a reader of one of torchvision's data sets, which downloads what is missing."""

    def read(root: Path, download: bool = False) -> tuple[Pixels, Pixels]:
        from torchvision import datasets  # here, because it takes seconds and the digits do not need it

        parts = [getattr(datasets, class_name)(root, train=train, download=download) for train in (True, False)]
        train, test = ((_channels_first(part.data), torch.as_tensor(part.targets)) for part in parts)
        return train, test

    def read_or_download(root: Path) -> tuple[Pixels, Pixels]:
        try:
            return read(root)
        except RuntimeError as error:
            if "not found" not in str(error):  # torchvision's word for: missing, or its md5 sums do not match
                raise
        root.mkdir(parents=True, exist_ok=True)
        with FileLock(root / f".{class_name}.lock"):  # two runs must not download into one file
            try:
                return read(root, download=True)
            except (URLError, ConnectionError, TimeoutError, RuntimeError) as failure:
                raise ConnectionError(_one_line(failure)) from failure

    return read_or_download


mnist = _torchvision("MNIST")
fashion_mnist = _torchvision("FashionMNIST")
kmnist = _torchvision("KMNIST")
cifar = _torchvision("CIFAR10")


def _channels_first(images: object) -> Tensor:
    """Return uint8 images (N, H, W) or (N, H, W, C) as (N, C, H, W)."""
    tensor = torch.as_tensor(images)
    return tensor.unsqueeze(1) if tensor.ndim == 3 else tensor.permute(0, 3, 1, 2)  # channels-last in memory


def digits(root: Path) -> tuple[Pixels, Pixels]:
    """Read scikit-learn's 1,797 bundled 8x8 scans, resized to 28x28; a fixed fifth of them is the test split."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    small = torch.as_tensor(bunch.images, dtype=torch.float32).unsqueeze(1) / 16  # 17 grey levels
    large = torch.nn.functional.interpolate(small, size=(28, 28), mode="bilinear", align_corners=False)
    images, labels = (large * 255).round().to(torch.uint8), torch.as_tensor(bunch.target, dtype=torch.int64)
    order = torch.randperm(len(labels), generator=stream(0, "digits/split"))
    test, train = order.split([len(order) // 5, len(order) - len(order) // 5])
    return (images[train], labels[train]), (images[test], labels[test])


def load(config: DatasetConfig, root: Path, *, subset: int | None = None, device: str = "cpu") -> Dataset:
    """Return the data set, normalised, on `device`; what is missing in `root`, torchvision's folder, is downloaded.

    `subset`: train on this many examples, the first of an order that is the same for every seed, so that a smaller
    subset lies within a larger one.

    Raises:
        UserError: the set is missing and cannot be downloaded, a file is corrupted, or the folder forbids access.
    """
    if config.name not in registry.READERS:
        raise UserError(f"dataset.name={config.name}: no reader of that name; there are {', '.join(registry.READERS)}")
    train, test = _read(config, root)
    if subset is not None:
        chosen = torch.randperm(len(train[1]), generator=stream(0, "subset"))[:subset]
        train = train[0][chosen], train[1][chosen]
    return Dataset(*(_normalised(pixels, config, device) for pixels in (train, test)))


def _read(config: DatasetConfig, root: Path) -> tuple[Pixels, Pixels]:
    """Read the pixels and check them against the config; every failure becomes one line that says what to do."""
    folder = root.resolve()
    try:
        read: Reader = registry.locate(registry.READERS[config.name])
        splits = read(root)
        for (images, labels), count in zip(splits, config.examples, strict=True):
            if images.shape != (count, *config.shape) or len(labels) != count:
                raise ValueError(f"{len(labels)} labels, images of shape {tuple(images.shape)}, {count} expected")
            if labels.min() < 0 or labels.max() >= config.classes:
                raise ValueError(f"labels from {labels.min()} to {labels.max()}")
        return splits
    except Exception as error:  # whatever a reader makes of bytes that are not what they should be
        problem = f"a file in {folder} is corrupted ({_one_line(error)})"
        remedy = "delete the set's folder there and run again to download it anew"
        if isinstance(error, ConnectionError):
            problem = f"not complete in {folder}, and the download failed ({error})"
            remedy = "connect to the internet, set data_root (or WEIGHTNET_DATA) to a folder that has it"
        elif isinstance(error, OSError):
            problem = f"cannot use {error.filename or folder} ({error.strerror or error})"
            remedy = "mend that, set data_root (or WEIGHTNET_DATA) to another folder"
        instead = "or use dataset=digits, which works offline"
        raise UserError(f"dataset={config.name}: {problem}; {remedy}, {instead}") from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _normalised(pixels: Pixels, config: DatasetConfig, device: str) -> Split:
    """Scale to [0, 1], subtract the mean, divide by the standard deviation: torchvision's ToTensor, Normalize.

    The images are channels-last in memory, and done a few at a time, which is what a cache holds.
    """
    images, labels = pixels
    count, channels, height, width = images.shape
    mean, std = (torch.tensor(values).repeat(height * width) for values in (config.mean, config.std))
    rows = images.permute(0, 2, 3, 1).reshape(count, -1)  # pixel by pixel, channel by channel
    normalised = torch.empty(rows.shape)
    for row, out in zip(rows.split(256), normalised.split(256), strict=True):
        torch.div(row, 255, out=out).sub_(mean).div_(std)
    normalised = normalised.view(count, height, width, channels).permute(0, 3, 1, 2)
    return Split(normalised.to(device), labels.to(device))


def batches(split: Split, batch_size: int, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the split once, shuffled: images (batch_size, C, H, W) and labels (batch_size,); the last may be short."""
    order = torch.randperm(len(split), generator=generator).to(split.labels.device)
    for index in order.split(batch_size):
        yield split.images[index], split.labels[index]
