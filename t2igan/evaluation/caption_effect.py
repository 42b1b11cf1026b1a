"""How much captions change what a trained system does: the logits of its discriminator and the images of its generator."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from t2igan.data.batches import TrainingBatches
from t2igan.data.images import to_pil
from t2igan.data.shards import Shards
from t2igan.discriminator.base import DiscriminatorNetwork
from t2igan.evaluation.interfaces import EvaluationClip, ImageSampler
from t2igan.grids import grid
from t2igan.metrics.retrieval import retrieval
from t2igan.objective.matching import mismatched_captions
from t2igan.pyramid import build_pyramid
from t2igan.text.cache import CaptionEncoder
from t2igan.types import ImageSet

SEEDS = 8
SHOWN = 8  # prompts in the grid
CANDIDATES = 100
BATCH = 32


def discriminator_effect(D: DiscriminatorNetwork, encode_text: CaptionEncoder, resolution: int, data: str, count: int) -> dict:
    """How the logits for real images change when their captions are exchanged.

    Args:
        D: a trained discriminator.
        encode_text: captions to the descriptors that it was trained with.
        resolution: of its images, px.
        data: shards of captioned images.
        count: real images, rounded up to whole batches.
    """
    D = D.requires_grad_(False).eval()
    dataset = TrainingBatches(Shards(data), resolution, BATCH, seed=0)
    matched, mismatched = [], []
    for step in range(-(-count // BATCH)):
        batch = dataset[step * BATCH]
        unknown = torch.zeros(len(batch), dtype=torch.long)  # the label that stands for no cluster
        text = replace(encode_text(batch.primary_captions), cluster=unknown)
        captions = torch.arange(len(batch)), mismatched_captions(batch.primary_captions, batch.primary_captions)
        (verdicts,) = D([ImageSet(build_pyramid(batch.images, D.levels), captions)], text)
        for found, verdict in zip((matched, mismatched), verdicts, strict=True):
            found.append(verdict.mean(lambda logit: logit))
    matched, mismatched = torch.cat(matched), torch.cat(mismatched)
    return {
        "real_pictures": len(matched),
        "caption_sensitivity": (matched - mismatched).abs().mean().item(),  # E |D(x, c) - D(x, c')|
        "deviation_over_pictures": matched.std().item(),
        "own_caption_more_real": (matched > mismatched).float().mean().item(),
    }


@dataclass(frozen=True)
class GeneratorEffect:
    """Figures, and the images behind them."""

    figures: dict
    images: Float[Tensor, "p s 3 r r"]  # by prompt and seed
    prompts: list[str]

    def grid(self) -> Image.Image:
        """A row per prompt, a column per seed."""
        shown = range(0, len(self.prompts), -(-len(self.prompts) // SHOWN))
        return grid([[to_pil(image) for image in self.images[i]] for i in shown], [self.prompts[i] for i in shown])


def generator_effect(pipeline: ImageSampler, clip: EvaluationClip, data: str, count: int) -> GeneratorEffect:
    """How images change with the caption, and with the seed, for `count` primary captions of the shards and `SEEDS` seeds each."""
    every = Shards(data).primary_captions()
    prompts = every[:: max(1, len(every) // count)][:count]
    images = pipeline.sample_tensor(prompts, range(SEEDS)).unflatten(0, (len(prompts), SEEDS))
    with torch.no_grad():
        embedded = torch.cat([clip.images(chunk) for chunk in images.flatten(0, 1).split(64)]).unflatten(0, (len(prompts), SEEDS))
    captions = clip.text(prompts)
    candidates = min(CANDIDATES, len(prompts))
    recall = [retrieval(embedded[:, seed], captions, list(range(len(prompts))), candidates)[1] for seed in range(SEEDS)]
    nearest = (embedded @ captions.T).argmax(2)  # among all captions
    truth = torch.arange(len(prompts))[:, None]
    figures = {
        "prompts": len(prompts),
        "seeds": SEEDS,
        "r_at_1": sum(recall) / SEEDS,
        "candidates": candidates,
        "same_subject_over_seeds": (nearest == nearest.mode(1).values[:, None]).float().mean().item(),
        "all_seeds_right": (nearest == truth).all(1).float().mean().item(),
    }
    for name, values in (("pixels", images.flatten(2)), ("features", embedded)):
        figures[f"other_caption_same_seed_{name}"] = mean_distance(values.transpose(0, 1))
        figures[f"same_caption_other_seed_{name}"] = mean_distance(values)
    return GeneratorEffect(figures, images, prompts)


def mean_distance(groups: Float[Tensor, "g m d"]) -> float:
    """Root mean square difference per value, over all pairs of two members of the same group."""
    squares = torch.stack([torch.cdist(group, group).square().sum() for group in groups])
    members, values = groups.shape[1:]
    return (squares.mean() / (members * (members - 1)) / values).sqrt().item()


def table(result: dict) -> str:
    d, g = result["discriminator"], result["generator"]
    return "\n".join(
        [
            f"D on {d['real_pictures']} real images: mean |D(x, c) - D(x, c')| {d['caption_sensitivity']:.3f} (deviation of D(x, c) over "
            f"images {d['deviation_over_pictures']:.3f}); the true caption gets the higher logit on {d['own_caption_more_real']:.1%}",
            f"G, {g['prompts']} prompts x {g['seeds']} seeds: R@1 among {g['candidates']} {g['r_at_1']:.3f}; "
            f"seeds agree on the subject {g['same_subject_over_seeds']:.3f}; all seeds right for {g['all_seeds_right']:.3f} of the prompts",
            f"another caption, same seed: images differ by {g['other_caption_same_seed_pixels']:.3f} (features "
            f"{g['other_caption_same_seed_features']:.4f})",
            f"same caption, another seed: images differ by {g['same_caption_other_seed_pixels']:.3f} (features "
            f"{g['same_caption_other_seed_features']:.4f})",
        ]
    )
