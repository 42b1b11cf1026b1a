"""The Fréchet distance between two sets of features as Gaussians.

Heusel et al. 2017 (arXiv:1706.08500), section 2: |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^1/2), in float64.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Moments:
    """Count, mean and scatter (sum of outer products about the mean) of features, in float64; the moments of parts add up, in any order."""

    count: int
    mean: Float[Tensor, " d"]
    scatter: Float[Tensor, "d d"]

    @classmethod
    def of(cls, features: Float[Tensor, "n d"]) -> Moments:
        features = features.double()
        mean = features.mean(0)
        centred = features - mean
        return cls(len(features), mean, centred.T @ centred)

    def __add__(self, other: Moments) -> Moments:
        """Chan et al. 1983: the scatter of the union is both scatters and that of the two means."""
        count = self.count + other.count
        step = other.mean - self.mean
        between = torch.outer(step, step) * (self.count * other.count / count)
        return Moments(count, self.mean + step * (other.count / count), self.scatter + other.scatter + between)

    @property
    def covariance(self) -> Float[Tensor, "d d"]:
        """Unbiased. Raises ValueError below 2 images."""
        if self.count < 2:
            raise ValueError(f"a covariance needs 2 images or more, got {self.count}")
        return self.scatter / (self.count - 1)


def frechet(a: Moments, b: Moments) -> float:
    """Distance between two Gaussians; 0 for equal ones.

    tr (C1 C2)^1/2 is the sum of the square roots of the eigenvalues of S C2 S with S = C1^1/2, which is symmetric.
    """
    values, vectors = torch.linalg.eigh(a.covariance)
    root = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    cross = torch.linalg.eigvalsh(root @ b.covariance @ root).clamp(min=0).sqrt().sum()
    return max(float((a.mean - b.mean).square().sum() + a.covariance.trace() + b.covariance.trace() - 2 * cross), 0.0)


def frechet_distance(a: Float[Tensor, "n d"], b: Float[Tensor, "m d"]) -> float:
    """The same from the features of two sets of images."""
    return frechet(Moments.of(a), Moments.of(b))
