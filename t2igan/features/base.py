"""The interface of feature networks: images in [-1, 1] to named features, differentiable.

Metrics, perceptual losses, guidance and projected discriminators share it.
"""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

from t2igan.errors import UserError

EMBEDDING = "embedding"  # a vision transformer's patches before the first block, with their places
LOGITS = "logits"  # a classifier's scores of its classes
BLOCK = "block"  # vision transformers name the map after their block N, counted from 0, blockN


class FeatureNetwork(nn.Module, ABC):
    """A frozen network with its own resize, mean and deviation. `load_pretrained()` reads the weights; the constructor reads nothing.

    `layers` names the features that a call returns.
    """

    layers: tuple[str, ...]

    @abstractmethod
    def load_pretrained(self) -> None:
        """Reads the weights and freezes them.

        Raises:
            UserError: they are missing, broken or another network's; the message states what to get and where to put it.
        """

    def load_architecture(self) -> None:
        """In place of the weights, random ones of the same shapes, for what needs no values: counting and timing.

        A constructor that builds the whole network leaves nothing to do here but to freeze it.

        Raises:
            UserError: the architecture is not known before the weights are here.
        """
        self.requires_grad_(False).eval()

    @abstractmethod
    def provenance(self) -> dict[str, object]:
        """Everything that decides the features: network, the hash of its weights, resize. Equal provenance means equal features."""

    @abstractmethod
    def forward(self, images: Float[Tensor, "b 3 h w"]) -> dict[str, Float[Tensor, "b ..."]]:
        """Features by layer, in float32: a vector [b c] or a map [b c h w] per image. Gradients reach the images."""

    def fingerprint(self) -> str:
        """A hash of the provenance, used as a key of cached features."""
        return hashlib.sha256(json.dumps(self.provenance(), sort_keys=True).encode()).hexdigest()


def block_numbers(layers: Sequence[str]) -> list[int]:
    """The numbers of the blocks among `layers`, in rising order."""
    return sorted(int(layer.removeprefix(BLOCK)) for layer in layers if layer.startswith(BLOCK))


def check_layers(layers: Sequence[str], known: Sequence[str], network: str) -> None:
    """Raises UserError unless the network has all these layers."""
    unknown = next((layer for layer in layers if layer not in known), None)
    if unknown is not None:
        shown = known if len(known) < 8 else (*known[:3], "...", known[-1])  # a deep tower has many
        raise UserError(f"{network} has no layer {unknown!r}; its layers are {', '.join(shown)}")
