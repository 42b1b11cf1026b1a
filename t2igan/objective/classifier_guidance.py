"""A frozen classifier shall see the class that an image was made for.

Sauer et al. 2022 (arXiv:2202.00273), section 3.2 ("classifier guidance").
"""

from dataclasses import dataclass

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from t2igan.features.base import LOGITS
from t2igan.layers.frozen import Frozen
from t2igan.objective.term import LossInputs, Term, TermOptions
from t2igan.ranges import Count
from t2igan.types import CheckContext, PrepareContext


@dataclass(frozen=True)
class ClassifierGuidanceConfig(TermOptions):
    model: str = "deit_small_distilled_patch16_224"  # a classifier of timm
    weights: str | None = None  # its file, or hf-hub:ORG/REPO; a run cannot begin without
    classes: Count = 1000  # that it knows, in the order of the labels

    def check(self, context: CheckContext) -> None:
        if self.classes != context.num_classes:
            has = f"has {context.num_classes}" if context.num_classes else "has none"
            raise ValueError(
                f"classes is {self.classes}, and the text of this system {has}; guidance needs labels that the classifier knows"
            )

    def build(self) -> "ClassifierGuidance":
        return ClassifierGuidance(self)


class ClassifierGuidance(Term):
    """Cross-entropy of the classifier's logits of the generated image against its label."""

    def __init__(self, config: ClassifierGuidanceConfig):
        super().__init__()
        from t2igan.features.image_maps import ImageMaps  # timm takes seconds to load, which every other command is spared

        self.classifier = Frozen(ImageMaps(config.weights, config.model, (LOGITS,), config.classes))

    def prepare(self, context: PrepareContext) -> None:
        """Loads the classifier."""
        context.load(self.classifier.network)

    def generator(self, inputs: LossInputs) -> Float[Tensor, ""]:
        logits = self.classifier(inputs.fake.pyramid.finest)[LOGITS]
        return F.cross_entropy(logits, inputs.batch.text.pooled.argmax(1))
