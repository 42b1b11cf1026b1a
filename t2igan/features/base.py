"""What evaluation asks of a frozen image network: pictures of bytes to named features, and an exact account of how."""

import hashlib
import json
from abc import ABC, abstractmethod

from jaxtyping import Float, UInt8
from torch import Tensor, nn


class FeatureNetwork(nn.Module, ABC):
    """A frozen network with its own resize. `load_pretrained()` reads the weights; until then it can only be built.

    `layers` names the features that a call gives.
    """

    layers: tuple[str, ...]

    @abstractmethod
    def load_pretrained(self) -> None:
        """Raises UserError, naming what to get and where to put it, where weights are missing, broken or another network's."""

    @abstractmethod
    def account(self) -> dict[str, object]:
        """Everything that decides the features: network, the hash of its weights, resize. Two equal accounts give equal features."""

    @abstractmethod
    def forward(self, pictures: UInt8[Tensor, "b 3 h w"]) -> dict[str, Float[Tensor, "b _"]]:
        """Features by layer, in float32, without gradients."""

    def fingerprint(self) -> str:
        return hashlib.sha256(json.dumps(self.account(), sort_keys=True).encode()).hexdigest()
