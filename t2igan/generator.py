"""A latent and a prompt to pictures: learned text layers, then a style, then synthesis. The only Generator class."""

import torch
from einops import repeat
from jaxtyping import Float
from torch import Tensor, nn

from t2igan.types import Fake, Stage, TextDescriptors


class Generator(nn.Module):
    """Composes the three parts of every system; none of them knows which paper the others come from.

    Args:
        adapter: frozen TextDescriptors to learned ones, or None where the frozen ones are used as they are.
        mapper: (z, text, truncation) to w.
        synthesis: (styles, text, stage) to an ImagePyramid in float32.
    """

    def __init__(self, adapter: nn.Module | None, mapper: nn.Module, synthesis: nn.Module):
        super().__init__()
        self.adapter = adapter
        self.mapper = mapper
        self.synthesis = synthesis

    def forward(self, z: Float[Tensor, "b z_dim"], text: TextDescriptors, *, truncation: float = 1.0, stage: Stage | None = None) -> Fake:
        """Pictures at every resolution; `truncation` below 1 pulls styles to their prompt's mean, `stage` stops at a coarser picture."""
        text = text if self.adapter is None else self.adapter(text)
        w = self.mapper(z, text, truncation)
        styles = repeat(w, "b d -> b l d", l=self.synthesis.stages_count)
        pyramid = self.synthesis(styles, text, stage).map(torch.Tensor.float)
        return Fake(pyramid, styles)
