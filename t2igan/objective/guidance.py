"""A frozen CLIP tells G whether the picture shows the caption."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from t2igan.features.open_clip import ClipScorer
from t2igan.objective.term import Round, Term
from t2igan.types import PartConfig


@dataclass(frozen=True)
class ClipConfig(PartConfig):
    model: str  # an open_clip name, local-dir:FOLDER or hf-hub:ORG/REPO
    pretrained: str | None = None  # open_clip's tag or a weight file, for a model given by name


@dataclass(frozen=True)
class ContrastiveConfig(ClipConfig):
    negatives: int = 0  # captions drawn once from the data set to contrast with; 0: the other captions of the batch


class ClipContrastive(Term):
    """Cross-entropy of each generated picture's embedding against its caption and others, at CLIP's own temperature.

    Kang et al. 2023 (arXiv:2303.05511), section 3.3, Eq. 9. Ours: with small batches, a fixed sample of the data set's captions
    serves as the others. A caption of the same thing is never a negative.
    """

    def __init__(self, config: ContrastiveConfig, cache: Path | None = None):
        self.scorer = ClipScorer(config.model, config.pretrained, cache)
        self.negatives = config.negatives
        self.bank: list[str] = []

    def prepare(self, names: Callable[[], list[str]], device) -> None:
        """Reads CLIP and embeds the captions to contrast with, an even sample of the names."""
        self.scorer.load_pretrained()
        self.scorer.to(device)
        if self.negatives:
            found = names()
            step = max(len(found) / self.negatives, 1)
            self.bank = [found[int(i * step)] for i in range(min(self.negatives, len(found)))]
            self.scorer.text(self.bank)

    def generator(self, round: Round) -> Float[Tensor, ""]:
        others = self.bank or round.names
        image, own = self.scorer.images(round.fake.pyramid.finest), self.scorer.text(told(round))
        against = self.scorer.text(others) if self.bank else own
        number = {name: i for i, name in enumerate(dict.fromkeys([*others, *round.names]))}
        mine, theirs = (torch.tensor([number[name] for name in names], device=image.device) for names in (round.names, others))
        same = mine[:, None] == theirs
        positive = (image * own).sum(1, keepdim=True)
        logits = torch.cat([positive, (image @ against.T).masked_fill(same, -torch.inf)], 1) * self.scorer.logit_scale
        return F.cross_entropy(logits, torch.zeros(len(image), dtype=torch.long, device=image.device))


class ClipSpherical(Term):
    """Squared great-circle distance between the picture's and the caption's embedding: 2 arcsin(|u - v| / 2)^2.

    Sauer et al. 2023 (arXiv:2301.09515), section 3.3.
    """

    def __init__(self, config: ClipConfig, cache: Path | None = None):
        self.scorer = ClipScorer(config.model, config.pretrained, cache)

    def prepare(self, names: Callable[[], list[str]], device) -> None:
        self.scorer.load_pretrained()
        self.scorer.to(device)

    def generator(self, round: Round) -> Float[Tensor, ""]:
        image, own = self.scorer.images(round.fake.pyramid.finest), self.scorer.text(told(round))
        return spherical_distance(image, own).mean()


def told(round: Round) -> list[str]:
    """The captions, and the names of pictures whose caption is left out."""
    return [caption or name for caption, name in zip(round.captions, round.names, strict=True)]


def spherical_distance(u: Float[Tensor, "b d"], v: Float[Tensor, "b d"]) -> Float[Tensor, " b"]:
    """2 arcsin(|u - v| / 2)^2 for unit vectors."""
    return ((u - v).norm(dim=1).clamp(max=2) / 2).arcsin().square() * 2
