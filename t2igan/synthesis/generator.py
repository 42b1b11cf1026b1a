"""A latent and a prompt to images: learned text layers, then a style network, then synthesis. The only Generator class."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from t2igan.draws import Draws
from t2igan.style.base import StyleNetwork
from t2igan.synthesis.base import SynthesisNetwork
from t2igan.types import Fake, PrepareContext, Stage, TextDescriptors


class Generator(nn.Module):
    """Composes the three parts of every system; none of them depends on the paper that the others come from.

    Args:
        adapter: frozen TextDescriptors to learned ones, or None where the frozen ones are used as they are.
        mapper: z and the text to a style per stage.
        synthesis: a style and a text per stage to images.
    """

    def __init__(self, adapter: nn.Module | None, mapper: StyleNetwork, synthesis: SynthesisNetwork):
        super().__init__()
        self.adapter = adapter
        self.mapper = mapper
        self.synthesis = synthesis
        self.stage: Stage | None = None  # how far a growing synthesis network has grown, as training sets it; None: fully

    def forward(
        self,
        z: Float[Tensor, "b z_dim"],
        text: TextDescriptors,
        *,
        truncation: float = 1.0,
        global_truncation: float = 1.0,
        condition: Float[Tensor, "b 3 h w"] | None = None,
        draws: Draws | None = None,
    ) -> Fake:
        """Images at every resolution.

        Args:
            truncation: below 1, styles are pulled to their prompt's mean.
            global_truncation: below 1, styles are pulled to the mean of all prompts.
            condition: the images that an upsampler starts from.
            draws: the random numbers of training (style mixing, pixel noise); None outside training.
        """
        text = self.adapt(text)
        count = self.synthesis.num_styles_at(self.stage)
        styles = self.mapper(z, text, count, truncation, global_truncation, draws)
        return self.synthesize(styles, [text] * count, condition, draws)

    def prepare(self, context: PrepareContext) -> None:
        """Called once before training; loads the weights that a part begins with."""
        if self.adapter is not None:
            self.adapter.prepare(context)
        self.mapper.prepare(context)

    def adapt(self, text: TextDescriptors) -> TextDescriptors:
        """Frozen descriptors to the ones that mapper and synthesis take."""
        return text if self.adapter is None else self.adapter(text)

    def synthesize(
        self,
        styles: Float[Tensor, "b l style_dim"],
        texts: Sequence[TextDescriptors],
        condition: Float[Tensor, "b 3 h w"] | None = None,
        draws: Draws | None = None,
    ) -> Fake:
        """Images from a style and adapted text per stage; edits choose them stage by stage."""
        return Fake(self.synthesis(styles, texts, condition, draws, self.stage).map(torch.Tensor.float), styles)

    def parts(self) -> dict[str, nn.Module]:
        """The sub-networks that a paper counts, by name."""
        found = {"adapter": self.adapter, "mapper": self.mapper, "synthesis": self.synthesis}
        return {name: module for name, module in found.items() if module is not None}
