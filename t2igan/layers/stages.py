"""The resolutions that a network passes through: 4, 8, ... px, a stage each."""

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

FIRST = 4  # px, the side of the coarsest stage


def resolutions(side: int) -> list[int]:
    """The sides of the stages up to `side` px, coarsest first."""
    return [FIRST * 2**i for i in range(side.bit_length() - FIRST.bit_length() + 1)]


def check_stages(config, names: tuple[str, ...], sides: list[int]) -> None:
    """Raises ValueError where one of these fields has not one entry for each of these stages, coarsest first."""
    for name in names:
        if len(getattr(config, name)) != len(sides):
            raise ValueError(
                f"{name} has {len(getattr(config, name))} entries, resolution {sides[-1]} has {len(sides)} stages "
                f"({', '.join(map(str, sides))} px); give one entry per stage"
            )


def check_heads(channels: int, head_dim: int, depth: int) -> None:
    """Raises ValueError where a stage with attention cannot be cut into heads."""
    if depth and channels % head_dim:
        raise ValueError(f"channels has {channels} in a stage with attention, needs a multiple of head_dim {head_dim} there")


def checkpoint_stage(stage: nn.Module, activation_checkpointing: bool, *inputs):
    """The stage's output. With `activation_checkpointing` only its input is kept, and the backward pass computes the stage again.

    Chen et al. 2016 (arXiv:1604.06174). Stages hold no random state: what is random comes as an input.
    """
    if activation_checkpointing and torch.is_grad_enabled():
        return checkpoint(stage, *inputs, use_reentrant=False, preserve_rng_state=False)
    return stage(*inputs)
