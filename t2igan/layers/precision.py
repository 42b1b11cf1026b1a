"""Islands of float32 inside a half-precision forward pass."""

import contextlib

import torch


def full_precision(device: torch.device) -> contextlib.AbstractContextManager:
    """No autocast inside; devices without autocast (meta) need nothing."""
    if torch.amp.is_autocast_available(device.type):
        return torch.autocast(device.type, enabled=False)
    return contextlib.nullcontext()
