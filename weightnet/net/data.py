"""Data sets as two pairs of tensors, held whole."""

import hashlib
import pickle
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch
from filelock import FileLock
from torch import Tensor

from weightnet import registry
from weightnet.config import DatasetConfig
from weightnet.errors import UserError
from weightnet.net.streams import stream
from weightnet.own import explained, is_own

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
    """A training and a test split, and what is held out of the former for validation, on one device."""

    train: Split
    test: Split
    validation: Split | None = None


Reader = Callable[[Path], tuple[Pixels, Pixels]]  # from the root folder to the (training, test) pixels


def _torchvision(class_name: str, directly: Callable[[Path], tuple[Pixels, Pixels] | None]) -> Reader:
    """Return a reader of one of torchvision's data sets, which downloads what is missing.

    What `directly` can read, torchvision need not, whose import takes as long as torch's own.
    """

    def read(root: Path, download: bool = False) -> tuple[Pixels, Pixels]:
        from torchvision import datasets

        parts = [getattr(datasets, class_name)(root, train=train, download=download) for train in (True, False)]
        train, test = ((_channels_first(part.data), torch.as_tensor(part.targets)) for part in parts)
        return train, test

    def read_or_download(root: Path) -> tuple[Pixels, Pixels]:
        try:
            return directly(root) or read(root)
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


def _idx(class_name: str) -> Callable[[Path], tuple[Pixels, Pixels] | None]:
    """Return a reader of the files of MNIST and its kin: the format at the end of yann.lecun.com/exdb/mnist."""

    def tensor(path: Path) -> Tensor:
        content = path.read_bytes()
        dimensions = content[3]
        shape = struct.unpack_from(f">{dimensions}i", content, 4)
        return torch.frombuffer(bytearray(content), dtype=torch.uint8, offset=4 + 4 * dimensions).view(shape)

    def read(root: Path) -> tuple[Pixels, Pixels] | None:
        kinds = product(("train", "t10k"), ("images-idx3", "labels-idx1"))
        paths = [Path(root, class_name, "raw", f"{split}-{kind}-ubyte") for split, kind in kinds]
        if not all(path.exists() for path in paths):
            return None
        images, labels, test_images, test_labels = map(tensor, paths)
        return (_channels_first(images), labels.long()), (_channels_first(test_images), test_labels.long())

    return read


CIFAR = "42245f5e88fa484c0f9340c2dbb546e3d0e696dd25f1fba3ab13d4c78273af27"
"""SHA-256 of CIFAR-10's six batches, one after the other."""


def cifar_batches(root: Path) -> tuple[Pixels, Pixels] | None:
    """Read CIFAR-10's files, which are pickles, where they are what they should be."""
    paths = [root / "cifar-10-batches-py" / name for name in (*(f"data_batch_{n}" for n in range(1, 6)), "test_batch")]
    if not all(path.exists() for path in paths):
        return None
    contents, digest = [path.read_bytes() for path in paths], hashlib.sha256()
    for content in contents:
        digest.update(content)
    if digest.hexdigest() != CIFAR:
        return None
    batches = [pickle.loads(content, encoding="latin1") for content in contents]
    images = [torch.as_tensor(batch["data"]).view(-1, 3, 32, 32) for batch in batches]
    labels = [torch.as_tensor(batch["labels"]) for batch in batches]
    return (torch.cat(images[:5]), torch.cat(labels[:5])), (images[5], labels[5])


mnist = _torchvision("MNIST", _idx("MNIST"))
fashion_mnist = _torchvision("FashionMNIST", _idx("FashionMNIST"))
kmnist = _torchvision("KMNIST", _idx("KMNIST"))
cifar = _torchvision("CIFAR10", cifar_batches)


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


def load(
    config: DatasetConfig, root: Path, *, subset: int | None = None, validation: int | None = None, device: str = "cpu"
) -> Dataset:
    """Return the data set, normalised, on `device`; what is missing in `root`, torchvision's folder, is downloaded.

    `subset`: train on this many examples, the first of an order that is the same for every seed, so that a smaller
    subset lies within a larger one. `validation`: hold out this many, the last of that order.

    Raises:
        UserError: the set is missing and cannot be downloaded, a file is corrupted, the folder forbids access, there is
            no such reader, or what it gives is not what the config says.
    """
    (images, labels), test = _read(config, root)
    parts = {"train": (images, labels), "test": test}
    if subset is not None or validation is not None:
        order = torch.randperm(len(labels), generator=stream(0, "subset"))
        rest, held_out = order.split([len(order) - (validation or 0), validation or 0])
        parts["train"] = images[rest[:subset]], labels[rest[:subset]]
        parts |= {"validation": (images[held_out], labels[held_out])} if validation else {}
    return Dataset(**{name: _normalised(pixels, config, device) for name, pixels in parts.items()})


def _read(config: DatasetConfig, root: Path) -> tuple[Pixels, Pixels]:
    """Read the pixels and check them against the config; every failure becomes one line that says what to do."""
    reader, folder, what = config.reader or config.name, root.resolve(), f"dataset={config.name}"
    if reader not in registry.READERS and not is_own(reader):
        there = f"there are {', '.join(registry.READERS)}, and your own: dataset.reader=my_file.py:read"
        raise UserError(f"{what}: no reader of that name; {there}")
    read: Reader = registry.locate(registry.READERS, reader, "dataset.reader")
    instead = "set data_root (or WEIGHTNET_DATA) to another folder, or use dataset=digits, which works offline"
    damaged, replacing = f"a file in {folder} is corrupted", f"put a good copy in its place, {instead}"
    try:
        splits = read(root)
    except ConnectionError as error:
        problem = f"not complete in {folder}, and the download failed ({error}); connect to the internet"
        raise UserError(f"{what}: {problem}, {instead}") from error
    except OSError as error:
        problem = f"cannot use {error.filename or folder} ({error.strerror or error}); mend that"
        raise UserError(f"{what}: {problem}, {instead}") from error
    except Exception as error:  # whatever a reader makes of bytes that are not what they should be
        if is_own(reader):
            raise UserError(f"{what}: {reader} failed: {explained(error)}") from error
        raise UserError(f"{what}: {damaged} ({_one_line(error)}); {replacing}") from error
    if wrong := _misfit(splits, config):
        if is_own(reader):
            remedy = "it must give what the keys of dataset say, or they must say what it gives"
            raise UserError(f"{what}: {reader} gave {wrong}; {remedy}")
        raise UserError(f"{what}: {wrong}; the keys of dataset must say what it holds, or {damaged}: {replacing}")
    return splits


def _misfit(splits: Any, config: DatasetConfig) -> str:
    """Say in what the splits that a reader has given are not what the config says; nothing ("") where they are."""
    try:
        (train_images, train_labels), (test_images, test_labels) = splits
        parts = [("training", train_images, train_labels), ("test", test_images, test_labels)]
        kinds = {(images.dtype, labels.dtype) for _, images, labels in parts}
    except (TypeError, ValueError, AttributeError):
        return "what is not ((images, labels), (images, labels)) of training and test, as tensors"
    if other := next((type(x) for part in parts for x in part[1:] if not isinstance(x, Tensor)), None):
        return f"{other.__module__}.{other.__qualname__}, must be torch tensors"
    if kinds != {(torch.uint8, torch.int64)}:
        given = " and ".join(sorted({f"{images}/{labels}".replace("torch.", "") for images, labels in kinds}))
        return f"images/labels of {given}, not uint8/int64"
    for (split, images, labels), count in zip(parts, config.examples, strict=True):
        shape, expected = tuple(images.shape), (count, *config.shape)
        if shape != expected or labels.shape != (count,):
            says = f"dataset.examples and dataset.shape say {expected}"
            return f"{split} images of shape {shape} with labels of shape {tuple(labels.shape)}, {says}"
        if labels.min() < 0 or labels.max() >= config.classes:
            return f"{split} labels from {labels.min()} to {labels.max()}, dataset.classes={config.classes}"
    return ""


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _normalised(pixels: Pixels, config: DatasetConfig, device: str) -> Split:
    """Scale to [0, 1], subtract the mean, divide by the standard deviation: torchvision's ToTensor, Normalize.

    The images are channels-last in memory, and done a few at a time, which is what a cache holds.
    """
    images, labels = pixels
    count, channels, height, width = images.shape
    mean, std = (torch.tensor(values).repeat(height * width) for values in (config.mean, config.std))
    normalised = torch.empty(count, height * width * channels)
    for part, out in zip(images.split(256), normalised.split(256), strict=True):
        row = part.permute(0, 2, 3, 1).reshape(len(part), -1)  # pixel by pixel, channel by channel
        torch.div(row, 255, out=out).sub_(mean).div_(std)
    normalised = normalised.view(count, height, width, channels).permute(0, 3, 1, 2)
    return Split(normalised.to(device), labels.to(device))


def batches(split: Split, batch_size: int, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the split once, shuffled: images (batch_size, C, H, W) and labels (batch_size,); the last may be short."""
    order = torch.randperm(len(split), generator=generator).to(split.labels.device)
    for index in order.split(batch_size):
        yield split.images[index], split.labels[index]
