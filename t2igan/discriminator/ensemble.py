"""A discriminator on a frozen CLIP's eyes, beside the system's own.

Kumari et al. 2022 (arXiv:2112.09130); in Kang et al. 2023 (arXiv:2303.05511), section 3.3: maps of several layers of the image tower,
each through a fixed random projection (Sauer et al. 2021, arXiv:2111.01007, section 3.2) to 3x3 convolutions modulated by the text.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from t2igan.errors import UserError
from t2igan.features.open_clip import ClipScorer
from t2igan.layers.equalized import EqualizedConv2d, lrelu
from t2igan.layers.modulation import AdaptiveConv2d
from t2igan.layers.normalize import unit_rms
from t2igan.types import ImagePyramid, PartConfig, TextDescriptors, Verdict


@dataclass(frozen=True)
class VisionAidedConfig(PartConfig):
    model: str  # an open_clip name, local-dir:FOLDER or hf-hub:ORG/REPO, with a ViT
    pretrained: str | None = None  # open_clip's tag or a weight file, for a model given by name
    width: int = 768  # of the tower
    layers: tuple[int, ...] = (3, 7, 11)  # of the tower, counted from 0, whose maps are judged
    channels: int = 256  # of the random projections and the heads
    head_depth: int = 1  # 3x3 modulated convolutions per head
    weight: float = 1.0  # of this discriminator in every loss; the system's own has 1

    def check(self, resolution: int) -> None:
        if not self.layers or list(self.layers) != sorted(set(self.layers)) or self.layers[0] < 0:
            raise ValueError(f"layers is {list(self.layers)}, needs numbers of layers, each once, in rising order")
        for name in ("width", "channels", "head_depth"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, needs a whole number above 0")


class VisionHead(nn.Module):
    """A frozen layer's map and the pooled descriptor to logits, one per place."""

    def __init__(self, config: VisionAidedConfig, text_dim: int):
        super().__init__()
        # fixed, but not the same in every run: it is kept with the weights
        self.register_buffer("projection", torch.randn(config.channels, config.width, 1, 1) / config.width**0.5)
        self.layers = nn.ModuleList(AdaptiveConv2d(config.channels, config.channels, text_dim, 3) for _ in range(config.head_depth))
        self.biases = nn.ParameterList(nn.Parameter(torch.zeros(config.channels, 1, 1)) for _ in range(config.head_depth))
        self.out = EqualizedConv2d(config.channels, 1, kernel=1)

    def forward(self, x: Float[Tensor, "b c h w"], descriptor: Float[Tensor, "b text_dim"]) -> Float[Tensor, "b _"]:
        y = F.conv2d(unit_rms(x.movedim(1, -1)).movedim(-1, 1), self.projection)
        for layer, bias in zip(self.layers, self.biases, strict=True):
            y = lrelu(layer(y, descriptor) + bias)
        return self.out(y).flatten(1)


class VisionAidedDiscriminator(nn.Module):
    """A system's own discriminator and heads on a frozen CLIP: their verdicts as one.

    Gradient penalties look at the own heads alone (`Verdict.own`): the frozen tower's steepness is not D's to change.
    """

    def __init__(self, network: nn.Module, config: VisionAidedConfig, text_dim: int):
        super().__init__()
        self.network = network
        self.heads = nn.ModuleList(VisionHead(config, text_dim) for _ in config.layers)
        self.config = config
        self.tower = [ClipScorer(config.model, config.pretrained)]  # in a list: its weights are in no optimizer and no checkpoint

    def prepare(self, device) -> None:
        """Reads the frozen tower. Raises UserError where it is missing or another one than the recipe says."""
        (tower,) = self.tower
        tower.load_pretrained()
        tower.to(device)
        with torch.no_grad():
            widths = {x.shape[1] for x in tower.maps(torch.zeros(1, 3, tower.size, tower.size, device=device), self.config.layers)}
        if widths != {self.config.width}:
            raise UserError(f"discriminator.vision_aided.width is {self.config.width}, {self.config.model} has {max(widths)}; write that")

    def forward(self, pyramid: ImagePyramid, text: TextDescriptors, *pairings: Int[Tensor, " b"]) -> tuple[Verdict, ...]:
        """A Verdict for each pairing, as the system's own D gives, with the vision heads' logits after its own."""
        verdicts = self.network(pyramid, text, *pairings)
        maps, descriptors = self.tower[0].maps(pyramid.finest, self.config.layers), unit_rms(text.pooled)
        found = []
        for verdict, descriptor in zip(verdicts, [descriptors[p] for p in pairings] or [descriptors], strict=True):
            logits = [head(x, descriptor).float() for head, x in zip(self.heads, maps, strict=True)]
            found.append(verdict.joined(logits, self.config.weight))
        return tuple(found)
