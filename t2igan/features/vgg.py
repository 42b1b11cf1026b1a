"""VGG16's second fully connected layer, the space of the published precision and recall.

Kynkäänniemi et al. 2019 (arXiv:1904.06991), section 3; Simonyan and Zisserman 2015 (arXiv:1409.1556), with torchvision's weights.
"""

from pathlib import Path

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x
from torchvision.models import vgg16

from t2igan.features.base import FeatureNetwork
from t2igan.features.weights import WeightFile, load_into, read_weights

SIDE = 224
PUBLISHED = WeightFile("vgg16-397923af.pth", "https://download.pytorch.org/models/")
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of torchvision's training


class Vgg16(FeatureNetwork):
    """Pictures to `fc2` (4096, after its ReLU). Pictures come to 224 px by TensorFlow 1's bilinear, as in torch-fidelity."""

    layers = ("fc2",)

    def __init__(self, weights: Path | None = None):
        super().__init__()
        self.weights = weights
        self.network = vgg16()
        self.register_buffer("mean", 255 * torch.tensor(MEAN)[:, None, None], persistent=False)
        self.register_buffer("std", 255 * torch.tensor(STD)[:, None, None], persistent=False)

    def load_pretrained(self) -> None:
        path = PUBLISHED.find(self.weights)
        state, self.digest = read_weights(path)
        load_into(self.network, state, path)
        self.requires_grad_(False).eval()

    def account(self) -> dict[str, object]:
        return {"network": "torchvision vgg16", "weights": self.digest, "resize": f"TensorFlow bilinear, {SIDE} px"}

    @torch.no_grad()
    def forward(self, pictures: UInt8[Tensor, "b 3 h w"]) -> dict[str, Float[Tensor, "b _"]]:
        x = interpolate_bilinear_2d_like_tensorflow1x(pictures.float(), size=(SIDE, SIDE), align_corners=False)
        x = self.network.avgpool(self.network.features((x - self.mean) / self.std)).flatten(1)
        return {"fc2": self.network.classifier[:5](x)}
