"""VGG16: maps for perceptual losses, and its second fully connected layer, the space of the published precision and recall.

Simonyan and Zisserman 2015 (arXiv:1409.1556), with torchvision's weights. Precision and recall: Kynkäänniemi et al. 2019
(arXiv:1904.06991), section 3; LPIPS: Zhang et al. 2018 (arXiv:1801.03924).
"""

from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torchvision.models import vgg16
from torchvision.models.vgg import cfgs, make_layers

from t2igan.features.base import FeatureNetwork, check_layers
from t2igan.features.resize import tensorflow_bilinear
from t2igan.features.weights import WeightFile, load_into, read_weights

SIDE = 224
PUBLISHED = WeightFile("vgg16-397923af.pth", "https://download.pytorch.org/models/")
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of torchvision's training, for images in [0, 1]
MAPS = {
    "relu1_2": 3,
    "relu2_2": 8,
    "relu3_3": 15,
    "relu4_3": 22,
    "relu5_3": 29,
}  # the last ReLU before each pooling: its place in `features`
CHANNELS = {"relu1_2": 64, "relu2_2": 128, "relu3_3": 256, "relu4_3": 512, "relu5_3": 512}


class Vgg16(FeatureNetwork):
    """Images to `fc2` (4096 values, after its ReLU) or to maps, `relu1_2` to `relu5_3`.

    Args:
        weights: torchvision's file, or None for torch hub's cache.
        layers: which of these features.
        resize: to 224 px by TensorFlow 1's bilinear, as in torch-fidelity; else images keep their own size, 16 px or more.
    """

    def __init__(self, weights: Path | None = None, layers: tuple[str, ...] = ("fc2",), resize: bool = True):
        super().__init__()
        check_layers(layers, (*MAPS, "fc2"), "VGG16")
        self.weights, self.layers, self.resize = weights, layers, resize
        # maps need neither the last pooling nor the fully connected layers, which have nine tenths of the weights
        self.network = vgg16() if "fc2" in layers else nn.ModuleDict({"features": make_layers(cfgs["D"])[:-1]})
        self.register_buffer("mean", 2 * torch.tensor(MEAN)[:, None, None] - 1, persistent=False)
        self.register_buffer("std", 2 * torch.tensor(STD)[:, None, None], persistent=False)

    def load_pretrained(self) -> None:
        path = PUBLISHED.find(self.weights)
        state, self.digest = read_weights(path)
        if "fc2" not in self.layers:
            state = {name: value for name, value in state.items() if name.startswith("features.")}
        load_into(self.network, state, path)
        self.requires_grad_(False).eval()

    def provenance(self) -> dict[str, object]:
        resize = f"TensorFlow bilinear, {SIDE} px" if self.resize else "none"
        return {"network": "torchvision vgg16", "weights": self.digest, "resize": resize}

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> dict[str, Float[Tensor, "b ..."]]:
        x = tensorflow_bilinear(images, SIDE) if self.resize else images.float()
        x = (x - self.mean) / self.std
        found, names = {}, {place: name for name, place in MAPS.items()}
        for place, layer in enumerate(self.network.features):
            x = layer(x)
            if place in names:
                found[names[place]] = x.float()
        if "fc2" in self.layers:
            found["fc2"] = self.network.classifier[:5](self.network.avgpool(x).flatten(1)).float()
        return {layer: found[layer] for layer in self.layers}
