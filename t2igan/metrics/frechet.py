"""The Fréchet distance between two sets of features as Gaussians.

Heusel et al. 2017 (arXiv:1706.08500), section 2: |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^1/2), in float64.
"""

import torch
from jaxtyping import Float
from torch import Tensor


def frechet_distance(a: Float[Tensor, "n d"], b: Float[Tensor, "m d"]) -> float:
    """Distance between the features of two sets of pictures; 0 for equal sets.

    tr (C1 C2)^1/2 is the sum of the square roots of the eigenvalues of S C2 S with S = C1^1/2, which is symmetric.
    """
    if min(len(a), len(b)) < 2:
        raise ValueError(f"a covariance needs 2 pictures or more, got {len(a)} and {len(b)}")
    (mean_a, cov_a), (mean_b, cov_b) = _gaussian(a), _gaussian(b)
    values, vectors = torch.linalg.eigh(cov_a)
    root = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    cross = torch.linalg.eigvalsh(root @ cov_b @ root).clamp(min=0).sqrt().sum()
    return max(float((mean_a - mean_b).square().sum() + cov_a.trace() + cov_b.trace() - 2 * cross), 0.0)


def _gaussian(features: Tensor) -> tuple[Tensor, Tensor]:
    features = features.double()
    return features.mean(0), torch.cov(features.T)
