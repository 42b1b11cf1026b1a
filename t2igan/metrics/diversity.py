"""How different the images of one prompt are, and whether they vary as real images do."""

import torch
from jaxtyping import Float
from torch import Tensor


def spread(features: Float[Tensor, "p s d"]) -> float:
    """Mean distance between two different images of the same prompt, over p prompts of s images each."""
    s = features.shape[1]
    distances = torch.cdist(features, features)
    return float(distances.sum() / (len(features) * s * (s - 1)))


def coverage(generated: Float[Tensor, "p s d"], real: list[Float[Tensor, "_ d"]]) -> float:
    """Share of a prompt's k real images that are the nearest real image of at least one of its s generated images; mean over prompts.

    A prompt whose images are all the same, or small variations of one real image, scores 1 / k.
    """
    shares = [len(torch.cdist(g, r).argmin(1).unique()) / len(r) for g, r in zip(generated, real, strict=True)]
    return sum(shares) / len(shares)


def nearest(features: Float[Tensor, "n d"], against: Float[Tensor, "m d"]) -> tuple[Tensor, Tensor]:
    """(distance, index) of the nearest row of `against` for each row of `features`: how close images come to training images."""
    return torch.cdist(features, against).min(1)
