"""What D sees: pictures after the same kind of random view for reals, fakes and penalties.

Zhao et al. 2020 (arXiv:2006.10738): differentiable colour, translation and cutout, so that gradients reach G. A view is a pure function of
the pyramid and of uniform numbers, one row per picture: the caller draws them, so a resumed or resharded run sees the same views.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from t2igan.types import ImagePyramid

COLUMNS = 9  # uniform numbers that one picture's view takes


@dataclass(frozen=True)
class AugmentConfig:
    probability: float = 0.0  # of each of the three groups, per picture
    brightness: float = 0.5  # added, uniformly in +- half of this range
    saturation: float = 1.0  # factor 1 +- this
    contrast: float = 0.5  # factor 1 +- this
    translation: float = 0.125  # of the side, either way; the border is filled with the picture's own edge
    cutout: float = 0.4  # side of the grey square, of the picture's side


class DiffAugment:
    """A pyramid and uniform numbers to the pyramid D sees; every level of a picture gets the same view."""

    def __init__(self, config: AugmentConfig):
        self.config = config

    def __call__(self, pyramid: ImagePyramid, uniform: Float[Tensor, "b 9"]) -> ImagePyramid:
        if self.config.probability == 0:
            return pyramid
        return pyramid.map(lambda level: self._view(level, uniform))

    def _view(self, x: Float[Tensor, "b 3 r r"], uniform: Float[Tensor, "b 9"]) -> Float[Tensor, "b 3 r r"]:
        on = (uniform[:, :3] < self.config.probability).to(x.dtype)[:, :, None, None, None]
        signed = (2 * uniform[:, 3:] - 1).to(x.dtype)
        colour, where, hole = signed[:, :3, None, None, None], signed[:, 3:5], uniform[:, 7:9]
        x = self._colour(x, on[:, 0], colour)
        x = self._translate(x, where * on[:, 1, :, 0, 0])
        return self._cutout(x, on[:, 2], hole)

    def _colour(self, x, on, amount):
        x = x + on * amount[:, 0] * self.config.brightness / 2
        grey = x.mean(1, keepdim=True)
        x = grey + (x - grey) * (1 + on * amount[:, 1] * self.config.saturation)
        mean = x.mean((1, 2, 3), keepdim=True)
        return mean + (x - mean) * (1 + on * amount[:, 2] * self.config.contrast)

    def _translate(self, x, shift):
        """Whole-pixel shifts by gathering rows and columns: exact and cheap to differentiate."""
        side = x.shape[-1]
        pixels = (shift * self.config.translation * side).round().long()
        index = (torch.arange(side, device=x.device) + pixels[:, :, None]).clamp(0, side - 1)
        x = x.gather(2, index[:, 0, None, :, None].expand(-1, x.shape[1], -1, side))
        return x.gather(3, index[:, 1, None, None, :].expand(-1, x.shape[1], side, -1))

    def _cutout(self, x, on, hole):
        side = x.shape[-1]
        along = (torch.arange(side, device=x.device) + 0.5) / side
        inside = (along - hole[:, :, None]).abs() < self.config.cutout / 2
        square = (inside[:, 0, :, None] & inside[:, 1, None, :])[:, None].to(x.dtype)
        return x * (1 - square * on)


def uniform_rows(pictures: int, generator: torch.Generator) -> Float[Tensor, "b 9"]:
    """The numbers that `pictures` views take."""
    return torch.rand(pictures, COLUMNS, generator=generator)
