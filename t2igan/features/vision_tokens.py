"""Tokens inside a vision transformer of timm, such as DINO's, for discriminators that judge by them.

Caron et al. 2021 (arXiv:2104.14294); as read by Sauer et al. 2023 (arXiv:2301.09515), section 3.2.
"""

import timm
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from t2igan.features.base import BLOCK, EMBEDDING, block_numbers, check_layers
from t2igan.features.timm_network import TimmNetwork

EXAMPLE = "vit_small_patch16_224.dino"


class VisionTokens(TimmNetwork):
    """Images to the tokens of their patches after some blocks, to each of which the class token is added: [b c t] by layer.

    Images are reduced or enlarged to the network's own side by the mean of their pixels ("area"), as the release has it.

    Args:
        weights, name: as in `TimmNetwork`; a vision transformer's.
        layers: "embedding", "block0", "block1" ...
        side: px, at which it reads images; None: its own.
    """

    def __init__(self, weights: str | None, name: str, layers: tuple[str, ...], side: int | None = None):
        super().__init__(weights, name, layers, EXAMPLE, num_classes=0, **({} if side is None else {"img_size": side}))
        self.side = side or self.side
        check_layers(layers, (EMBEDDING, *(f"{BLOCK}{number}" for number in range(len(self.network.blocks)))), name)

    def own(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        state = {name: value for name, value in state.items() if not name.startswith("head.")}
        return timm.models.vision_transformer.checkpoint_filter_fn(state, self.network)

    def provenance(self) -> dict[str, object]:
        return {"network": self.name, "weights": self.digest, "resize": f"area, {self.side} px"}

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> dict[str, Float[Tensor, "b c t"]]:
        x = images.float() if images.shape[-1] == self.side else F.interpolate(images.float(), size=(self.side, self.side), mode="area")
        network = self.network
        x = network.norm_pre(network.patch_drop(network._pos_embed(network.patch_embed(self.normalised(x)))))
        found = {EMBEDDING: x}
        wanted = block_numbers([layer for layer in self.layers if layer != EMBEDDING])
        for number, block in enumerate(network.blocks[: max(wanted, default=-1) + 1]):
            x = block(x)
            found[f"{BLOCK}{number}"] = x
        prefix = network.num_prefix_tokens
        return {layer: (found[layer][:, prefix:] + found[layer][:, :1]).transpose(1, 2).float() for layer in self.layers}
