"""The typed configuration of one run, its canonical form and its identity.

No torch in here: `--help`, a plan or a table should not wait for it.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(kw_only=True, slots=True)
class DatasetConfig:
    """A data set, and the size of the conv net that it is given to."""

    name: str
    """A key of `weightnet.data.READERS`."""
    shape: list[int]
    """Of an image: channels, height, width."""
    classes: int
    examples: list[int]
    """In the training and the test split."""
    mean: list[float]
    """Per channel, of pixels in [0, 1]: subtracted."""
    std: list[float]
    """Per channel, of pixels in [0, 1]: divided by."""
    channels: list[int]
    """Output channels of the two convolutions."""
    hidden: int
    """Width of fc1 where all arms share one (dims=controlled, dims=auto)."""
    epochs: int
    """Training epochs unless `train.epochs` says otherwise."""


@dataclass(kw_only=True, slots=True)
class ModelConfig:
    """What is fed back."""

    name: str
    feedback: str
    """A key of `weightnet.feedback.FEEDBACKS`; `none`; or `bias_lr`: none, but fc1's bias has 1 + |me|^2 times the
    learning rate, with me the pool feedback of the initial weights."""
    kind: str | None = None
    """feedback=projection: a key of `weightnet.projection.KINDS`."""
    scale: str | None = None
    """feedback=projection: a key of `weightnet.projection.SCALES`."""
    parameters_of: str | None = None
    """feedback=none: widen fc1 until there are at least as many parameters as with this feedback."""


POOLED = ("pool", "constant", "shuffled", "foreign", "noise", "fixed_noise", "ones", "bias_lr")
"""The feedbacks that have the dimensions of `pool`: itself and its controls."""


@dataclass(kw_only=True, slots=True)
class DimsConfig:
    """Dimension matching. None: filled in by the rule (`weightnet.resolve`)."""

    rule: str
    """`published`, `controlled` or `auto`."""
    dx: int | None
    """Length of the feedback vector."""
    m: int | None
    """Pooling kernel along the inputs of fc1."""
    n: int | None
    """Pooling kernel along the hidden units."""
    hidden: int | None
    """Width of fc1, b in the notebook."""


@dataclass(kw_only=True, slots=True)
class TrainConfig:
    """Plain SGD on the negative log-likelihood."""

    epochs: int
    batch_size: int
    test_batch_size: int
    lr: float
    momentum: float
    subset: int | None
    """Train on this many examples, drawn once by a stream of their own. None: on all."""
    precision: str
    """`float32`, or `bf16`: convolutions and linear layers compute in bfloat16, parameters and `me` stay float32."""
    log_interval: int
    """Steps between two rows of steps.csv."""


@dataclass(kw_only=True, slots=True)
class EvalConfig:
    """Of evaluation on the test split."""

    feedback: str
    """`live`: of the weights as they are; `zero`: zeros; `frozen`: of the initial weights."""


@dataclass(kw_only=True, slots=True)
class Config:
    """One run."""

    dataset: DatasetConfig
    model: ModelConfig
    dims: DimsConfig
    train: TrainConfig
    eval: EvalConfig
    seed: int
    device: str
    """`auto`, `cpu` or `cuda`."""
    threads: int
    """CPU threads of the run."""
    outputs: str
    """Root of all output."""
    data_root: str
    """Where the data sets are, or are downloaded to."""


def flat_features(dataset: DatasetConfig) -> int:
    """Number of features that enter fc1 from the convolutions, a in the notebook.

    Two times: a valid 5x5 convolution (side - 4), then a 2x2 max-pooling (half, rounded down).
    """
    height, width = (((side - 4) // 2 - 4) // 2 for side in dataset.shape[1:])
    return dataset.channels[1] * height * width


def canonical(config: Config) -> dict[str, Any]:
    """Return all that changes a resolved config's numbers, and nothing else.

    Paths, logging, the rule that chose the dimensions, and the fields that the model does not use are left
    out: equal runs have equal canonical forms.
    """
    feedback = config.model.feedback
    used_dims = ["hidden"]
    if feedback != "none":
        used_dims += ["dx", "m", "n"] if feedback in POOLED and feedback != "ones" else ["dx"]
    used_model = ["name", "feedback"] + (["kind", "scale"] if feedback == "projection" else [])
    whole = asdict(config)
    return {
        "dataset": {key: whole["dataset"][key] for key in ("name", "shape", "mean", "std", "channels")},
        "model": {key: whole["model"][key] for key in used_model},
        "dims": {key: whole["dims"][key] for key in used_dims},
        "train": {key: value for key, value in whole["train"].items() if key != "log_interval"},
        "eval": whole["eval"] if fed_back(config) else {},
        "seed": config.seed,
        "device": config.device,
        "threads": config.threads,
    }


def _digest(form: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(form, sort_keys=True).encode()).hexdigest()


def signature(config: Config) -> str:
    """Return the identity of a resolved config: 64 hex digits, equal for equal runs."""
    return _digest(canonical(config))


def arm(config: Config) -> str:
    """Return the identity of the run's arm, 64 hex digits: what its seeds are replicates of.

    It leaves out the seed, and the machine's part (device, threads), which changes rounding only.
    """
    return _digest({k: v for k, v in canonical(config).items() if k not in ("seed", "device", "threads")})


def shape(config: Config) -> str:
    """Return 64 hex digits that are equal for runs whose epochs take the same time on the same machine."""
    form = canonical(config)
    training = {key: form["train"][key] for key in ("batch_size", "test_batch_size", "subset")}
    return _digest({k: form[k] for k in ("dataset", "model", "dims", "device", "threads")} | {"train": training})


def fed_back(config: Config) -> int:
    """Return how many numbers a resolved config's network is fed back."""
    return 0 if config.model.feedback in ("none", "bias_lr") else config.dims.dx or 0


def parameter_count(config: Config) -> int:
    """Return the number of trained parameters of a resolved config's network."""
    dataset, hidden = config.dataset, config.dims.hidden or 0
    (first, second), image_channels = dataset.channels, dataset.shape[0]
    convolutions = first * (25 * image_channels + 1) + second * (25 * first + 1)
    return convolutions + hidden * (flat_features(dataset) + fed_back(config) + 1) + dataset.classes * (hidden + 1)


def run_id(config: Config) -> str:
    """Return the name of a resolved config's run folder: readable prefix, seed, signature."""
    form = canonical(config)
    sizes = [f"{key}{value}" for key, value in form["dims"].items() if key != "hidden"]
    kind = []
    if config.model.name == "projection":
        kind = [str(config.model.kind)] + ([] if config.model.scale == "xavier" else [str(config.model.scale)])
    if form["eval"].get("feedback", "live") != "live":
        kind.append(f"test_{config.eval.feedback}")
    prefix = "-".join([config.dataset.name, config.model.name, *kind, *sizes])
    return f"{prefix}-s{config.seed}-{signature(config)[:8]}"


def run_folder(config: Config) -> Path:
    """Return the folder of a resolved config's run."""
    return Path(config.outputs) / "runs" / run_id(config)
