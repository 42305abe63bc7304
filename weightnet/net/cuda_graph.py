"""A training step as one CUDA graph. Written for a GPU and tested where there is one; not yet measured."""

from collections.abc import Callable
from copy import deepcopy

import torch
from torch import Tensor

Step = Callable[[Tensor, Tensor], Tensor]  # images (N, C, H, W), labels (N,) -> loss of the batch before the step


class GraphedStep:
    """Records a step once and replays it: one launch instead of dozens, which would take longer than their work."""

    def __init__(self, step: Step, optimizer: torch.optim.Optimizer, images: Tensor, labels: Tensor) -> None:
        """Record a step of `optimizer`, SGD, on any batch of the size of all those that will follow.

        The step must wait for nothing from the device. Parameters and momentum are afterwards what they were.
        """
        self.images, self.labels = images.clone(), labels.clone()
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        before = [(p.detach().clone(), deepcopy(optimizer.state[p].get("momentum_buffer"))) for p in parameters]
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):  # a graph may only be recorded once everything has been allocated and chosen
            for _ in range(3):
                step(self.images, self.labels)
        torch.cuda.current_stream().wait_stream(aside)
        with torch.no_grad():
            for parameter, (value, momentum) in zip(parameters, before, strict=True):
                parameter.copy_(value)
                buffer = optimizer.state[parameter].get("momentum_buffer")
                if buffer is not None:  # where there was none, zeros give the same first step
                    buffer.copy_(torch.zeros_like(buffer) if momentum is None else momentum)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.loss = step(self.images, self.labels)

    def __call__(self, images: Tensor, labels: Tensor) -> Tensor:
        """Take the step on another batch of the same size."""
        self.images.copy_(images)
        self.labels.copy_(labels)
        self.graph.replay()
        return self.loss.clone()
