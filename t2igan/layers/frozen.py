"""A network that is used and not trained, kept apart from the module that uses it."""

from __future__ import annotations

from typing import Any

from torch import nn


class Frozen:
    """A network in eval mode without gradients of its own; gradients still pass through it to its input.

    It is not an nn.Module: in a module that holds it, its weights are in no state dict, no optimizer and no EMA, and that module's
    `train()` and `to()` do not reach it. `copy.deepcopy` shares it, so that copies of the holder need no second set of weights.
    """

    def __init__(self, network: nn.Module):
        self.network = network.eval().requires_grad_(False)

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return self.network(*arguments, **options)

    def to(self, *arguments: Any, **options: Any) -> Frozen:
        """Moves the network, as nn.Module.to does."""
        self.network.to(*arguments, **options)
        return self

    def __deepcopy__(self, memo: dict) -> Frozen:
        return self
