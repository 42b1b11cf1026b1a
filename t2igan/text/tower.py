"""The text tower as a part of G, trained: StyleGAN-T's second phase.

Sauer et al. 2023 (arXiv:2301.09515), section 3.3: with everything else of G frozen, its tower learns from D and from guidance, both of
which read the frozen tower's descriptors on.
"""

from dataclasses import dataclass

from torch import nn

from t2igan.errors import UserError
from t2igan.types import CheckContext, PartConfig, PrepareContext, TextDescriptors, TextDims


@dataclass(frozen=True)
class TextTowerConfig(PartConfig):
    """No options: the tower is the one of the recipe's section `text`, whose weights it begins with."""

    def check(self, context: CheckContext) -> None:
        if not context.token_dim or context.num_classes:
            raise ValueError("kind is tower, and the text of this system has none to train; set the adapter to null")

    def build(self, text: TextDims) -> "TextTower":
        return TextTower(text)


class TextTower(nn.Module):
    """Frozen descriptors to those of its own tower, which reads the same tokens."""

    def __init__(self, text: TextDims):
        super().__init__()
        self.dims = TextDims(text.token, text.pooled)
        self.encoder = text.config.build()
        self.encoder.load_architecture()
        self.encoder.train_tower()
        pointers = [value.data_ptr() for value in self.encoder.state_dict().values() if not value.is_meta]
        if len(pointers) != len(set(pointers)):  # as no checkpoint can hold
            raise UserError("generator.adapter: tables of this tower share memory, as T5's do; train another text encoder")

    def prepare(self, context: PrepareContext) -> None:
        """Loads the weights that the recipe's section `text` names."""
        if context.weights:
            self.encoder.load_pretrained()
            self.encoder.train_tower()
        self.encoder.to(context.device)

    def train(self, mode: bool = True) -> "TextTower":
        """Always as in evaluation: dropout would make descriptors of the same prompt differ."""
        return super().train(False)

    def forward(self, text: TextDescriptors) -> TextDescriptors:
        return self.encoder.describe(text.source)
