"""Images and sentence features to embeddings of unit length: an image tower, and a projection over a frozen sentence encoder.

Radford et al. 2021 (arXiv:2103.00020), section 2.3; the towers are open_clip's own.
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from small_clip.config import ClipTraining
from small_clip.text import TEXT_WIDTH
from t2igan.data.images import to_signed

EMBED_BATCH = 64


class SmallClip(nn.Module):
    """The trained part of the CLIP: `visual`, `proj` and `logit_scale`."""

    def __init__(self, config: ClipTraining):
        super().__init__()
        from open_clip.model import CLIPVisionCfg, _build_vision_tower

        hidden = (TEXT_WIDTH + config.embed_dim) // 2  # as in open_clip's HFTextEncoder
        self.visual = _build_vision_tower(config.embed_dim, CLIPVisionCfg(**config.vision))
        self.size = config.vision["image_size"]
        if config.projection == "linear":
            self.proj = nn.Linear(TEXT_WIDTH, config.embed_dim, bias=False)
        else:
            self.proj = nn.Sequential(nn.Linear(TEXT_WIDTH, hidden, bias=False), nn.GELU(), nn.Linear(hidden, config.embed_dim, bias=False))
        self.logit_scale = nn.Parameter(torch.tensor(math.log(config.logit_scale)))

    @torch.no_grad()
    def whiten_projection(self, sentences: Float[Tensor, "n s"], power: float) -> None:
        """Initialises the projection's first layer: without the sentences' common direction, each other direction scaled by its standard
        deviation to the power -`power` (0: not whitened, 1: completely)."""
        first = self.proj if isinstance(self.proj, nn.Linear) else self.proj[0]
        mean = F.normalize(sentences.mean(0), dim=0)
        centred = sentences - (sentences @ mean)[:, None] * mean
        _, deviations, directions = torch.linalg.svd(centred, full_matrices=False)
        rows = min(len(first.weight), len(directions))
        gains = (deviations[0] / deviations[:rows].clamp(min=deviations[0] * 1e-2)) ** power
        mixed = torch.linalg.qr(torch.randn(len(first.weight), rows))[0] @ (directions[:rows] * gains[:, None])
        first.weight.copy_(mixed / (centred @ mixed.T).std())

    def images(self, x: Float[Tensor, "b 3 r r"]) -> Float[Tensor, "b d"]:
        """Images in [-1, 1] to embeddings."""
        if x.shape[-1] != self.size:  # as ClipScorer does
            x = F.interpolate(x, size=(self.size, self.size), mode="bicubic", antialias=True, align_corners=False)
        return F.normalize(self.visual(x), dim=-1)

    def text(self, sentences: Float[Tensor, "n s"]) -> Float[Tensor, "n d"]:
        """Sentence features to embeddings."""
        return F.normalize(self.proj(sentences), dim=-1)

    @torch.no_grad()
    def embed(self, pixels: UInt8[Tensor, "n 3 r r"]) -> Float[Tensor, "n d"]:
        """Any number of images in 0..255 to embeddings."""
        return torch.cat([self.images(to_signed(part)) for part in pixels.split(EMBED_BATCH)])
