"""The conv net, and the one place where its own weights enter."""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import skip_init

from weightnet.config import Config, flat_features
from weightnet.convolution import pooled_convolution
from weightnet.feedback import FEEDBACKS, Feedback, initial_me
from weightnet.streams import initial


class WeightNet(nn.Module):
    """Two convolutions and two linear layers, with the feedback as a bias of fc1 that moves with the weights.

    The notebook concatenates the feedback vector `me` (dx,) to the flat features x (a,) of every example before
    fc1, whose weight is (b, a + dx). `me` is the same for the whole batch, so with that weight split into W_x (b, a)
    and W_f (b, dx)

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
        self.conv1 = skip_init(nn.Conv2d, image_channels, first, 5)
        self.conv2 = skip_init(nn.Conv2d, first, second, 5)
        self.fc1 = skip_init(nn.Linear, features, hidden)
        self.fc2 = skip_init(nn.Linear, hidden, config.dataset.classes)
        self.feedback: Feedback | None = None
        self.feedback_weight: nn.Parameter | None = None
        self.bias_lr = 1.0  # times the learning rate: that of fc1's bias
        if config.model.feedback == "bias_lr":
            self.bias_lr += float(initial_me(config).square().sum())
        elif config.model.feedback != "none":
            self.feedback = FEEDBACKS[config.model.feedback](config)
            self.feedback_weight = nn.Parameter(torch.empty(hidden, self.feedback.dx))
        self._initialise(config.seed)
        self.test_feedback = config.eval.feedback
        self.initial_me: Tensor
        self.register_buffer("initial_me", self.me() if self.test_feedback != "live" else None, persistent=False)
        self.to(memory_format=torch.channels_last)  # of the convolutions: on a CPU, max-pooling is several times faster

    @torch.no_grad()
    def _initialise(self, seed: int) -> None:
        """Draw every parameter from a stream of its own.

        The fan-in of `feedback_weight` is a + dx, as in the notebook. That of fc1 is a, with or without feedback:
        so arms of one seed start from the same shared parameters.
        """
        for layer_name, layer in self.named_children():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                fan_in = layer.weight[0].numel()
                for name, parameter in layer.named_parameters():
                    parameter.copy_(initial(seed, f"{layer_name}.{name}", parameter.shape, fan_in=fan_in))
        if self.feedback_weight is not None:
            fan_in = self.fc1.in_features + self.feedback_weight.shape[1]
            shape = self.feedback_weight.shape
            self.feedback_weight.copy_(initial(seed, "feedback_weight", shape, fan_in=fan_in))

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
        """Return the logits (N, classes) of images (N, C, H, W).

        Args:
            images: normalised.
            me: the feedback vector (dx,), where the weights do not change between calls; computed if not given.
        """
        me = self.me() if me is None else me
        if self.precision == "float32":
            return self._logits(images, me)
        with torch.autocast(images.device.type, dtype=torch.bfloat16):
            return self._logits(images, me).float()

    def _logits(self, images: Tensor, me: Tensor | None) -> Tensor:
        x = pooled_convolution(images, self.conv1.weight, self.conv1.bias)
        x = pooled_convolution(x, self.conv2.weight, self.conv2.bias)
        bias: Tensor = self.fc1.bias
        if self.feedback_weight is not None and me is not None:
            bias = torch.addmv(bias, self.feedback_weight, me)
        x = functional.relu(functional.linear(x.flatten(1), self.fc1.weight, bias))
        return cast(Tensor, self.fc2(x))
