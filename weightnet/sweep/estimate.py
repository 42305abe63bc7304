"""How long a run will take: from finished runs of the same shape, else from a short probe."""

import statistics
from collections.abc import Sequence
from pathlib import Path

from weightnet.experiment import Config, probe, shape, work
from weightnet.runs.folder import RunFolder
from weightnet.runs.readings import readings
from weightnet.waiting import waiting


def seconds_per_epoch(outputs: Path) -> dict[str, float]:
    """Return shape -> median seconds of an epoch, over the finished runs below an output root."""
    found: dict[str, list[float]] = {}
    paths = list((outputs / "runs").glob("*/run.json"))
    known = readings(outputs / "runs", len(paths))
    for path in paths:
        reading = known.known(folder := RunFolder(path.parent))
        record = reading.record if reading else folder.record()
        if record and record.shape and (seconds := record.seconds_per_epoch):
            found.setdefault(record.shape, []).append(seconds)
    return {key: statistics.median(values) for key, values in found.items()}


def estimate(configs: Sequence[Config], outputs: Path, *, probing: Sequence[Config] = ()) -> list[float]:
    """Return each run's seconds, by the finished runs below an output root.

    Of `probing`, shapes that no finished run has are timed; runs of other such shapes are compared by their work.
    """
    known = seconds_per_epoch(outputs)
    for config in waiting(probing, "timing a step of each kind of run"):
        if shape(config) not in known:
            known[shape(config)] = probe(config)
    timed = [known[shape(c)] * c.train.epochs / work(c) for c in configs if shape(c) in known]
    rate = statistics.median(timed) if timed else 2e-10  # seconds a multiplication: one core's order of magnitude
    return [known[shape(c)] * c.train.epochs if shape(c) in known else rate * work(c) for c in configs]
