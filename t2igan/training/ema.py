"""A moving average of G's weights, with its memory measured in images.

Karras et al. 2018 (arXiv:1710.10196), section 6; the ramp-up as in StyleGAN2-ADA (arXiv:2006.06676), appendix.
"""

import copy

import torch
from torch import nn

from t2igan.config import EMAConfig


class EMA:
    """`model` is the averaged copy: in eval mode, without gradients."""

    def __init__(self, model: nn.Module, config: EMAConfig):
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.config = config

    def decay(self, images: int, batch: int) -> float:
        """How much of the old average one step of `batch` images keeps when `images` have been seen."""
        half_life = self.config.half_life(images)
        if self.config.rampup is not None:
            half_life = min(half_life, images * self.config.rampup)
        return 0.5 ** (batch / max(half_life, 1e-8))

    @torch.no_grad()
    def update(self, model: nn.Module, images: int, batch: int) -> None:
        """After a step; buffers are copied, not averaged."""
        keep = self.decay(images, batch)
        torch._foreach_lerp_(list(self.model.parameters()), [p.detach() for p in model.parameters()], 1 - keep)
        for average, current in zip(self.model.buffers(), model.buffers(), strict=True):
            average.copy_(current)
