"""Random views of flat art: distorted, with other outlines, or at half the side."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def distort(x: Float[Tensor, "b 3 r r"], strength: float, generator: torch.Generator) -> Float[Tensor, "b 3 r r"]:
    """Views like the output of a half-trained generator: moved, scaled, bent, blurred, pale, noisy, with holes; the hue stays."""
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
    gray = x.mean(1, keepdim=True)
    x = gray + (x - gray) * (1 + 0.4 * signed(1, 1, 1))
    middle = x.mean((1, 2, 3), keepdim=True)
    x = middle + (x - middle) * (1 + 0.3 * signed(1, 1, 1)) + 0.2 * signed(1, 1, 1)
    x = x + torch.randn(x.shape, generator=generator) * (0.15 * signed(1, 1, 1).clamp(min=0))
    along = (torch.arange(side) + 0.5) / side
    inside = (along - uniform(2, 1)).abs() < 0.2 * strength * uniform(1, 1)
    return torch.where((inside[:, 0, :, None] & inside[:, 1, None, :])[:, None], signed(1, 1, 1), x.clamp(-1, 1))


def change_outlines(x: Float[Tensor, "b 3 r r"], generator: torch.Generator) -> Float[Tensor, "b 3 r r"]:
    """Another style of flat art: some images get dark outlines, some lose their thin dark lines."""
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


def shrink(x: Float[Tensor, "b 3 r r"], probability: float, generator: torch.Generator) -> Float[Tensor, "b 3 r r"]:
    """Some images at half their side, enlarged again, as a tower sees those of a generator of half its resolution."""
    small = F.avg_pool2d(x, 2)
    enlarged = F.interpolate(small, size=x.shape[-2:], mode="bicubic", align_corners=False).clamp(-1, 1)
    return torch.where(torch.rand(len(x), 1, 1, 1, generator=generator) < probability, enlarged, x)
