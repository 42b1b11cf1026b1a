"""How far generated images lie among the real ones, and real ones among the generated ones, by nearest neighbours.

Precision and recall: Kynkäänniemi et al. 2019 (arXiv:1904.06991), section 2. Density and coverage: Naeem et al. 2020 (arXiv:2002.09797),
section 3. The ball of an image reaches to its k-th nearest neighbour in the same set.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

BLOCK = 2048  # rows of a distance matrix in memory at a time


@dataclass(frozen=True)
class Manifold:
    """Each is near 1 at best; density may exceed 1."""

    precision: float  # share of generated images inside some real ball
    recall: float  # share of real images inside some generated ball
    density: float  # number of real balls that a generated image lies in, on average, divided by k
    coverage: float  # share of real balls with a generated image inside


def manifold(generated: Float[Tensor, "n d"], real: Float[Tensor, "m d"], k_precision: int = 3, k_density: int = 5) -> Manifold:
    """All four, with the k of each paper, in float64: the errors of float32 distances exceed the differences between neighbours.

    Raises:
        ValueError: a set has no k-th neighbour.
    """
    most = max(k_precision, k_density)
    if min(len(generated), len(real)) <= most:
        raise ValueError(f"the {most} nearest neighbours need {most + 1} images or more, got {len(generated)} and {len(real)}")
    generated, real = generated.double(), real.double()
    reach_real, reach_dense = radii(real, k_precision), radii(real, k_density)
    reach_generated = radii(generated, k_precision)
    inside, balls = 0, 0
    recalled = torch.zeros(len(real), dtype=torch.bool)
    covered = torch.zeros(len(real), dtype=torch.bool)
    for rows, reach in zip(generated.split(BLOCK), reach_generated.split(BLOCK), strict=True):
        distances = torch.cdist(rows, real)
        inside += int((distances <= reach_real).any(1).sum())
        recalled |= (distances <= reach[:, None]).any(0)
        dense = distances <= reach_dense
        balls += int(dense.sum())
        covered |= dense.any(0)
    recall, coverage = float(recalled.double().mean()), float(covered.double().mean())
    return Manifold(inside / len(generated), recall, balls / (k_density * len(generated)), coverage)


def radii(features: Float[Tensor, "n d"], k: int) -> Float[Tensor, " n"]:
    """Each row's distance to its k-th nearest other row."""
    return torch.cat([torch.cdist(rows, features).kthvalue(k + 1).values for rows in features.split(BLOCK)])
