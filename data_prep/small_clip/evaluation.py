"""A trained small CLIP to the numbers of its report."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from small_clip.data import CaptionedImages
from small_clip.model import SmallClip
from t2igan.metrics.retrieval import retrieval

MAX_QUERIES = 1000  # images whose caption is retrieved
CANDIDATES = 100  # primary captions that it is retrieved from
MANY_CANDIDATES = 1000  # of images that training did not see


def retrieve_captions(
    images: Float[Tensor, "n d"], captions: Float[Tensor, "c d"], data: CaptionedImages, primary: list[int], most: int = CANDIDATES
) -> dict[str, float]:
    """R@1 and R@5 of images: how often the primary caption is among the best one or five of candidates from a fixed seed.

    Args:
        primary: the captions to choose from, by number.
        most: how many of them each image has, where there are so many.
    """
    position = {caption: i for i, caption in enumerate(primary)}
    chosen = range(0, len(data.captions_of), -(-len(data.captions_of) // MAX_QUERIES))
    candidates = min(most, len(position))
    truth = [position[data.captions_of[i][0]] for i in chosen]
    hits = retrieval(images[chosen], captions[primary], truth, candidates)
    return {"r_at_1": hits[1], "r_at_5": hits[5], "candidates": candidates}


def mega_macs(model: SmallClip, size: int) -> float:
    """Millions of multiply-accumulates of the image tower for one image."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.images(torch.zeros(1, 3, size, size))
    return round(counter.get_total_flops() / 2e6, 2)
