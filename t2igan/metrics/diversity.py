"""How different the pictures of one prompt are, and whether they differ as real drawings do."""

import torch
from jaxtyping import Float
from torch import Tensor


def spread(features: Float[Tensor, "p s d"]) -> float:
    """Mean distance between two different pictures of the same prompt, over p prompts of s pictures each."""
    s = features.shape[1]
    distances = torch.cdist(features, features)
    return float(distances.sum() / (len(features) * s * (s - 1)))


def coverage(generated: Float[Tensor, "p s d"], real: list[Float[Tensor, "_ d"]]) -> float:
    """Of each prompt's k real pictures, the share that is the nearest real one of some of its s generated pictures; mean over prompts.

    A prompt that always gives the same picture scores 1 / k, one that wobbles around one real drawing too.
    """
    shares = [len(torch.cdist(g, r).argmin(1).unique()) / len(r) for g, r in zip(generated, real, strict=True)]
    return sum(shares) / len(shares)


def nearest(features: Float[Tensor, "n d"], against: Float[Tensor, "m d"]) -> tuple[Tensor, Tensor]:
    """(distance, index) of the nearest of `against` for each row: how close the pictures come to training pictures."""
    return torch.cdist(features, against).min(1)
