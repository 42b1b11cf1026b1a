"""A model and prompts to its perceptual path length: how fast the images of a prompt change between two latents.

Karras et al. 2019 (arXiv:1812.04948), section 4.1, along the styles of one prompt.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from t2igan.errors import UserError
from t2igan.features.lpips import Lpips
from t2igan.features.open_clip import ClipScorer
from t2igan.inference.pipeline import Pipeline, check_prompts
from t2igan.metrics.path_length import path_lengths, trimmed_mean
from t2igan.plain_text import read_lines
from t2igan.text.cache import default_cache


@dataclass(frozen=True)
class Distance:
    """A squared distance between two batches of images in [-1, 1], and the network that defines it."""

    network: str
    between: Callable[[Tensor, Tensor], Float[Tensor, " b"]]


def lpips_distance(vgg: Path | None, heads: Path | None, device: torch.device) -> Distance:
    """LPIPS, as published. Raises UserError where its weights are missing."""
    lpips = Lpips(vgg, heads)
    lpips.load_pretrained()
    lpips.to(device)
    return Distance(f"LPIPS {lpips.digest}", lambda a, b: lpips(a, b).double())


def clip_distance(model: str, pretrained: str | None, device: torch.device) -> Distance:
    """The squared distance of CLIP embeddings. Raises UserError where its weights are missing."""
    # Ours: for images smaller than what LPIPS's network takes, and where its weights are not at hand
    clip = ClipScorer(model, pretrained, default_cache())
    clip.load_pretrained()
    clip.to(device)
    return Distance(f"CLIP {clip.fingerprint()}", lambda a, b: (clip.images(a).double() - clip.images(b).double()).square().sum(1))


def measure_path_length(
    pipeline: Pipeline, prompts: list[str], distance: Distance, count: int = 1000, batch: int = 16, endpoint: bool = False, seed: int = 0
) -> dict:
    """The trimmed mean of the path lengths of `count` pairs of latents, and the settings.

    Args:
        prompts: pairs use them in turn.
        batch: pairs at a time.
        endpoint: whether to measure at the first latent of a pair instead of anywhere between the two.

    Raises:
        UserError: there is no prompt, or an empty one.
    """
    check_prompts(prompts)
    device = pipeline.device
    random = torch.Generator().manual_seed(seed)
    z = torch.randn(count, 2, pipeline.generator.mapper.z_dim, generator=random)
    at = torch.rand(count, generator=random) * (not endpoint)
    lengths = []
    for chunk in torch.arange(count).split(batch):
        text = pipeline.encode_text([prompts[i % len(prompts)] for i in chunk.tolist()]).to(device)
        lengths.append(path_lengths(pipeline.generator, text, z[chunk].to(device), distance.between, at[chunk].to(device)).cpu())
    where = "at the first latent" if endpoint else "anywhere between two latents"
    facts = {"pairs": count, "where": where, "prompts": len(prompts), "distance": distance.network, "seed": seed}
    return {"path_length": trimmed_mean(torch.cat(lengths))} | facts


def read_prompts(file: Path) -> list[str]:
    """One prompt per line; blank lines are skipped. Raises UserError where there is no such file, or it is not text."""
    if not file.is_file():
        raise UserError(f"no prompts at {file}; give a file with one prompt per line")
    return read_lines(file)
