"""A colour word to the part of an image that has this colour, to be painted in another one."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

PALETTE = {  # English colour words as flat art means them, sRGB 0..255
    "red": (221, 46, 68),
    "orange": (244, 144, 12),
    "yellow": (253, 203, 88),
    "green": (120, 177, 89),
    "blue": (60, 140, 230),
    "purple": (150, 110, 200),
    "brown": (170, 95, 70),
    "pink": (255, 160, 195),
    "black": (45, 48, 52),
    "grey": (150, 160, 168),
    "white": (232, 236, 238),
}
FILL_REACH = 0.75  # RGB distance in [-1, 1] within which a pixel has the colour of a word
FILL_SHARE = 0.04  # of the image that must have it
FILL_SOFTNESS = 0.55  # RGB distance over which the recoloured area fades out


@dataclass(frozen=True)
class Fill:
    """The part of an image that has the colour its caption names."""

    color: Float[Tensor, " 3"]
    mask: Float[Tensor, "r r"]  # 0..1

    def paint(self, image: Float[Tensor, "3 r r"], color: Float[Tensor, " 3"]) -> Float[Tensor, "3 r r"]:
        """The image with this part in another colour."""
        return (image + self.mask * (color - self.color)[:, None, None]).clamp(-1, 1)


def palette(word: str) -> Float[Tensor, " 3"]:
    """A colour word to RGB in [-1, 1]."""
    return torch.tensor(PALETTE[word]) / 127.5 - 1


def find_fill(image: Float[Tensor, "3 r r"], word: str) -> Fill | None:
    """The part of an image that has the colour of the word; None if that is hardly any."""
    near = (image - palette(word)[:, None, None]).norm(dim=0) < FILL_REACH
    if near.float().mean() < FILL_SHARE:
        return None
    color = image[:, near].mean(1)
    distance = (image - color[:, None, None]).norm(dim=0)
    return Fill(color, (1.4 - distance / FILL_SOFTNESS).clamp(0, 1))
