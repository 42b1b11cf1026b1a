"""Islands of float32 inside a half-precision forward pass."""

import contextlib

import torch
from torch import Tensor


def widen(x: Tensor) -> Tensor:
    """Half precision to float32; wider numbers as they are."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def full_precision(device: torch.device) -> contextlib.AbstractContextManager:
    """No autocast inside; devices without autocast (meta) need nothing."""
    if torch.amp.is_autocast_available(device.type):
        return torch.autocast(device.type, enabled=False)
    return contextlib.nullcontext()
