"""StyleGAN's discriminator: ProGAN's, with a low-pass filter before every reduction.

Karras et al. 2019 (arXiv:1812.04948), section 2 (configuration B). A class label chooses one of the logits; a text joins by projection
(ours).
"""

from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from t2igan.discriminator.progan import ProGANDiscriminator, ProGANDiscriminatorConfig, Side
from t2igan.layers.equalized import EqualizedLinear, plain_lrelu
from t2igan.layers.fir import binomial
from t2igan.layers.progressive import box_down
from t2igan.types import TextDescriptors, TextDims, Verdict


@dataclass(frozen=True)
class StyleGANDiscriminatorConfig(ProGANDiscriminatorConfig):
    condition: Literal["projection", "label"] = "projection"  # label: the logit of the image's class, of one per class

    def build(self, resolution: int, adapter: nn.Module | None, text: TextDims) -> "StyleGANDiscriminator":
        return StyleGANDiscriminator(self, resolution, adapter, text.pooled if adapter is None else adapter.width)


class BlurredSide(Side):
    """A map to one of half the side, filtered before its second convolution."""

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c2 h2 w2"]:
        return plain_lrelu(box_down(self.down(binomial(plain_lrelu(self.conv(x)), 3, padding=1))))


class StyleGANDiscriminator(ProGANDiscriminator):
    """Scores images against captions or class labels."""

    side = BlurredSide

    def __init__(self, config: StyleGANDiscriminatorConfig, resolution: int, adapter: nn.Module | None, text_dim: int):
        super().__init__(config, resolution, adapter, text_dim)
        self.by_label = bool(text_dim) and config.condition == "label"
        if self.by_label:
            self.out, self.embed = EqualizedLinear(config.channels[0], text_dim), None

    def embedded(self, text: TextDescriptors) -> Float[Tensor, "p d"] | None:
        return text.pooled.float() if self.by_label else super().embedded(text)

    def verdict(self, features: Tensor, logits: Tensor, embedded: Float[Tensor, "p d"] | None, captions: Tensor) -> Verdict:
        if self.by_label:
            return Verdict(((logits * embedded[captions]).sum(1, keepdim=True),), (1.0,))
        return super().verdict(features, logits, embedded, captions)
