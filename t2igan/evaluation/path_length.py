"""A model to its perceptual path length: how fast its images change on the way from one latent to another.

Karras et al. 2019 (arXiv:1812.04948), section 4.1; of a model with text, between two latents of one prompt.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from t2igan.data.images import to_pil
from t2igan.evaluation.networks import load_clip
from t2igan.features.lpips import Lpips
from t2igan.grids import grid
from t2igan.inference.pipeline import Pipeline
from t2igan.metrics.path_length import LatentPaths, Space, path_lengths, trimmed
from t2igan.text.cache import default_cache
from t2igan.types import TextDescriptors

SEEN = 256  # px, the side to which larger images are reduced before LPIPS, as published
SHOWN = 7  # images along each way of the picture


@dataclass(frozen=True)
class Distance:
    """A squared distance between two batches of images in [-1, 1], and the network that defines it."""

    network: str
    between: Callable[[Tensor, Tensor], Float[Tensor, " b"]]


def lpips_distance(vgg: Path | None, heads: Path | None, device: torch.device) -> Distance:
    """LPIPS, as published: larger images are reduced to 256 px by the mean of pixels. Raises UserError where weights are missing."""
    lpips = Lpips(vgg, heads)
    lpips.load_pretrained()
    lpips.to(device)
    return Distance(f"LPIPS {lpips.digest}", lambda a, b: lpips(reduced(a), reduced(b)).double())


def reduced(images: Float[Tensor, "b 3 r r"]) -> Float[Tensor, "b 3 s s"]:
    """To `SEEN` px where they are larger."""
    return F.adaptive_avg_pool2d(images, SEEN) if images.shape[-1] > SEEN else images


def face(images: Float[Tensor, "b 3 r r"]) -> Float[Tensor, "b 3 s s"]:
    """What the published figures of aligned faces see: from 3/8 to 7/8 of the height, from 2/8 to 6/8 of the width."""
    part = images.shape[-1] // 8
    return images[:, :, 3 * part : 7 * part, 2 * part : 6 * part]


def clip_distance(named: str, device: torch.device) -> Distance:
    """The squared distance of CLIP embeddings. Raises UserError where its weights are missing."""
    # Ours: for images smaller than what LPIPS's network takes, and where its weights are not at hand
    clip = load_clip(named, device, default_cache())
    return Distance(f"CLIP {clip.fingerprint()}", lambda a, b: (clip.images(a).double() - clip.images(b).double()).square().sum(1))


@dataclass(frozen=True)
class PathSettings:
    """Everything that decides a path length besides the model, the prompts and the distance."""

    count: int = 1000  # pairs of latents
    space: Space = "w"
    endpoint: bool = False  # whether to measure at the first latent of a pair instead of anywhere between the two
    crop_faces: bool = False
    seed: int = 0

    @property
    def where(self) -> str:
        return "at the first latent" if self.endpoint else "anywhere between two latents"


@dataclass(frozen=True)
class MeasuredPaths:
    result: dict
    image: Image.Image  # the shortest, the median and the longest of the ways that count


def measure_path_length(
    pipeline: Pipeline, prompts: list[str], distance: Distance, settings: PathSettings, batch: int = 16
) -> MeasuredPaths:
    """The trimmed mean of the path lengths of pairs of latents, and the settings.

    Args:
        prompts: pairs use them in turn.
        batch: pairs at a time.

    Raises:
        UserError: there is no prompt, or one that this model does not take.
        ValueError: there are fewer than three pairs.
    """
    pipeline.check(prompts)
    random = torch.Generator().manual_seed(settings.seed)
    z = torch.randn(settings.count, 2, pipeline.generator.mapper.z_dim, generator=random)
    at = torch.rand(settings.count, generator=random) * (not settings.endpoint)

    def paths(rows: Tensor) -> LatentPaths:
        return LatentPaths(pipeline.generator, texts(pipeline, prompts, rows), z[rows].to(pipeline.device), settings.space)

    def between(a: Tensor, b: Tensor) -> Tensor:
        return distance.between(face(a), face(b)) if settings.crop_faces else distance.between(a, b)

    rows = torch.arange(settings.count).split(batch)
    lengths = torch.cat([path_lengths(paths(chunk), between, at[chunk].to(pipeline.device)).cpu() for chunk in rows])
    kept = trimmed(lengths)
    facts = {"pairs": settings.count, "space": settings.space, "where": settings.where, "faces": settings.crop_faces}
    facts |= {"prompts": len(prompts), "distance": distance.network, "seed": settings.seed}
    return MeasuredPaths({"path_length": float(kept.mean())} | facts, picture(paths, lengths, kept, prompts))


def texts(pipeline: Pipeline, prompts: list[str], rows: Tensor) -> TextDescriptors:
    return pipeline.encode_text([prompts[i % len(prompts)] for i in rows.tolist()]).to(pipeline.device)


def picture(paths: Callable[[Tensor], LatentPaths], lengths: Tensor, kept: Tensor, prompts: list[str]) -> Image.Image:
    """Images along the ways whose length is the least, the median and the greatest of those that count."""
    chosen = {"shortest": kept.min(), "median": kept.median(), "longest": kept.max()}
    rows, captions = [], []
    for name, length in chosen.items():
        row = (lengths.double() - length).abs().argmin()
        way = paths(row[None])
        rows.append([to_pil(way.images(torch.tensor([i / (SHOWN - 1)], device=way.text.pooled.device))[0]) for i in range(SHOWN)])
        captions.append(f"{name}: {float(length):.3g}  {prompts[int(row) % len(prompts)]}".rstrip())
    return grid(rows, captions)
