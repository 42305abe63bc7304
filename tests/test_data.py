import gzip
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import astuple, replace
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
from conftest import DATASETS, ROOT
from torchvision import datasets, transforms

from weightnet.config import DatasetConfig
from weightnet.errors import UserError
from weightnet.net import data
from weightnet.net.data import Split, batches, load
from weightnet.net.streams import stream

SMALL = replace(DATASETS["mnist"], examples=[30, 20])


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every download fail as it does without a network."""

    def fail(*args: object, **kwargs: object) -> None:
        raise URLError("no network")

    monkeypatch.setattr("urllib.request.urlopen", fail)


def write_idx(path: Path, values: torch.Tensor) -> None:
    """Write MNIST's file format: magic number, sizes, bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    header = bytes([0, 0, 8, values.ndim]) + b"".join(size.to_bytes(4, "big") for size in values.shape)
    path.write_bytes(header + values.to(torch.uint8).numpy().tobytes())


@pytest.fixture
def small_mnist(tmp_path: Path) -> Path:
    """Write a set of 30 + 20 random images in MNIST's layout."""
    generator = torch.Generator().manual_seed(0)
    for prefix, count in (("train", 30), ("t10k", 20)):
        raw = tmp_path / "MNIST" / "raw"
        write_idx(raw / f"{prefix}-images-idx3-ubyte", torch.randint(256, (count, 28, 28), generator=generator))
        write_idx(raw / f"{prefix}-labels-idx1-ubyte", torch.randint(10, (count,), generator=generator))
    return tmp_path


def check_against_torchvision(config: DatasetConfig, root: Path, class_name: str, indices: Iterable[int]) -> None:
    pipeline = transforms.Compose([transforms.ToTensor(), transforms.Normalize(config.mean, config.std)])
    loaded = load(config, root)
    for train, split in ((True, loaded.train), (False, loaded.test)):
        reference = getattr(datasets, class_name)(root, train=train, transform=pipeline)
        assert len(reference) == len(split)
        for index in indices:
            image, label = reference[index]
            torch.testing.assert_close(split.images[index], image, rtol=0, atol=1e-6)
            assert int(split.labels[index]) == label


def test_tensors_equal_torchvisions_transforms(small_mnist: Path) -> None:
    check_against_torchvision(SMALL, small_mnist, "MNIST", range(20))


@pytest.mark.parametrize(("name", "class_name", "count"), [("mnist", "MNIST", 60000), ("cifar", "CIFAR10", 50000)])
def test_real_sets_equal_torchvisions_transforms(real_data: Path, name: str, class_name: str, count: int) -> None:
    loaded = load(DATASETS[name], real_data)
    assert (len(loaded.train), len(loaded.test)) == (count, 10000)
    assert loaded.train.labels.bincount().min() >= 5000
    del loaded
    check_against_torchvision(DATASETS[name], real_data, class_name, [0, 1, 17, 4321, 9999])


@pytest.mark.parametrize(("name", "folder"), [("fashion_mnist", "FashionMNIST"), ("kmnist", "KMNIST")])
def test_mnists_siblings_are_read_from_their_own_folder(small_mnist: Path, name: str, folder: str) -> None:
    shutil.move(small_mnist / "MNIST", small_mnist / folder)
    check_against_torchvision(replace(SMALL, name=name), small_mnist, folder, range(20))


def test_what_is_there_is_read_without_torchvision(small_mnist: Path) -> None:
    code = f"from weightnet.net import data; data.mnist(data.Path({str(small_mnist)!r}))"
    code += "; import sys; sys.exit('torchvision' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_the_real_cifar_is_known(real_data: Path) -> None:
    read = data.cifar_batches(real_data)
    assert read is not None
    (images, labels), (test_images, test_labels) = read
    assert images.shape == (50000, 3, 32, 32) and len(labels) == 50000
    assert test_images.shape == (10000, 3, 32, 32) and test_labels.bincount().tolist() == [1000] * 10


def test_digits_are_bundled_and_always_split_alike(tmp_path: Path) -> None:
    first, again = load(DATASETS["digits"], tmp_path), load(DATASETS["digits"], tmp_path)
    assert first.train.images.shape == (1438, 1, 28, 28) and first.test.images.shape == (359, 1, 28, 28)
    assert torch.equal(first.test.images, again.test.images)
    assert set(first.test.labels.tolist()) == set(range(10))
    assert not list(tmp_path.iterdir())


def test_subsets_are_nested_and_the_same_for_every_seed(small_mnist: Path) -> None:
    small, large = (load(SMALL, small_mnist, subset=count) for count in (5, 12))
    assert len(small.train) == 5 and len(small.test) == 20
    assert torch.equal(small.train.images, large.train.images[:5])


def images_of(split: Split) -> set[bytes]:
    return {image.numpy().tobytes() for image in split.images}


def test_what_is_held_out_is_in_no_training_set_and_the_same_for_every_subset(small_mnist: Path) -> None:
    whole = load(SMALL, small_mnist)
    assert whole.validation is None
    held_out = []
    for subset, count in ((None, 22), (5, 5), (22, 22)):
        loaded = load(SMALL, small_mnist, subset=subset, validation=8)
        assert loaded.validation is not None and (len(loaded.train), len(loaded.validation)) == (count, 8)
        assert not images_of(loaded.train) & images_of(loaded.validation)
        assert images_of(loaded.train) | images_of(loaded.validation) <= images_of(whole.train)
        assert torch.equal(loaded.test.images, whole.test.images)
        held_out.append(loaded.validation.images)
        labels = {image.numpy().tobytes(): int(label) for image, label in zip(*astuple(whole.train), strict=True)}
        for image, label in zip(*astuple(loaded.validation), strict=True):
            assert labels[image.numpy().tobytes()] == label
    assert all(torch.equal(images, held_out[0]) for images in held_out)


def test_missing_and_offline_says_where_and_what_to_do(tmp_path: Path, offline: None) -> None:
    for name in ("mnist", "cifar"):
        with pytest.raises(UserError) as caught:
            load(DATASETS[name], tmp_path / "data")
        message = str(caught.value)
        assert "\n" not in message and f"dataset={name}" in message
        assert str(tmp_path / "data") in message and "download failed" in message
        assert "WEIGHTNET_DATA" in message and "dataset=digits" in message


@pytest.mark.parametrize("damage", ["truncated", "empty", "text", "fewer labels", "wrong labels"])
def test_a_damaged_file_says_what_to_do(small_mnist: Path, offline: None, damage: str) -> None:
    raw = small_mnist / "MNIST" / "raw"
    images, labels = raw / "train-images-idx3-ubyte", raw / "train-labels-idx1-ubyte"
    match damage:
        case "truncated":
            images.write_bytes(images.read_bytes()[:-100])
        case "empty":
            images.write_bytes(b"")
        case "text":
            images.write_text("<html>not found</html>")
        case "fewer labels":
            write_idx(labels, torch.zeros(29))
        case _:
            write_idx(labels, torch.full((30,), 10))
    with pytest.raises(UserError, match="corrupted.*put a good copy in its place.*dataset=digits") as caught:
        load(SMALL, small_mnist)
    assert str(small_mnist) in str(caught.value) and "\n" not in str(caught.value)
    assert "delete" not in str(caught.value)


def test_a_damaged_cifar_batch_is_noticed(real_data: Path, tmp_path: Path, offline: None) -> None:
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    for source in (real_data / "cifar-10-batches-py").iterdir():
        (folder / source.name).symlink_to(source)
    (folder / "data_batch_3").unlink()
    (folder / "data_batch_3").write_bytes(b"not a pickle")
    with pytest.raises(UserError, match="not complete in .*download failed"):
        load(DATASETS["cifar"], tmp_path)


def test_no_permission_names_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(root: Path) -> None:
        raise PermissionError(13, "Permission denied", str(root / "MNIST"))

    monkeypatch.setattr(data, "mnist", refuse)
    with pytest.raises(UserError, match=r"cannot use .*MNIST \(Permission denied\).*dataset=digits"):
        load(DATASETS["mnist"], tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_without_permission_is_refused(tmp_path: Path) -> None:
    root = tmp_path / "locked"
    root.mkdir(mode=0)
    with pytest.raises(UserError, match="cannot use .*Permission denied"):
        load(DATASETS["mnist"], root)


def test_a_data_root_that_is_a_file_is_refused(tmp_path: Path) -> None:
    root = tmp_path / "file"
    root.write_text("")
    with pytest.raises(UserError, match="cannot use .*(File exists|Not a directory)"):
        load(DATASETS["mnist"], root)


def test_missing_sets_are_downloaded(small_mnist: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let torchvision fetch from a folder instead of the net: its own unpacking and checking stay in use."""
    fetched = []

    def fetch(url: str, root: str, filename: str, md5: str | None = None) -> None:
        source = small_mnist / "MNIST" / "raw" / filename.removesuffix(".gz")
        fetched.append(filename)
        with gzip.open(Path(root) / filename, "wb") as file:
            file.write(source.read_bytes())

    monkeypatch.setattr("torchvision.datasets.utils.download_url", fetch)
    target = tmp_path / "elsewhere"
    assert len(load(SMALL, target).train) == 30
    assert len(fetched) == 4
    shutil.rmtree(small_mnist / "MNIST")
    assert len(load(SMALL, target).test) == 20
    assert len(fetched) == 4


def test_an_unknown_reader_is_refused(tmp_path: Path) -> None:
    mine = replace(DATASETS["mnist"], name="mine")
    with pytest.raises(UserError, match="no reader of that name; there are mnist"):
        load(mine, tmp_path)


@pytest.fixture
def counted() -> Split:
    """Return a split whose images are their own index."""
    return Split(torch.arange(10.0).view(10, 1, 1, 1), torch.arange(10))


def test_batches_hold_every_example_once(counted: Split) -> None:
    parts = list(batches(counted, 4, stream(1, "order/1")))
    assert [len(labels) for _, labels in parts] == [4, 4, 2]
    assert sorted(torch.cat([labels for _, labels in parts]).tolist()) == list(range(10))
    assert all(torch.equal(images.flatten(), labels.float()) for images, labels in parts)


def test_the_order_is_that_of_the_generator(counted: Split) -> None:
    def order(seed: int, name: str) -> list[int]:
        return torch.cat([labels for _, labels in batches(counted, 3, stream(seed, name))]).tolist()

    assert order(1, "order/1") == order(1, "order/1")
    assert order(1, "order/1") != order(1, "order/2")


def test_other_classes_than_a_set_has_are_named(small_mnist: Path) -> None:
    with pytest.raises(UserError, match="^dataset=mnist: training labels .*, dataset.classes=2; the keys"):
        load(replace(SMALL, classes=2), small_mnist)


def test_arrays_that_are_no_tensors_are_named() -> None:
    arrays = np.zeros((3, 1, 28, 28), np.uint8), np.zeros(3, np.int64)
    assert data._misfit((arrays, arrays), SMALL) == "numpy.ndarray, must be torch tensors"
