"""Random views of flat art for training a small CLIP: moved and worn, in another hand, in another colour."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
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
FILL_REACH = 0.75  # RGB distance in [-1, 1] at which a pixel still has the colour of a word
FILL_SHARE = 0.04  # of the picture that must have it
FILL_SOFTNESS = 0.55  # RGB distance over which the recoloured area ends


@dataclass(frozen=True)
class Fill:
    """The part of a picture that has the colour its name says."""

    colour: Float[Tensor, " 3"]
    where: Float[Tensor, "r r"]  # 0..1

    def paint(self, image: Float[Tensor, "3 r r"], colour: Float[Tensor, " 3"]) -> Float[Tensor, "3 r r"]:
        return (image + self.where * (colour - self.colour)[:, None, None]).clamp(-1, 1)


def palette(word: str) -> Float[Tensor, " 3"]:
    return torch.tensor(PALETTE[word]) / 127.5 - 1


def find_fill(image: Float[Tensor, "3 r r"], word: str) -> Fill | None:
    """None where the picture hardly shows that colour."""
    near = (image - palette(word)[:, None, None]).norm(dim=0) < FILL_REACH
    if near.float().mean() < FILL_SHARE:
        return None
    colour = image[:, near].mean(1)
    distance = (image - colour[:, None, None]).norm(dim=0)
    return Fill(colour, (1.4 - distance / FILL_SOFTNESS).clamp(0, 1))


def distort(x: Float[Tensor, "b 3 r r"], strength: float, generator: torch.Generator) -> Float[Tensor, "b 3 r r"]:
    """Views such as an unfinished generator might draw: moved, scaled, bent, blurred, pale, noisy, with holes; never of another hue."""
    b, side = len(x), x.shape[-1]

    def uniform(*shape):
        return torch.rand(b, *shape, generator=generator)

    def signed(*shape):
        return strength * (2 * uniform(*shape) - 1)

    angle, scale = 0.12 * signed(), (0.2 * signed(1) + 0.08 * signed(2)).exp()
    turn = torch.stack([torch.stack([angle.cos(), -angle.sin()], 1), torch.stack([angle.sin(), angle.cos()], 1)], 1)
    grid = F.affine_grid(torch.cat([turn * scale[:, None], 0.2 * signed(2)[:, :, None]], 2), list(x.shape), align_corners=False)
    bend = F.interpolate(signed(2, 4, 4), size=(side, side), mode="bicubic", align_corners=True) * (0.08 * uniform(1, 1, 1))
    x = F.grid_sample(x, grid + bend.permute(0, 2, 3, 1), padding_mode="border", align_corners=False)
    blurred = F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3, 1)
    x = torch.lerp(x, blurred, strength * (1.5 * uniform(1, 1, 1) - 0.5).clamp(-0.2, 1))
    grey = x.mean(1, keepdim=True)
    x = grey + (x - grey) * (1 + 0.4 * signed(1, 1, 1))
    middle = x.mean((1, 2, 3), keepdim=True)
    x = middle + (x - middle) * (1 + 0.3 * signed(1, 1, 1)) + 0.2 * signed(1, 1, 1)
    x = x + torch.randn(x.shape, generator=generator) * (0.15 * signed(1, 1, 1).clamp(min=0))
    along = (torch.arange(side) + 0.5) / side
    inside = (along - uniform(2, 1)).abs() < 0.2 * strength * uniform(1, 1)
    return torch.where((inside[:, 0, :, None] & inside[:, 1, None, :])[:, None], signed(1, 1, 1), x.clamp(-1, 1))


def redraw(x: Float[Tensor, "b 3 r r"], generator: torch.Generator) -> Float[Tensor, "b 3 r r"]:
    """The same thing in another hand: some pictures get dark outlines, some lose their thin dark lines."""
    chance, amount = (torch.rand(len(x), 1, 1, 1, generator=generator) for _ in range(2))

    def widest(x):  # a 3 x 3 maximum; max_pool2d takes five times as long
        x = F.pad(x, (1, 1, 1, 1), mode="replicate")
        x = torch.maximum(torch.maximum(x[..., :-2], x[..., 1:-1]), x[..., 2:])
        return torch.maximum(torch.maximum(x[..., :-2, :], x[..., 1:-1, :]), x[..., 2:, :])

    lighter = widest(x)
    edges = (lighter + widest(-x)).amax(1, keepdim=True)
    outlined = (x - 0.8 * amount * edges).clamp(-1, 1)
    without_lines = torch.lerp(x, -widest(-lighter), amount)
    return torch.where(chance < 0.3, outlined, torch.where(chance > 0.65, without_lines, x))
