"""A generated picture should look like the real one that it stands for."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from t2igan.features.lpips import Lpips
from t2igan.objective.round import Round, Term
from t2igan.types import PartConfig


@dataclass(frozen=True)
class LpipsConfig(PartConfig):
    vgg: str | None = None  # file of torchvision's VGG16; none: torch hub's cache
    heads: str | None = None  # file of the learned weights per layer; none: torch hub's cache


class LpipsTerm(Term):
    """LPIPS between generated and real pictures, in float32. Kang et al. 2023 (arXiv:2303.05511), section 3.4, for the upsampler."""

    def __init__(self, config: LpipsConfig):
        self.network = Lpips(*(None if path is None else Path(path).expanduser() for path in (config.vgg, config.heads)))

    def prepare(self, names: Callable[[], list[str]], device) -> None:
        self.network.load_pretrained()
        self.network.to(device)

    def generator(self, round: Round) -> Float[Tensor, ""]:
        with torch.autocast(round.images.device.type, enabled=False):
            return self.network(round.fake.pyramid.finest, round.images).mean()
