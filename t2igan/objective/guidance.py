"""A frozen CLIP scores how well generated images fit their captions."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from t2igan.features.open_clip import ClipScorer
from t2igan.layers.crop import crop_squares
from t2igan.layers.frozen import Frozen
from t2igan.layers.precision import full_precision
from t2igan.objective.term import LossInputs, Term, TermOptions
from t2igan.ranges import Count, Whole
from t2igan.types import PrepareContext


@dataclass(frozen=True)
class ClipSphericalConfig(TermOptions):
    model: str  # an open_clip name, local-dir:FOLDER or hf-hub:ORG/REPO
    pretrained: str | None = None  # open_clip's tag or a weight file, for a model given by name
    crop: Count | None = None  # px: of larger images, CLIP sees one square of this side, at a random place; none: the whole image

    def build(self) -> "ClipSpherical":
        return ClipSpherical(self)


@dataclass(frozen=True)
class ClipContrastiveConfig(ClipSphericalConfig):
    negatives: Whole = 0  # captions of the data set to contrast with, however the batch is shared; 0: the others of the micro-batch

    def build(self) -> "ClipContrastive":
        return ClipContrastive(self)


class ClipTerm(Term):
    """A term with a frozen CLIP."""

    def __init__(self, config: ClipSphericalConfig):
        super().__init__()
        self.clip = Frozen(ClipScorer(config.model, config.pretrained))
        self.crop = config.crop

    @property
    def scorer(self) -> ClipScorer:
        return self.clip.network

    def prepare(self, context: PrepareContext) -> None:
        """Loads the CLIP."""
        self.scorer.cache = context.cache
        context.load(self.scorer)

    def embeddings_of_images(self, inputs: LossInputs) -> Float[Tensor, "b d"]:
        """Of the generated images, or of the squares cut from them."""
        images = inputs.fake.pyramid.finest
        if self.crop is not None and self.crop < images.shape[-1]:
            images = crop_squares(images, inputs.batch.draws.uniform("crop for CLIP", 2), self.crop)
        return self.scorer.images(images)


class ClipContrastive(ClipTerm):
    """Cross-entropy of each generated image's embedding against its caption and others, at CLIP's own temperature.

    Kang et al. 2023 (arXiv:2303.05511), section 3.3, Eq. 9. Ours: a fixed sample of the data set's captions may serve as the others, so
    that the loss does not depend on how processes and micro-batches share a batch. A caption of the same thing is never a negative.
    """

    def __init__(self, config: ClipContrastiveConfig):
        super().__init__(config)
        self.negatives = config.negatives
        self.bank: list[str] = []
        self.embeddings: Tensor | None = None  # of the bank; they follow from the recipe and the data, so no checkpoint holds them

    def prepare(self, context: PrepareContext) -> None:
        """Loads the CLIP and embeds the captions to contrast with, an even sample of the data set's first captions."""
        super().prepare(context)
        if self.negatives:
            found = context.primary_captions()
            step = max(len(found) / self.negatives, 1)
            self.bank = [found[int(i * step)] for i in range(min(self.negatives, len(found)))]
            self.embeddings = self.scorer.text(self.bank)

    def generator(self, inputs: LossInputs) -> Float[Tensor, ""]:
        names = inputs.batch.primary_captions
        others = self.bank or names
        image, own = self.embeddings_of_images(inputs), self.scorer.text(guidance_captions(inputs))
        against = self.embeddings if self.bank else own
        number = {name: i for i, name in enumerate(dict.fromkeys([*others, *names]))}
        mine, theirs = (torch.tensor([number[name] for name in listed], device=image.device) for listed in (names, others))
        same = mine[:, None] == theirs
        positive = (image * own).sum(1, keepdim=True)
        with full_precision(image.device):
            negative = (image.float() @ against.T).masked_fill(same, -torch.inf)
        logits = torch.cat([positive, negative], 1) * self.scorer.logit_scale
        return F.cross_entropy(logits, torch.zeros(len(image), dtype=torch.long, device=image.device))


class ClipSpherical(ClipTerm):
    """The squared angle between the image's and the caption's embedding. Sauer et al. 2023 (arXiv:2301.09515), section 3.3."""

    def generator(self, inputs: LossInputs) -> Float[Tensor, ""]:
        image, own = self.embeddings_of_images(inputs), self.scorer.text(guidance_captions(inputs))
        return spherical_distance(image, own).mean()


def guidance_captions(inputs: LossInputs) -> list[str]:
    """The captions; of images whose caption is left out, the first one."""
    batch = inputs.batch
    return [caption or first for caption, first in zip(batch.captions, batch.primary_captions, strict=True)]


def spherical_distance(u: Float[Tensor, "b d"], v: Float[Tensor, "b d"]) -> Float[Tensor, " b"]:
    """The squared angle between unit vectors; its slope is finite for equal and for opposite ones, where that of arccos is not."""
    return (2 * torch.atan2((u - v).norm(dim=1), (u + v).norm(dim=1))).square()
