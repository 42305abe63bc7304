"""What a config names, and the definition that it means, `module:name`. No torch in here: imported when it is needed.

A name that holds a colon means itself: a definition of the user's own (`weightnet.own`). A run reaches the definitions
that its config names, and no others: a new line here makes no finished run stale.
"""

from importlib import import_module
from typing import Any

from weightnet.own import definition

_FEEDBACK, _DATA, _PROJECTION = "weightnet.net.feedback", "weightnet.net.data", "weightnet.net.projection"

FEEDBACKS = {
    "pool": f"{_FEEDBACK}:PoolFeedback",
    "projection": f"{_FEEDBACK}:ProjectionFeedback",
    # controls of pool: what a gain would have to be more than
    "constant": f"{_FEEDBACK}:ConstantFeedback",
    "padding": f"{_FEEDBACK}:PaddingFeedback",
    "equal": f"{_FEEDBACK}:EqualFeedback",
    "foreign": f"{_FEEDBACK}:ForeignFeedback",
    "fixed_noise": f"{_FEEDBACK}:FixedNoiseFeedback",
    "ones": f"{_FEEDBACK}:OnesFeedback",
    "noise": f"{_FEEDBACK}:NoiseFeedback",
    "shuffled": f"{_FEEDBACK}:ShuffledFeedback",
}
"""`model.feedback` -> a `weightnet.net.feedback.Feedback`."""

BIAS_RATES = {"bias_lr": f"{_FEEDBACK}:bias_rate_of_constant"}
"""`model.feedback` -> how much larger the learning rate of fc1's bias is, in a network that is fed nothing back."""

MODELS = {
    **dict.fromkeys(("baseline", "twin", "wide"), "none"), "rmp": "projection",
    **{name: name for name in (*FEEDBACKS, *BIAS_RATES)},
}  # fmt: skip
"""`model.name` of the models in conf/model -> `model.feedback`: no other feedback goes by such a name."""

NO_WEIGHTS = ("padding", "equal", "ones", "noise", "fixed_noise", "bias_lr")
"""Of these, what is fed back is not made of weights."""

FILLED = ("pool", "constant", "foreign", "padding", "shuffled")
"""Of these, `me` is filled up to dx."""

READERS = {name: f"{_DATA}:{name}" for name in ("mnist", "fashion_mnist", "kmnist", "cifar", "digits")}
"""`dataset.reader`, else `dataset.name` -> reader of (training, test) pixels below a root folder."""

KINDS = {kind: f"{_PROJECTION}:{kind.upper()}" for kind in ("dense", "sparse", "kron", "srht", "countsketch")}
"""`model.kind` -> a `weightnet.net.projection.Kind`."""

SCALES = {scale: f"{_PROJECTION}:{scale}" for scale in ("xavier", "jl")}
"""`model.scale` -> gain, as a function of (dx, D)."""


def locate(table: dict[str, str], name: str, key: str) -> Any:
    """Return what the value of a config's key means: a name in the table, or a definition of the user's own.

    UserError: the latter is not to be had.
    """
    if name not in table:
        return definition(name, key)
    module, _, name = table[name].partition(":")
    return getattr(import_module(module), name)
