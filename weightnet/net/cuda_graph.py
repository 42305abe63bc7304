"""A training step as one CUDA graph. Written for a GPU and tested where there is one; not yet measured."""

from collections.abc import Callable

import torch
from torch import Tensor

Step = Callable[[Tensor, Tensor], Tensor]
"""From images (N, C, H, W) and labels (N,) to the loss of the batch before the step."""


class GraphedStep:
    """Records a step once and replays it: one launch instead of dozens, which would take longer than their work."""

    def __init__(self, step: Step, optimizer: torch.optim.Optimizer, images: Tensor, labels: Tensor) -> None:
        """Record the step of `optimizer`. Its parameters and momentum are afterwards what they were.

        Args:
            step: waits for nothing from the device.
            optimizer: SGD.
            images: any batch, of the size of all those that will follow.
            labels: of that batch.
        """
        self.images, self.labels = images.clone(), labels.clone()
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        before = [parameter.detach().clone() for parameter in parameters]
        momentum = {
            parameter: optimizer.state[parameter]["momentum_buffer"].clone()
            for parameter in parameters
            if optimizer.state[parameter].get("momentum_buffer") is not None
        }
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):  # a graph may only be recorded once everything has been allocated and chosen
            for _ in range(3):
                step(self.images, self.labels)
        torch.cuda.current_stream().wait_stream(aside)
        with torch.no_grad():
            for parameter, value in zip(parameters, before, strict=True):
                parameter.copy_(value)
                buffer = optimizer.state[parameter].get("momentum_buffer")
                if buffer is not None:  # where there was none, zeros give the same first step
                    buffer.copy_(momentum.get(parameter, torch.zeros_like(buffer)))
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.loss = step(self.images, self.labels)

    def __call__(self, images: Tensor, labels: Tensor) -> Tensor:
        """Take the step on another batch of the same size."""
        self.images.copy_(images)
        self.labels.copy_(labels)
        self.graph.replay()
        return self.loss.clone()
