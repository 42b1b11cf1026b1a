"""Squares cut from images, each at a place of its own."""

import torch
from jaxtyping import Float
from torch import Tensor


def crop_squares(images: Float[Tensor, "b c h w"], places: Float[Tensor, "b 2"], side: int) -> Float[Tensor, "b c side side"]:
    """Whole pixels of each image. `places`, from [0, 1), choose the upper left corner uniformly among those that keep the square inside."""
    c, h, w = images.shape[1:]
    free = torch.tensor([h - side + 1, w - side + 1], device=images.device)
    corner = (places * free).long().clamp(max=free - 1)
    rows, columns = (corner[:, i, None] + torch.arange(side, device=images.device) for i in range(2))
    x = images.gather(2, rows[:, None, :, None].expand(-1, c, -1, w))
    return x.gather(3, columns[:, None, None, :].expand(-1, c, side, -1))
