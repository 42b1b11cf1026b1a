"""A network that is used and not trained, kept apart from the module that uses it."""

from __future__ import annotations

from typing import Any

from torch import nn


class Frozen:
    """A network in eval mode without gradients of its own; gradients still pass through it to its input.

    It is no nn.Module: assigned to a module's attribute, its weights are in no state dict, no optimizer and no average of that module,
    and `train()` or `to()` of that module do not reach it. `copy.deepcopy` shares it, so copies of the module need no second set.
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
