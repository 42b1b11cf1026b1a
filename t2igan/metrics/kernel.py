"""Distances between two sets of features by the mean of a kernel (maximum mean discrepancy): KID and CMMD."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, KEY_METRIC_KID_STD, kid_features_to_metric

BLOCK = 2048  # rows of a kernel matrix in memory at a time
SIGMA, SCALE = 10.0, 1000.0  # of CMMD as published


def kernel_inception_distance(
    a: Float[Tensor, "n d"], b: Float[Tensor, "m d"], subsets: int = 100, size: int = 1000, seed: int = 2020
) -> tuple[float, float]:
    """(mean, deviation) over random subsets of the unbiased estimate with the kernel (x.y / d + 1)^3, by torch-fidelity.

    Binkowski et al. 2018 (arXiv:1801.01401), section 4. The estimate may be below zero for equal distributions.
    """
    options = {"kid_subsets": subsets, "kid_subset_size": min(size, len(a), len(b)), "rng_seed": seed, "verbose": False}
    found = kid_features_to_metric(a.double().cpu(), b.double().cpu(), **options)
    return found[KEY_METRIC_KID_MEAN], found[KEY_METRIC_KID_STD]


def clip_mmd(a: Float[Tensor, "n d"], b: Float[Tensor, "m d"]) -> float:
    """CMMD: 1000 times the squared discrepancy of unit embeddings under exp(-|x - y|^2 / (2 sigma^2)), sigma 10, biased as published.

    Jayasumana et al. 2024 (arXiv:2401.09603), section 4.
    """
    a, b = a.double(), b.double()
    return SCALE * float(_mean_kernel(a, a) + _mean_kernel(b, b) - 2 * _mean_kernel(a, b))


def _mean_kernel(a: Tensor, b: Tensor) -> Tensor:
    squares = b.square().sum(1)
    total = a.new_zeros(())
    for part in a.split(BLOCK):
        distances = part.square().sum(1)[:, None] + squares - 2 * part @ b.T
        total += torch.exp(-distances / (2 * SIGMA**2)).sum()
    return total / (len(a) * len(b))
