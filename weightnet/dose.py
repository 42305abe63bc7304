"""How long the feedback vector is at the start, what of it is filler, and what that amounts to. No torch in here.

A constant `me` is the same as a learning rate of fc1's bias that is 1 + |me|^2 times as large (and another random start
of it): the dose, by which arms that are fed back different things can be compared.
"""

from weightnet import registry
from weightnet.config import Config
from weightnet.geometry import fan_in, fed_back, flat_features, pooled


def filler(config: Config) -> int:
    """Return how many numbers of `me` are filler, of a resolved config."""
    has = config.model.feedback in registry.FILLED
    return (config.dims.dx or 0) - pooled(config) if has else 0


def dose(config: Config) -> float | None:
    """Return by which factor a resolved config's feedback multiplies the learning rate of fc1's bias at the start.

    1 + |me|^2, in expectation over the initial weights; None where that is not known: of a feedback of one's own.
    """
    feedback, params = config.model.feedback, config.model.params
    ours = feedback in registry.FEEDBACKS or feedback in registry.BIAS_RATES
    if feedback not in ("none", "ones", "projection") and not (ours and config.dims.m and config.dims.n):
        return None
    if (multiplier := params.get("multiplier")) is not None:
        return float(multiplier)
    return float(1 + params.get("gain", 1.0) ** 2 * _squared_length(config))


def filler_share(config: Config) -> float | None:
    """Return which share of |me|^2 is filler, of a resolved config, in expectation; None without feedback."""
    params, factor = config.model.params, dose(config)
    if not fed_back(config) or factor is None or factor == 1:
        return None
    return float(filler(config) * (params.get("gain", 1.0) * params.get("fill", 1.0)) ** 2 / (factor - 1))


def _squared_length(config: Config) -> float:
    """Return the expected |me|^2 of the initial weights at a gain of 1."""
    dx, feedback = config.dims.dx or 0, config.model.feedback
    if feedback == "projection":
        return _projected_square(config)
    if feedback in ("none", "ones", "padding"):
        return {"none": 0, "ones": dx, "padding": filler(config)}[feedback]
    return float((dx - pooled(config)) * config.model.params.get("fill", 1.0) ** 2 + _pooled_square(config))


def _pooled_square(config: Config) -> float:
    """Return the expected sum of squares of the pooled initial weights.

    The largest of k numbers that are uniform on (-1, 1) has the expected square 1 - 4k / ((k + 1) (k + 2)). Kernels of
    fc1 that reach both the columns of the features and those of the feedback count as of the former.
    """
    dx, m, n, hidden = (getattr(config.dims, key) for key in ("dx", "m", "n", "hidden"))
    features = flat_features(config.dataset)
    largest1, largest2 = (1 - 4 * k / ((k + 1) * (k + 2)) for k in (m * n, 2 * n))
    across = (features + dx) // m
    of_features = min(-(-features // m), across)
    of_fc1 = largest1 * (of_features / fan_in(config) + (across - of_features) / (features + dx))
    of_fc2 = largest2 * (config.dataset.classes // 2) / hidden
    return float(hidden // n * (of_fc1 + of_fc2))


def _projected_square(config: Config) -> float:
    """Return the expected |me|^2 of a random map (`weightnet.net.projection`): gain^2 |weights|^2."""
    dx, hidden = config.dims.dx or 0, config.dims.hidden or 0
    features, classes = flat_features(config.dataset), config.dataset.classes
    weights = (hidden * (features / fan_in(config) + dx / (features + dx)) + classes) / 3
    inputs = (features + dx + classes) * hidden
    return weights * (2 * dx / (inputs + dx) if config.model.scale == "xavier" else 1)
