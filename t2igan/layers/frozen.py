"""A frozen network beside a trained one."""

from torch import nn


class Frozen:
    """Holds a network so that the module that owns it neither saves, trains, averages nor copies it.

    It is no nn.Module: an attribute of this class appears in no state dict, in no optimizer and in no `deepcopy`. Gradients pass through
    the network to its input. `to(device)` must be called by the owner.
    """

    def __init__(self, network: nn.Module):
        self.network = network.eval().requires_grad_(False)

    def __call__(self, *args, **kwargs):
        return self.network(*args, **kwargs)

    def __deepcopy__(self, memo) -> "Frozen":
        return self

    def to(self, device) -> "Frozen":
        self.network.to(device)
        return self
