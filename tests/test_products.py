"""The trained network and its predictions: left on request, by a replay where the run is done already."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from weightnet.config import Config
from weightnet.experiment import resolve
from weightnet.identity import signature
from weightnet.runs.folder import RunFolder
from weightnet.runs.job import run

pytestmark = pytest.mark.usefixtures("own_folder")


def test_the_trained_network_and_its_predictions_are_left_on_request(own: Callable[..., Config]) -> None:
    config = resolve(own("pool", name="pool", save_model=True, save_predictions=True))
    assert signature(config) == signature(resolve(own("pool", name="pool")))  # they change no number
    result = run(config)
    weights = torch.load(result.folder / "model.pt", weights_only=True)
    assert weights["fc1.weight"].shape == (60, 160)
    predictions = np.load(result.folder / "predictions.npz")["predictions"]
    assert predictions.dtype == np.uint8 and predictions.shape == (359,)
    from weightnet.experiment import Training

    training = Training(config)
    labels = training.data.test.labels.numpy()
    assert (predictions == labels).mean() == pytest.approx(result.test_accuracy)


def test_a_finished_run_gets_them_from_a_replay(own: Callable[..., Config]) -> None:
    first = run(resolve(own("pool", name="pool")))
    before = (first.folder / "metrics.csv").read_bytes()
    asked = resolve(own("pool", name="pool", save_model=True))
    assert run(asked).folder == first.folder
    assert (first.folder / "model.pt").exists() and (first.folder / "metrics.csv").read_bytes() == before
    record = RunFolder(first.folder).record()
    assert record and record.status == "done" and record.verified and record.verified.epochs == 2


def test_a_replay_that_differs_leaves_nothing(own: Callable[..., Config]) -> None:
    first = run(resolve(own("pool", name="pool")))
    file = first.folder / "metrics.csv"
    head, *rows = file.read_text().splitlines()
    file.write_text("\n".join([head, rows[0].replace(rows[0].split(",")[2], "0.5"), *rows[1:]]) + "\n")
    folder = RunFolder(first.folder)
    record = folder.record()
    assert record
    folder.write_record(replace(record, files={}))  # as if another kind of machine had made it
    with pytest.raises(Exception, match=r"train_loss was 0.5, now .*nothing was written"):
        run(resolve(own("pool", name="pool", save_model=True)))
    assert not (first.folder / "model.pt").exists()
