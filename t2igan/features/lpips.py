"""LPIPS: the perceptual distance of two images, by VGG16's maps with learned weights per channel.

Zhang et al. 2018 (arXiv:1801.03924), section 3, version 0.1 (Simonyan and Zisserman's network with torchvision's weights).
"""

from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from t2igan.features.vgg import CHANNELS, MAPS, Vgg16
from t2igan.features.weights import WeightFile, load_into, read_weights

HEADS = WeightFile("weights-vgg16-lpips.pth", "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/")
EPS = 1e-10


class Lpips(nn.Module):
    """Pairs of images in [-1, 1] to one distance each, differentiable. Images keep their own size, 16 px or more.

    Args:
        vgg: torchvision's VGG16, or None for torch hub's cache.
        heads: the learned weights of the five layers, or None for torch hub's cache.
    """

    def __init__(self, vgg: Path | None = None, heads: Path | None = None):
        super().__init__()
        self.network = Vgg16(vgg, tuple(MAPS), resize=False)
        self.heads_path = heads
        self.heads = nn.ParameterList(torch.zeros(1, CHANNELS[layer], 1, 1) for layer in MAPS)

    def load_pretrained(self) -> None:
        """Reads both files and freezes the weights.

        Raises:
            UserError: a file is missing, broken or another network's; the message states what to get and where to put it.
        """
        self.network.load_pretrained()
        path = HEADS.find(self.heads_path)
        learned, digest = read_weights(path)
        load_into(self.heads, {str(i): learned.get(f"lin{i}.model.1.weight", torch.empty(0)) for i in range(len(self.heads))}, path)
        self.digest = f"{self.network.digest} {digest}"
        self.requires_grad_(False).eval()

    def load_architecture(self) -> None:
        """Leaves the random weights of the constructor, and freezes them."""
        self.requires_grad_(False).eval()

    def forward(self, a: Float[Tensor, "b 3 h w"], b: Float[Tensor, "b 3 h w"]) -> Float[Tensor, " b"]:
        pairs = zip(self.network(a).values(), self.network(b).values(), self.heads, strict=True)
        return sum((head * (unit_length(x) - unit_length(y)).square()).sum(1).mean((1, 2)) for x, y, head in pairs)


def unit_length(x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
    """The features of every pixel, scaled to length one."""
    return x / (x.square().sum(1, keepdim=True).sqrt() + EPS)
