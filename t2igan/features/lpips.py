"""LPIPS: how different two pictures look, by VGG16's features with learned weights per channel.

Zhang et al. 2018 (arXiv:1801.03924), section 3, version 0.1 (Simonyan and Zisserman's network with torchvision's weights).
"""

from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torchvision.models import vgg16

from t2igan.features.vgg import PUBLISHED as VGG16
from t2igan.features.weights import WeightFile, load_into, read_weights

HEADS = WeightFile("weights-vgg16-lpips.pth", "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/")
CUTS, CHANNELS = (0, 4, 9, 16, 23, 30), (64, 128, 256, 512, 512)  # of VGG16's layers, after the last ReLU before each pooling
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # mean and deviation of torchvision's training, for pictures in [-1, 1]
EPS = 1e-10


class Lpips(nn.Module):
    """Pairs of pictures in [-1, 1] to a distance each, differentiable. Pictures are taken at their own size, 16 px or more.

    Args:
        vgg: torchvision's VGG16, or None for torch hub's cache.
        heads: the learned weights of the five layers, or None for torch hub's cache.
    """

    def __init__(self, vgg: Path | None = None, heads: Path | None = None):
        super().__init__()
        self.paths = vgg, heads
        layers = vgg16().features
        self.stages = nn.ModuleList(layers[a:b] for a, b in zip(CUTS, CUTS[1:], strict=False))
        self.heads = nn.ParameterList(torch.zeros(1, channels, 1, 1) for channels in CHANNELS)
        self.register_buffer("shift", torch.tensor(SHIFT)[:, None, None], persistent=False)
        self.register_buffer("scale", torch.tensor(SCALE)[:, None, None], persistent=False)

    def load_pretrained(self) -> None:
        """Raises UserError, naming what to get and where to put it, where a file is missing, broken or another network's."""
        vgg, heads = VGG16.find(self.paths[0]), HEADS.find(self.paths[1])
        state, vgg_digest = read_weights(vgg)
        features = {name.removeprefix("features."): value for name, value in state.items() if name.startswith("features.")}
        whole = nn.Sequential(*[layer for stage in self.stages for layer in stage])
        load_into(whole, {name: value for name, value in features.items() if int(name.partition(".")[0]) < CUTS[-1]}, vgg)
        learned, heads_digest = read_weights(heads)
        load_into(self.heads, {str(i): learned.get(f"lin{i}.model.1.weight", torch.empty(0)) for i in range(len(CHANNELS))}, heads)
        self.digest = f"{vgg_digest} {heads_digest}"
        self.requires_grad_(False).eval()

    def forward(self, a: Float[Tensor, "b 3 h w"], b: Float[Tensor, "b 3 h w"]) -> Float[Tensor, " b"]:
        x, y = ((pictures.float() - self.shift) / self.scale for pictures in (a, b))
        total = 0
        for stage, head in zip(self.stages, self.heads, strict=True):
            x, y = stage(x), stage(y)
            total = total + (head * (unit(x) - unit(y)).square()).sum(1).mean((1, 2))
        return total


def unit(x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
    """Every pixel's features at length one."""
    return x / (x.square().sum(1, keepdim=True).sqrt() + EPS)
