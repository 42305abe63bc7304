"""checkpoint.pt: an unfinished run after its last whole epoch. Tensors, numbers and strings only.

What torch writes, and its SHA-256 (32 bytes): torch does not look at the checksums in its own files.
"""

import hashlib
import io
from dataclasses import asdict, dataclass
from typing import Any

import torch

from weightnet.experiment import EpochResult
from weightnet.plain import open_file
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
    content = buffer.getvalue()
    write_whole(folder.path / NAME, content + hashlib.sha256(content).digest())


def load(folder: RunFolder, device: str) -> Checkpoint | None:
    """Return the checkpoint, or None where there is none. ValueError: there is one, but it is damaged."""
    try:
        with open_file(folder.path / NAME) as file:
            whole = file.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ValueError(error.strerror or str(error)) from error
    content, digest = whole[:-32], whole[-32:]
    if hashlib.sha256(content).digest() != digest:
        raise ValueError("its checksum does not agree")
    try:
        saved = torch.load(io.BytesIO(content), map_location=device, weights_only=True)
        return Checkpoint(**saved | {"history": [EpochResult(**result) for result in saved["history"]]})
    except Exception as error:  # torch.load raises a dozen kinds
        raise ValueError(f"{type(error).__name__}") from error


def remove(folder: RunFolder) -> None:
    """Remove checkpoint.pt."""
    (folder.path / NAME).unlink(missing_ok=True)
