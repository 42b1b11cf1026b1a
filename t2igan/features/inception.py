"""The Inception network of the published distances, with either of its two published resizes.

Szegedy et al. 2016 (arXiv:1512.00567) as TensorFlow froze it on 2015-12-05: the network by which FID is defined (Heusel et al. 2017,
arXiv:1706.08500). The blocks are those of torch-fidelity's port to PyTorch. Protocols differ in how they resize images to 299 px:
by TensorFlow 1's bilinear, which does not antialias (torch-fidelity, StyleGAN), or by Pillow's bicubic, which does (clean-fid, Parmar
et al. 2022, arXiv:2104.11222).
"""

import math
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch_fidelity import feature_extractor_inceptionv3 as blocks

from t2igan.features.base import FeatureNetwork
from t2igan.features.resize import pillow_bicubic, tensorflow_bilinear, to_255
from t2igan.features.weights import WeightFile, load_into, read_weights

SIDE = 299
SPATIAL_CHANNELS = 7  # of mixed_6/conv, 17 x 17 each: Nash et al. 2021 (arXiv:2103.03841)
PUBLISHED = WeightFile("weights-inception-2015-12-05-6726825d.pth", "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/")

RESIZES = {"tensorflow": tensorflow_bilinear, "clean": pillow_bicubic}

Resize = Literal["tensorflow", "clean"]
Layer = Literal["pool", "spatial", "logits"]


class Inception(FeatureNetwork):
    """Images to `pool` (2048), `spatial` (2023, the first 7 channels of a 17 x 17 map) and `logits` (1008, without bias).

    Args:
        resize: to 299 px, by one of the two published ways.
        layers: which of these features.
        weights: the published file, or None for torch hub's cache.
        seed: draws random weights in place of the published ones, for the random-network distance.
    """

    def __init__(self, resize: Resize, layers: tuple[Layer, ...] = ("pool",), weights: Path | None = None, seed: int | None = None):
        super().__init__()
        self.resize, self.layers, self.weights, self.seed = resize, layers, weights, seed
        self.Conv2d_1a_3x3 = blocks.BasicConv2d(3, 32, kernel_size=3, stride=2)
        self.Conv2d_2a_3x3 = blocks.BasicConv2d(32, 32, kernel_size=3)
        self.Conv2d_2b_3x3 = blocks.BasicConv2d(32, 64, kernel_size=3, padding=1)
        self.Conv2d_3b_1x1 = blocks.BasicConv2d(64, 80, kernel_size=1)
        self.Conv2d_4a_3x3 = blocks.BasicConv2d(80, 192, kernel_size=3)
        self.Mixed_5b = blocks.InceptionA(192, pool_features=32)
        self.Mixed_5c = blocks.InceptionA(256, pool_features=64)
        self.Mixed_5d = blocks.InceptionA(288, pool_features=64)
        self.Mixed_6a = blocks.InceptionB(288)
        self.Mixed_6b = blocks.InceptionC(768, channels_7x7=128)
        self.Mixed_6c = blocks.InceptionC(768, channels_7x7=160)
        self.Mixed_6d = blocks.InceptionC(768, channels_7x7=160)
        self.Mixed_6e = blocks.InceptionC(768, channels_7x7=192)
        self.Mixed_7a = blocks.InceptionD(768)
        self.Mixed_7b = blocks.InceptionE_1(1280)
        self.Mixed_7c = blocks.InceptionE_2(2048)
        self.fc = nn.Linear(2048, 1008)

    def load_pretrained(self) -> None:
        if self.seed is None:
            path = PUBLISHED.find(self.weights)
            state, self.digest = read_weights(path)
            load_into(self, state, path)
        else:
            initialise(self, self.seed)
            self.digest = f"random, seed {self.seed}"
        self.requires_grad_(False).eval()

    def provenance(self) -> dict[str, object]:
        return {"network": "inception-2015-12-05", "weights": self.digest, "resize": self.resize}

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> dict[str, Float[Tensor, "b ..."]]:
        found = {}
        x = (RESIZES[self.resize](to_255(images), SIDE) - 128) / 128  # as in the graph: 255 becomes 0.992, not 1
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        x = F.max_pool2d(x, 3, 2)
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(x))
        x = F.max_pool2d(x, 3, 2)
        x = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(x)))
        x = self.Mixed_6c(self.Mixed_6b(self.Mixed_6a(x)))
        if "spatial" in self.layers:
            found["spatial"] = self.Mixed_6d.branch1x1(x)[:, :SPATIAL_CHANNELS].flatten(1)
        x = self.Mixed_6e(self.Mixed_6d(x))
        x = self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(x)))
        found["pool"] = x.mean((2, 3))
        found["logits"] = found["pool"] @ self.fc.weight.T
        return {layer: found[layer].float() for layer in self.layers}


def initialise(network: nn.Module, seed: int) -> None:
    """He initialisation, which keeps the variance through 48 layers of ReLU; with torch's, features would hardly depend on the image."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            deviation = math.sqrt(2 / module.weight[0].numel())
            module.weight.data.copy_(torch.randn(module.weight.shape, generator=generator) * deviation)
