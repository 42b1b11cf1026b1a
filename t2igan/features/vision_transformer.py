"""DINOv2 and other vision transformers of timm: the class token of the last layer.

Oquab et al. 2023 (arXiv:2304.07193). Stein et al. 2023 (arXiv:2306.04675), section 4, find its Fréchet distance (FDD) nearer to human
judgement than Inception's.
"""

from pathlib import Path

import numpy as np
import timm
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from timm.data import resolve_model_data_config
from torch import Tensor

from t2igan.errors import UserError
from t2igan.features.base import FeatureNetwork
from t2igan.features.weights import load_into, read_weights

SIDE = 224
DINOV2 = "vit_large_patch14_dinov2.lvd142m"


class VisionTransformer(FeatureNetwork):
    """Pictures to `class`, the class token after the last norm. Pictures come to 224 px by Pillow's bicubic.

    Args:
        weights: timm's file of that model (`model.safetensors` or .pth).
        name: a vision transformer of timm.
    """

    layers = ("class",)

    def __init__(self, weights: Path | None, name: str = DINOV2):
        super().__init__()
        self.weights, self.name = weights, name
        self.network = timm.create_model(name, pretrained=False, num_classes=0, img_size=SIDE)
        data = resolve_model_data_config(self.network)
        self.register_buffer("mean", 255 * torch.tensor(data["mean"])[:, None, None], persistent=False)
        self.register_buffer("std", 255 * torch.tensor(data["std"])[:, None, None], persistent=False)

    def load_pretrained(self) -> None:
        if self.weights is None or not self.weights.is_file():
            where = f"no weights at {self.weights}" if self.weights else "DINOv2's weights are not given"
            repository = f"https://huggingface.co/timm/{self.name}"
            raise UserError(f"{where}; get model.safetensors from {repository} and say --weights dinov2=FILE")
        state, self.digest = read_weights(self.weights)
        state = {name: value for name, value in state.items() if not name.startswith("head.")}
        load_into(self.network, timm.models.vision_transformer.checkpoint_filter_fn(state, self.network), self.weights)
        self.requires_grad_(False).eval()

    def account(self) -> dict[str, object]:
        return {"network": self.name, "weights": self.digest, "resize": f"Pillow bicubic, {SIDE} px"}

    @torch.no_grad()
    def forward(self, pictures: UInt8[Tensor, "b 3 h w"]) -> dict[str, Float[Tensor, "b _"]]:
        rows = pictures.permute(0, 2, 3, 1).cpu().numpy()
        resized = [np.asarray(Image.fromarray(row).resize((SIDE, SIDE), Image.Resampling.BICUBIC)) for row in rows]
        x = torch.from_numpy(np.stack(resized)).permute(0, 3, 1, 2).to(self.mean)
        return {"class": self.network.forward_features((x - self.mean) / self.std)[:, 0]}
