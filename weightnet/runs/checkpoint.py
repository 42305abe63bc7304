"""checkpoint.pt: an unfinished run after its last whole epoch. Tensors, numbers and strings only."""

import io
from dataclasses import asdict, dataclass
from typing import Any

import torch

from weightnet.experiment import EpochResult
from weightnet.runs.folder import RunFolder, write_whole

NAME = "checkpoint.pt"


@dataclass(frozen=True)
class Checkpoint:
    """An unfinished run after its last whole epoch."""

    origin: dict[str, Any]  # what a run that goes on from here must share: signature, code, data, versions
    state: dict[str, Any]  # of `weightnet.experiment.Training`
    history: list[EpochResult]


def save(folder: RunFolder, checkpoint: Checkpoint) -> None:
    """Write checkpoint.pt."""
    buffer = io.BytesIO()
    torch.save(vars(checkpoint) | {"history": [asdict(result) for result in checkpoint.history]}, buffer)
    write_whole(folder.path / NAME, buffer.getbuffer())


def load(folder: RunFolder, device: str) -> Checkpoint | None:
    """Return the checkpoint, or None where there is none that can be read."""
    try:
        saved = torch.load(folder.path / NAME, map_location=device, weights_only=True)
        return Checkpoint(**saved | {"history": [EpochResult(**result) for result in saved["history"]]})
    except Exception:  # torch.load raises a dozen kinds on a damaged file: the run starts anew
        return None


def remove(folder: RunFolder) -> None:
    """Remove checkpoint.pt."""
    (folder.path / NAME).unlink(missing_ok=True)
