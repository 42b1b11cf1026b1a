"""Maps inside an image classifier of timm, such as EfficientNet or DeiT, for discriminators that judge by them.

As read by Sauer et al. 2021 (arXiv:2111.01007) and 2022 (arXiv:2202.00273).
"""

from pathlib import Path

import timm
import torch
import torch.nn.functional as F
from jaxtyping import Float
from timm.data import resolve_model_data_config
from torch import Tensor

from t2igan.errors import UserError
from t2igan.features.base import BLOCK, LOGITS, FeatureNetwork, block_numbers
from t2igan.features.weights import load_into, read_weights


class ImageMaps(FeatureNetwork):
    """Images to maps [b c h w] by layer, or to the logits of the classes.

    Transformers read images at their own side, without their class token among the maps; convolutional networks enlarge smaller images to
    it and take larger ones as they are. Resizes are bilinear, without antialiasing, of normalised images, as in the release.

    Args:
        weights: timm's file of that model (`model.safetensors` or .pth); None: none are given, and `load_pretrained` says what to get.
        name: a model of timm.
        layers: "block0", "block1" ... as timm numbers what it can return of this model (blocks of a transformer, stages of others), or
            "logits", alone.
        classes: of the logits; None: as the published weights have.
    """

    def __init__(self, weights: Path | None, name: str, layers: tuple[str, ...], classes: int | None = None):
        super().__init__()
        self.weights, self.name, self.layers = weights, name, layers
        data = timm.get_pretrained_cfg(name)
        if data is None:
            raise UserError(f"timm has no model {name!r}; give a name such as tf_efficientnet_lite0 or deit_base_distilled_patch16_224")
        self.side = data.input_size[-1]
        self.network = timm.create_model(name, pretrained=False, **({} if classes is None else {"num_classes": classes}))
        self.numbers = block_numbers(layers)
        if layers != (LOGITS,) and not hasattr(self.network, "forward_intermediates"):
            raise UserError(f"timm cannot give the maps of {name}; choose another model")
        self.transformer = hasattr(self.network, "patch_embed")
        data = resolve_model_data_config(self.network)
        self.register_buffer("mean", torch.tensor(data["mean"])[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(data["std"])[:, None, None], persistent=False)

    def load_pretrained(self) -> None:
        if self.weights is None or not self.weights.is_file():
            where = f"no weights at {self.weights}" if self.weights else f"the weights of {self.name} are not given"
            raise UserError(f"{where}; get model.safetensors from https://huggingface.co/timm/{self.name} and name it in the recipe")
        state, self.digest = read_weights(self.weights)
        load_into(self.network, state, self.weights)
        self.requires_grad_(False).eval()

    def provenance(self) -> dict[str, object]:
        return {"network": self.name, "weights": self.digest, "resize": f"bilinear without antialiasing, {self.side} px"}

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> dict[str, Float[Tensor, "b ..."]]:
        x = ((images.float() + 1) / 2 - self.mean) / self.std
        if x.shape[-1] < self.side or (self.transformer and x.shape[-1] != self.side):
            x = F.interpolate(x, size=(self.side, self.side), mode="bilinear", align_corners=False)
        if self.layers == (LOGITS,):
            return {LOGITS: self.network(x).float()}
        found = self.network.forward_intermediates(x, indices=self.numbers, norm=False, stop_early=True, intermediates_only=True)
        return {f"{BLOCK}{number}": value.float() for number, value in zip(self.numbers, found, strict=True)}
