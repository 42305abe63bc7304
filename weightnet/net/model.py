"""The conv net, and the one place where its own weights enter."""

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import skip_init

from weightnet import native, registry
from weightnet.config import Config
from weightnet.geometry import KERNEL, fan_in, flat_features
from weightnet.net.convolution import native_features, torch_features
from weightnet.net.streams import initial, initial_linear, stream
from weightnet.own import is_own


class WeightNet(nn.Module):
    """Two convolutions and two linear layers, with the feedback as a bias of fc1 that moves with the weights.

    The notebook concatenates the feedback vector `me` (dx,) to the flat features x (a,) of every example, before fc1 of
    weight (b, a + dx). As `me` is the same for the whole batch, with that weight split into W_x (b, a) and W_f (b, dx)

        fc1([x, me]) = W_x x + (W_f me + bias).

    Here W_x is `fc1.weight` and W_f is `feedback_weight`: without feedback W_f is not there, and all other
    parameters are the same in all arms.
    """

    def __init__(self, config: Config) -> None:
        """Build the network of a resolved config, with initial parameters from the config's streams."""
        super().__init__()
        image_channels, (first, second) = config.dataset.shape[0], config.dataset.channels
        hidden, features = config.dims.hidden, flat_features(config.dataset)
        assert hidden is not None, "config is not resolved"
        self.precision = config.train.precision
        self.conv1 = skip_init(nn.Conv2d, image_channels, first, KERNEL)
        self.conv2 = skip_init(nn.Conv2d, first, second, KERNEL)
        self.fc1 = skip_init(nn.Linear, features, hidden)
        self.fc2 = skip_init(nn.Linear, hidden, config.dataset.classes)
        self.feedback: nn.Module | None = None
        self.feedback_weight: nn.Parameter | None = None
        self.bias_lr = 1.0  # times the learning rate: that of fc1's bias
        self._initialise(config)
        self.test_feedback = config.eval.feedback
        self.initial_me: Tensor
        self.register_buffer("initial_me", self.me() if self.test_feedback != "live" else None, persistent=False)
        self.features = native_features if native.convolutions(config) == "native" else torch_features
        if self.features is torch_features:
            self.to(memory_format=torch.channels_last)  # on a CPU, max-pooling is several times faster

    @torch.no_grad()
    def _initialise(self, config: Config) -> None:
        """Draw every parameter from a stream of its own, and tell the feedback what it begins with."""
        seed, features, model = config.seed, self.fc1.in_features, config.model
        sizes = {"dx": config.dims.dx or 0, "hidden": len(self.fc1.weight), "classes": len(self.fc2.weight)}
        weight1, weight2 = initial_linear(seed, features=features, **sizes, fan_in=fan_in(config))
        drawn = {
            "fc1.weight": weight1[:, :features], "fc2.weight": weight2,
            "fc1.bias": initial(seed, "fc1.bias", self.fc1.bias.shape, fan_in=fan_in(config)),
        }  # fmt: skip
        for name, parameter in self.named_parameters():
            inputs = self.get_submodule(name.partition(".")[0]).get_parameter("weight")[0].numel()
            parameter.copy_(drawn[name] if name in drawn else initial(seed, name, parameter.shape, fan_in=inputs))
        if model.feedback in registry.BIAS_RATES:
            rate = registry.locate(registry.BIAS_RATES, model.feedback, "model.feedback")
            self.bias_lr = rate(weight1, weight2, **_dims(config), **model.params)
        elif model.feedback == "none":
            self._perturb(seed, model.params.get("perturbation", 0.0))
        else:
            self.feedback = build_feedback(config, weight1, weight2)
            self.feedback_weight = nn.Parameter(weight1[:, features:].clone())

    def _perturb(self, seed: int, by: float) -> None:
        """Change every parameter by this part of itself, up or down, as a stream of its own says."""
        for name, parameter in self.named_parameters() if by else ():
            signs = torch.randn(parameter.shape, generator=stream(seed, f"perturbation/{name}")).sign()
            parameter.mul_(1 + by * signs)

    @torch.no_grad()
    def me(self) -> Tensor | None:
        """Return the feedback vector (dx,) of the current weights, detached; None without feedback."""
        if self.feedback is None or self.feedback_weight is None:
            return None
        weight1 = torch.cat((self.fc1.weight, self.feedback_weight), dim=1)
        return cast(Tensor, self.feedback(weight1, self.fc2.weight))

    @torch.no_grad()
    def test_me(self) -> Tensor | None:
        """Return the feedback vector (dx,) for evaluation, by `eval.feedback`; None without feedback."""
        if self.feedback is None or self.test_feedback == "live":
            return self.me()
        return torch.zeros_like(self.initial_me) if self.test_feedback == "zero" else self.initial_me

    def forward(self, images: Tensor, me: Tensor | None = None) -> Tensor:
        """Return the logits (N, classes) of normalised images (N, C, H, W).

        `me`, the feedback vector (dx,), is computed unless it is given: where the weights do not change between calls.
        """
        me = self.me() if me is None else me
        if self.precision == "float32":
            return self._logits(images, me)
        with torch.autocast(images.device.type, dtype=torch.bfloat16):
            return self._logits(images, me).float()

    def _logits(self, images: Tensor, me: Tensor | None) -> Tensor:
        x = self.features(images, (self.conv1.weight, self.conv1.bias), (self.conv2.weight, self.conv2.bias))
        bias: Tensor = self.fc1.bias
        if self.feedback_weight is not None and me is not None:
            bias = torch.addmv(bias, self.feedback_weight, me)
        x = functional.relu(functional.linear(x, self.fc1.weight, bias))
        return cast(Tensor, self.fc2(x))


def build_feedback(config: Config, weight1: Tensor, weight2: Tensor) -> nn.Module:
    """Return a resolved config's feedback, told of the initial `fc1.weight` (b, a + dx) and `fc2.weight` (c, b).

    One of the user's own need not be a `Feedback`, and may draw from torch's global state, which depends on the seed.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream(config.seed, "feedback").initial_seed())
        kind = registry.locate(registry.FEEDBACKS, config.model.feedback, "model.feedback")
        own, params = is_own(config.model.feedback), config.model.params
        feedback: nn.Module = kind(**_dims(config), **(params if own else {}))
        for name, value in () if own else params.items():
            setattr(feedback, name, value)
        if begin := getattr(feedback, "begin", None):
            begin(weight1, weight2, config.seed)
    return feedback


def _dims(config: Config) -> dict[str, Any]:
    """Return the dimensions that a resolved config's feedback is built with, and the kind and scale of a projection."""
    model = config.model
    dims = {key: getattr(config.dims, key) for key in model.uses or ()}
    return dims | {key: value for key in ("kind", "scale") if (value := getattr(model, key)) is not None}
