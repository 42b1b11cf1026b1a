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
        mapper: (z, text, truncation, global_truncation) to w.
        synthesis: (styles, texts, stage, low) to an ImagePyramid in float32; a style and a text per stage. Its `low` is the side of the
            small pictures that it starts from, or None.
    """

    def __init__(self, adapter: nn.Module | None, mapper: nn.Module, synthesis: nn.Module):
        super().__init__()
        self.adapter = adapter
        self.mapper = mapper
        self.synthesis = synthesis

    def forward(
        self,
        z: Float[Tensor, "b z_dim"],
        text: TextDescriptors,
        *,
        truncation: float = 1.0,
        global_truncation: float = 1.0,
        stage: Stage | None = None,
        low: Float[Tensor, "b 3 h w"] | None = None,
    ) -> Fake:
        """Pictures at every resolution.

        `truncation` below 1 pulls styles to their prompt's mean, `global_truncation` to the mean of all prompts; `stage` stops at a coarser
        picture; `low` are the small pictures that an upsampler starts from.
        """
        text = self.adapt(text)
        w = self.mapper(z, text, truncation, global_truncation)
        return self.draw(repeat(w, "b d -> b l d", l=self.synthesis.stages_count), [text] * self.synthesis.stages_count, stage, low)

    def adapt(self, text: TextDescriptors) -> TextDescriptors:
        """Frozen descriptors to the ones that mapper and synthesis take."""
        return text if self.adapter is None else self.adapter(text)

    def draw(
        self,
        styles: Float[Tensor, "b l style_dim"],
        texts: list[TextDescriptors],
        stage: Stage | None = None,
        low: Float[Tensor, "b 3 h w"] | None = None,
    ) -> Fake:
        """Pictures from a style and adapted text per stage, which edits choose stage by stage."""
        pyramid = self.synthesis(styles, texts, stage, low).map(torch.Tensor.float)
        return Fake(pyramid, styles)
