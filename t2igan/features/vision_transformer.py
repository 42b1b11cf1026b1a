"""Vision transformers of timm, such as DINOv2 and DeiT: the class token, and a map after each block.

DINOv2: Oquab et al. 2023 (arXiv:2304.07193). Stein et al. 2023 (arXiv:2306.04675), section 4, find its Fréchet distance (FDD) nearer
to human judgement than Inception's.
"""

from pathlib import Path

import timm
import torch
from jaxtyping import Float
from timm.data import resolve_model_data_config
from torch import Tensor

from t2igan.errors import UserError
from t2igan.features.base import BLOCK, FeatureNetwork, block_numbers, check_layers
from t2igan.features.resize import pillow_bicubic_of_bytes, to_255
from t2igan.features.weights import load_into, read_weights

SIDE = 224
DINOV2 = "vit_large_patch14_dinov2.lvd142m"


class VisionTransformer(FeatureNetwork):
    """Images to `class`, the class token after the last norm, and `block0`, `block1`...: the patches' map [b c h w] after each block.

    Images are resized to 224 px by Pillow's bicubic, with its rounding to bytes, through which gradients pass.

    Args:
        weights: timm's file of that model (`model.safetensors` or .pth).
        name: a vision transformer of timm.
        layers: which of these features.
    """

    def __init__(self, weights: Path | None, name: str = DINOV2, layers: tuple[str, ...] = ("class",)):
        super().__init__()
        self.weights, self.name, self.layers = weights, name, layers
        self.network = timm.create_model(name, pretrained=False, num_classes=0, img_size=SIDE)
        check_layers(layers, ("class", *(f"{BLOCK}{number}" for number in range(len(self.network.blocks)))), name)
        data = resolve_model_data_config(self.network)
        self.register_buffer("mean", 255 * torch.tensor(data["mean"])[:, None, None], persistent=False)
        self.register_buffer("std", 255 * torch.tensor(data["std"])[:, None, None], persistent=False)

    def load_pretrained(self) -> None:
        if self.weights is None or not self.weights.is_file():
            where = f"no weights at {self.weights}" if self.weights else "DINOv2's weights are not given"
            repository = f"https://huggingface.co/timm/{self.name}"
            raise UserError(f"{where}; get model.safetensors from {repository} and add --weights dinov2=FILE")
        state, self.digest = read_weights(self.weights)
        state = {name: value for name, value in state.items() if not name.startswith("head.")}
        load_into(self.network, timm.models.vision_transformer.checkpoint_filter_fn(state, self.network), self.weights)
        self.requires_grad_(False).eval()

    def provenance(self) -> dict[str, object]:
        return {"network": self.name, "weights": self.digest, "resize": f"Pillow bicubic, {SIDE} px"}

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> dict[str, Float[Tensor, "b ..."]]:
        x = (pillow_bicubic_of_bytes(to_255(images), SIDE) - self.mean) / self.std
        blocks = block_numbers(self.layers)
        if "class" in self.layers:
            tokens, maps = self.network.forward_intermediates(x, indices=blocks or [0])
            found = {"class": tokens[:, 0]}
        else:
            maps, found = self.network.forward_intermediates(x, indices=blocks, stop_early=True, intermediates_only=True), {}
        found |= {f"{BLOCK}{number}": x for number, x in zip(blocks, maps, strict=False)}
        return {layer: found[layer].float() for layer in self.layers}
