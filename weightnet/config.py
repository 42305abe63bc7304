"""The typed configuration of one run: the fields, one dataclass a group; nothing else.

A field with a default is younger than the archived runs: it joins a run's identity only where it differs from that
default (`weightnet.identity`).
"""

from dataclasses import dataclass, field, fields
from typing import Any

from weightnet.plain import fits


@dataclass(kw_only=True, slots=True)
class DatasetConfig:
    """A data set, and the size of the conv net that it is given to."""

    name: str
    """In run ids and figures; a key of `weightnet.registry.READERS`, unless `reader` says what reads it."""
    shape: list[int]
    """Of an image: channels, height, width."""
    classes: int
    """Of labels, which are 0, 1, ..."""
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
    files: list[str] | None = None
    """Glob patterns of what holds the set, below data_root: if that changes, runs are stale. None: `<name>*`."""
    reader: str | None = None
    """A key of `READERS`, or one's own: `my_file.py:read` or `my.module:read`. None: as `name`."""
    margin: float | None = None
    """Of accuracy, in percentage points: the smallest difference worth having. None: no equivalence is tested."""


@dataclass(kw_only=True, slots=True)
class ModelConfig:
    """What is fed back."""

    name: str
    """In run ids and figures."""
    feedback: str
    """A key of `weightnet.registry.FEEDBACKS`, or of `BIAS_RATES`: fc1's bias learns at another rate; or `none`;
    or one's own: `my_file.py:MyFeedback` or `my.module:MyFeedback`."""
    uses: list[str] | None = None
    """Which of dx, m, n it takes: what is not used is part of no run. None: dx, if there is a feedback. One's own: what
    its class takes, whatever stands here."""
    kind: str | None = None
    """feedback=projection: a key of `weightnet.registry.KINDS`."""
    scale: str | None = None
    """feedback=projection: a key of `weightnet.registry.SCALES`."""
    parameters_of: str | None = None
    """feedback=none: widen fc1 until there are at least as many parameters as with this feedback."""
    params: dict[str, Any] = field(default_factory=dict)
    """Those of `PARAMS`; a feedback of one's own: the other parameters of its class. Resolved: all of them."""


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
    """By default the data set's."""
    batch_size: int
    """Examples a step."""
    test_batch_size: int
    """Examples at a time in evaluation."""
    lr: float
    """Learning rate."""
    momentum: float
    """0: none."""
    subset: int | None
    """Train on this many examples, drawn once by a stream of their own. None: on all, but those for validation."""
    precision: str
    """`float32`, or `bf16`: convolutions and linear layers compute in bfloat16, parameters and `me` stay float32."""
    log_interval: int
    """Steps between two rows of steps.csv."""
    validation: int | None = None
    """Hold out so many examples of the training set, by which to choose: metrics.csv tells loss and accuracy on them.
    The same for every seed and subset."""
    init: str = "shared"
    """fan-in that fc1's weights and bias start by. `shared`: the number of features a, in all arms; `notebook`: a + dx
    where dx numbers are fed back."""
    save_model: bool = False
    """Leave model.pt, the state dict of the trained network."""


@dataclass(kw_only=True, slots=True)
class EvalConfig:
    """Of evaluation on the test split."""

    feedback: str
    """`live`: of the weights as they are; `zero`: zeros; `frozen`: of the initial weights."""
    metrics: dict[str, str] = field(default_factory=dict)
    """Own columns of metrics.csv, name -> `my_file.py:metric`: of logits (N, classes) and labels (N,), a number, or a
    dict of them."""
    save_predictions: bool = False
    """Leave predictions.npz: the class of each test example."""


@dataclass(kw_only=True, slots=True)
class Config:
    """One run."""

    dataset: DatasetConfig
    model: ModelConfig
    dims: DimsConfig
    train: TrainConfig
    eval: EvalConfig
    seed: int
    """0, 1, ...: of every use of chance."""
    device: str
    """`auto`, `cpu` or `cuda`."""
    threads: int
    """CPU threads of the run."""
    outputs: str
    """Root of all output."""
    data_root: str
    """Where the data sets are, or are downloaded to."""


@dataclass(kw_only=True, slots=True)
class AnalysisConfig:
    """How the runs of an experiment are compared, chosen before they are made: beside `Config`, and part of no run."""

    primary: str = "accuracy:last"
    """The outcome, as `analysis.metrics.read_outcome` takes it; any other is exploratory."""
    margin: float | None = None
    """The smallest difference in it worth having. None: the data set's, if it is an accuracy."""
    choose: str | None = None
    """A swept key, such as train.lr: arms are compared each at the value that is its best on `train.validation`."""


def read_config(plain: dict[str, Any]) -> Config:
    """Return the config that a file's plain values stand for, whatever they are.

    Raises:
        TypeError: as `build`, or a value is of another type than its field.
    """
    config = build(plain)
    for group, prefix in [(config, ""), *((getattr(config, name), f"{name}.") for name in GROUPS)]:
        for name, kind in _KINDS[type(group)]:
            if not fits(value := getattr(group, name), kind):
                raise TypeError(f"{prefix}{name}={str(value)[:50]}")
    for name, length in {"shape": 3, "channels": 2}.items():
        if len(value := getattr(config.dataset, name)) != length:
            raise TypeError(f"dataset.{name}={str(value)[:50]}")
    return config


_GAIN = {"gain": 1.0}
PARAMS: dict[str, dict[str, Any]] = {
    "none": {"perturbation": 0.0},
    "pool": _GAIN | {"fill": 1.0},
    "shuffled": _GAIN | {"keep_filler": False},
    **dict.fromkeys(("constant", "padding", "equal", "foreign", "fixed_noise", "noise", "ones"), _GAIN),
    "bias_lr": _GAIN | {"multiplier": None},
}
"""`model.feedback` -> its `model.params`, and what each is where nothing is said: as before there was such a key.

`gain`: factor of the feedback vector. `fill`: its filler. `keep_filler`: only the pooled weights change places.
`multiplier`: factor of the learning rate of fc1's bias; None: what `constant` of that gain amounts to. `perturbation`:
by which part of itself each initial parameter is changed, up or down.
"""

GROUPS = {"dataset": DatasetConfig, "model": ModelConfig, "dims": DimsConfig, "train": TrainConfig, "eval": EvalConfig}

_KINDS = {kind: [(item.name, item.type) for item in fields(kind) if item.name not in GROUPS]
          for kind in (Config, *GROUPS.values())}  # fmt: skip

_BEFORE_USES = {"none": [], "projection": ["dx"], "ones": ["dx"]}
"""`model.feedback` -> `model.uses`, of runs whose config was written before there was such a key (2026-11-25)."""


def build(plain: dict[str, Any]) -> Config:
    """Return the config that nested plain values stand for, as in a run's config.yaml.

    Raises:
        TypeError: a key is missing or unknown, or a group is no mapping.
    """
    config = Config(**{key: GROUPS[key](**value) if key in GROUPS else value for key, value in plain.items()})
    if "uses" not in plain["model"]:
        config.model.uses = _BEFORE_USES.get(config.model.feedback, ["dx", "m", "n"])
    config.model.params = PARAMS.get(config.model.feedback, {}) | config.model.params
    return config
