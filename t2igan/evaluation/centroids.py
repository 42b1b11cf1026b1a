"""The modes of a model's styles: centroids that truncation pulls to, each style to its nearest, where one mean would blur them all.

Mokady et al. 2022 (arXiv:2202.12211), section 3.3; with StyleGAN-XL, 10,000 of 600,000 styles. As StyleGAN-XL's mapping network is frozen
while it grows, the centroids of its stem serve every resolution.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors.torch import save_file
from torch import Tensor

from t2igan.errors import UserError
from t2igan.inference.pipeline import Pipeline

ROUNDS = 30
CHUNK = 4096  # styles whose distances to all centroids are in memory at a time


@torch.no_grad()
def style_centroids(pipeline: Pipeline, prompts: Sequence[str], styles: int, count: int) -> Float[Tensor, "count style_dim"]:
    """Centroids of the styles of seeds 0, 1, ..., the prompts in turn.

    Raises:
        UserError: fewer styles than centroids.
    """
    if styles < count:
        raise UserError(f"{count} centroids of {styles} styles; take more styles than centroids")
    found = []
    for first in range(0, styles, CHUNK):
        seeds = range(first, min(first + CHUNK, styles))
        text = pipeline.encode_text([prompts[seed % len(prompts)] for seed in seeds]).to(pipeline.device)
        z = torch.stack([pipeline.latent(seed) for seed in seeds]).to(pipeline.device)
        found.append(pipeline.generator.mapper.map(z, pipeline.generator.adapt(text)).float())
    return lloyd(torch.cat(found), count)


def lloyd(points: Float[Tensor, "n d"], count: int) -> Float[Tensor, "count d"]:
    """K-means from distinct points, drawn with a fixed seed; a centroid that loses all its points stays."""
    start = torch.randperm(len(points), generator=torch.Generator().manual_seed(0))[:count]
    centroids = points[start.to(points.device)].clone()
    for _ in range(ROUNDS):
        nearest = torch.cat([torch.cdist(part, centroids).argmin(1) for part in points.split(CHUNK)])
        sums = torch.zeros_like(centroids).index_add_(0, nearest, points)
        sizes = nearest.bincount(minlength=count)[:, None]
        moved = torch.where(sizes > 0, sums / sizes.clamp(min=1), centroids)
        if torch.allclose(moved, centroids, rtol=0, atol=1e-6):
            break
        centroids = moved
    return centroids


def save_centroids(centroids: Float[Tensor, "count style_dim"], file: Path) -> None:
    save_file({"centroids": centroids.cpu().contiguous()}, file)
