"""Maps inside an image classifier of timm, such as EfficientNet or DeiT, for discriminators that judge by them.

As read by Sauer et al. 2021 (arXiv:2111.01007) and 2022 (arXiv:2202.00273).
"""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from t2igan.errors import UserError
from t2igan.features.base import BLOCK, LOGITS, block_numbers, check_layers
from t2igan.features.timm_network import TimmNetwork

EXAMPLE = "tf_efficientnet_lite0 or deit_base_distilled_patch16_224"


class ImageMaps(TimmNetwork):
    """Images to maps [b c h w] by layer, or to the logits of the classes.

    Transformers read images at their own side, without their class token among the maps; convolutional networks enlarge smaller images to
    it and take larger ones as they are. Resizes are bilinear, without antialiasing, of normalised images, as in the release.

    Args:
        weights, name: as in `TimmNetwork`.
        layers: "block0", "block1" ... as timm numbers what it can return of this model (blocks of a transformer, stages of others), or
            "logits", alone.
        classes: of the logits; None: as the published weights have.
    """

    def __init__(self, weights: str | None, name: str, layers: tuple[str, ...], classes: int | None = None):
        super().__init__(weights, name, layers, EXAMPLE, **({} if classes is None else {"num_classes": classes}))
        if layers != (LOGITS,):
            if not hasattr(self.network, "forward_intermediates"):
                raise UserError(f"timm cannot give the maps of {name}; choose another model")
            check_layers(layers, tuple(f"{BLOCK}{number}" for number in range(len(self.network.feature_info))), name)
        self.numbers = block_numbers(layers)
        self.transformer = hasattr(self.network, "patch_embed")

    def provenance(self) -> dict[str, object]:
        return {"network": self.name, "weights": self.digest, "resize": f"bilinear without antialiasing, {self.side} px"}

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> dict[str, Float[Tensor, "b ..."]]:
        x = self.normalised(images)
        if x.shape[-1] < self.side or (self.transformer and x.shape[-1] != self.side):
            x = F.interpolate(x, size=(self.side, self.side), mode="bilinear", align_corners=False)
        if self.layers == (LOGITS,):
            return {LOGITS: self.network(x).float()}
        found = self.network.forward_intermediates(x, indices=self.numbers, norm=False, stop_early=True, intermediates_only=True)
        return {f"{BLOCK}{number}": value.float() for number, value in zip(self.numbers, found, strict=True)}
