"""Metrics and data sets of the user's own, from files in the folder where they work."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from test_own import origin

from weightnet.config import Config
from weightnet.errors import UserError
from weightnet.experiment import resolve
from weightnet.identity import canonical, signature
from weightnet.runs.folder import RunFolder
from weightnet.runs.job import run

pytestmark = pytest.mark.usefixtures("own_folder")


METRICS = """
def wrong_share(logits, labels):
    return (logits.argmax(dim=1) != labels).float().mean()


def per_class(logits, labels):
    return {str(c): (logits.argmax(dim=1)[labels == c] == c).float().mean() for c in range(logits.shape[1])}


def text(logits, labels):
    return "good"


def clash(logits, labels):
    return {"a,b": 1.0}


def fails(logits, labels):
    return logits.nothing
"""


def test_own_metrics_are_columns(own: Callable[..., Config], own_folder: Path) -> None:
    (own_folder / "my_metrics.py").write_text(METRICS)
    asked = own("pool", metrics={"wrong": "my_metrics.py:wrong_share", "of": "./my_metrics.py:per_class"})
    config, plain = resolve(asked), resolve(own("pool"))
    assert signature(config) != signature(plain) and canonical(plain)["eval"] == {"feedback": "live"}
    result = run(config)
    assert "my_metrics.py" in origin(config).definitions and "my_metrics.py" not in origin(plain).definitions
    rows = RunFolder(result.folder).metrics()
    assert list(rows[0])[6:] == ["wrong", *(f"of.{c}" for c in range(10))]
    assert [row["wrong"] for row in rows] == pytest.approx([1 - row["test_accuracy"] for row in rows])
    # all else is as without them
    bare = RunFolder(run(plain).folder).metrics()
    assert [{k: row[k] for k in bare[0] if k != "seconds"} for row in rows] == [
        {k: v for k, v in row.items() if k != "seconds"} for row in bare
    ]


@pytest.mark.parametrize(
    ("name", "message"),
    [("text", "gave a str, must be a number"), ("clash", "column 'bad.a,b'"), ("fails", "my_metrics.py, line 19")],
)
def test_metrics_are_tried_out(own: Callable[..., Config], own_folder: Path, name: str, message: str) -> None:
    (own_folder / "my_metrics.py").write_text(METRICS)
    with pytest.raises(UserError, match=message):
        resolve(own("pool", metrics={"bad": f"my_metrics.py:{name}"}))


READER = """
import torch


def read(root):
    images = torch.arange(30 * 256, dtype=torch.int64).remainder(256).to(torch.uint8).view(30, 1, 16, 16)
    labels = torch.arange(30) % 3
    return (images[:20], labels[:20]), (images[20:], labels[20:])


def floats(root):
    (a, b), test = read(root)
    return (a / 255, b), test


def breaks(root):
    return torch.load(root / "mine.pt")


def nothing(root):
    return None
"""
SET = {"name": "mine", "shape": [1, 16, 16], "classes": 3, "examples": [20, 10], "channels": [2, 2], "hidden": 10}


def mine(config: Config, reader: str, **changes: Any) -> Config:
    dataset = replace(config.dataset, reader=f"my_data.py:{reader}", **{**SET, **changes})
    return replace(config, dataset=dataset, dims=replace(config.dims, rule="auto"))


def test_a_reader_of_ones_own(own: Callable[..., Config], own_folder: Path) -> None:
    (own_folder / "my_data.py").write_text(READER)
    config = resolve(mine(own("none", name="baseline", uses=[], epochs=1), "read"))
    assert canonical(config)["dataset"]["reader"] == "my_data.py:read" and config.dims.hidden == 10
    assert run(config).epochs == 1 and "my_data.py" in origin(config).definitions


@pytest.mark.parametrize(
    ("reader", "changes", "message"),
    [
        ("read", {"examples": [21, 10]}, r"gave training images of shape \(20, 1, 16, 16\).*say \(21, 1, 16, 16\)"),
        ("read", {"classes": 2}, "gave training labels from 0 to 2, dataset.classes=2"),
        ("floats", {}, "float32/int64"),
        ("nothing", {}, "gave what is not"),
        ("breaks", {}, "failed: FileNotFoundError|cannot use .*mine.pt"),
        ("none", {}, "my_data.py defines no none; it has read"),
    ],
)
def test_a_reader_and_its_config_must_agree(
    own: Callable[..., Config], own_folder: Path, reader: str, changes: dict[str, Any], message: str
) -> None:
    (own_folder / "my_data.py").write_text(READER)
    with pytest.raises(UserError, match=message) as caught:
        run(resolve(mine(own("none", name="baseline", uses=[], epochs=1), reader, **changes)))
    assert "\n" not in str(caught.value) and "delete" not in str(caught.value)
