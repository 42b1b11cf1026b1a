"""How often an image is closest to its own caption among others.

R-precision of Xu et al. 2018 (arXiv:1711.10485), section 4.1: the true caption against random ones by cosine similarity.
"""

import torch
from jaxtyping import Float
from torch import Tensor


def retrieval(
    images: Float[Tensor, "n d"],
    captions: Float[Tensor, "c d"],
    truth: list[int],
    candidates: int,
    ks: tuple[int, ...] = (1, 5),
    always: list[int] = (),
    seed: int = 0,
    rivals: list[list[int]] | None = None,
    pool: int | None = None,
) -> dict[int, float]:
    """Share of images whose true caption is among the k most similar of `candidates`.

    Args:
        images, captions: embeddings of unit length; no two captions name the same thing.
        truth: index of the caption of each image.
        candidates: number of captions to choose from: the true one and candidates - 1 others, sampled for each image from a fixed seed.
        always: captions that come before others, such as all other captions of a held-out split; of more than fit, each image has its own
            sample.
        rivals: for each image, captions that come before all others.
        pool: of the captions, the first so many are sampled; None: all.
    """
    pool = len(captions) if pool is None else pool
    if candidates > pool:
        raise ValueError(f"{candidates} candidates need as many captions, got {pool}")
    generator = torch.Generator().manual_seed(seed)
    hits = dict.fromkeys(ks, 0)
    for image, own, hardest in zip(images, truth, rivals or [[]] * len(truth), strict=True):
        first = always if len(always) < candidates else [always[i] for i in torch.randperm(len(always), generator=generator).tolist()]
        others = list(dict.fromkeys([*hardest, *first, *torch.randperm(pool, generator=generator).tolist()]))
        others = torch.tensor([other for other in others if other != own][: candidates - 1])
        similarity = captions @ image
        rank = int((similarity[others] >= similarity[own]).sum())
        for k in ks:
            hits[k] += rank < k
    return {k: hits[k] / len(images) for k in ks}
