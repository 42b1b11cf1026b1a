"""Tokens inside a vision transformer of timm, such as DINO's, for discriminators that judge by them.

Caron et al. 2021 (arXiv:2104.14294); as read by Sauer et al. 2023 (arXiv:2301.09515), section 3.2.
"""

from pathlib import Path

import timm
import torch
import torch.nn.functional as F
from jaxtyping import Float
from timm.data import resolve_model_data_config
from torch import Tensor

from t2igan.errors import UserError
from t2igan.features.base import BLOCK, EMBEDDING, FeatureNetwork, block_numbers, check_layers
from t2igan.features.weights import load_into, read_weights


class VisionTokens(FeatureNetwork):
    """Images to the tokens of their patches after some blocks, to each of which the class token is added: [b c t] by layer.

    Images are reduced or enlarged to the network's own side by the mean of their pixels ("area"), as the release has it.

    Args:
        weights: timm's file of that model (`model.safetensors` or .pth); None: none are given, and `load_pretrained` says what to get.
        name: a vision transformer of timm.
        layers: "embedding", "block0", "block1" ...
        side: px, at which it reads images; None: its own.
    """

    def __init__(self, weights: Path | None, name: str, layers: tuple[str, ...], side: int | None = None):
        super().__init__()
        self.weights, self.name, self.layers = weights, name, layers
        data = timm.get_pretrained_cfg(name)
        if data is None:
            raise UserError(f"timm has no model {name!r}; give a vision transformer's name, such as vit_small_patch16_224.dino")
        self.side = side or data.input_size[-1]
        self.network = timm.create_model(name, pretrained=False, num_classes=0, img_size=self.side)
        check_layers(layers, (EMBEDDING, *(f"{BLOCK}{number}" for number in range(len(self.network.blocks)))), name)
        data = resolve_model_data_config(self.network)
        self.register_buffer("mean", torch.tensor(data["mean"])[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(data["std"])[:, None, None], persistent=False)

    @property
    def width(self) -> int:
        return self.network.embed_dim

    def load_pretrained(self) -> None:
        if self.weights is None or not self.weights.is_file():
            where = f"no weights at {self.weights}" if self.weights else f"the weights of {self.name} are not given"
            raise UserError(f"{where}; get model.safetensors from https://huggingface.co/timm/{self.name} and name it in the recipe")
        state, self.digest = read_weights(self.weights)
        state = {name: value for name, value in state.items() if not name.startswith("head.")}
        load_into(self.network, timm.models.vision_transformer.checkpoint_filter_fn(state, self.network), self.weights)
        self.requires_grad_(False).eval()

    def provenance(self) -> dict[str, object]:
        return {"network": self.name, "weights": self.digest, "resize": f"area, {self.side} px"}

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> dict[str, Float[Tensor, "b c t"]]:
        x = (images.float() + 1) / 2
        x = x if x.shape[-1] == self.side else F.interpolate(x, size=(self.side, self.side), mode="area")
        network = self.network
        x = network.norm_pre(network.patch_drop(network._pos_embed(network.patch_embed((x - self.mean) / self.std))))
        found = {EMBEDDING: x}
        wanted = block_numbers([layer for layer in self.layers if layer != EMBEDDING])
        for number, block in enumerate(network.blocks[: max(wanted, default=-1) + 1]):
            x = block(x)
            found[f"{BLOCK}{number}"] = x
        prefix = network.num_prefix_tokens
        return {layer: (found[layer][:, prefix:] + found[layer][:, :1]).transpose(1, 2).float() for layer in self.layers}
