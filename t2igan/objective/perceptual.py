"""A generated picture should look like the real one that it stands for."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from jaxtyping import Float
from torch import Tensor

from t2igan.features.lpips import Lpips
from t2igan.layers.precision import full_precision
from t2igan.objective.term import Round, Term
from t2igan.pyramid import shrink
from t2igan.types import PartConfig


@dataclass(frozen=True)
class LpipsConfig(PartConfig):
    vgg: str | None = None  # file of torchvision's VGG16; none: torch hub's cache
    heads: str | None = None  # file of the learned weights per layer; none: torch hub's cache
    side: int | None = None  # px at which larger pictures are compared; none: their own

    def check(self, resolution: int) -> None:
        if self.side is not None and self.side < 16:
            raise ValueError(f"side is {self.side}, needs 16 px or more")


class LpipsTerm(Term):
    """LPIPS between generated and real pictures, in float32. Kang et al. 2023 (arXiv:2303.05511), section 3.4, for the upsampler."""

    def __init__(self, config: LpipsConfig):
        self.side = config.side
        self.network = Lpips(*(None if path is None else Path(path).expanduser() for path in (config.vgg, config.heads)))

    def prepare(self, names: Callable[[], list[str]], device) -> None:
        self.network.load_pretrained()
        self.network.to(device)

    def generator(self, round: Round) -> Float[Tensor, ""]:
        fake, real = round.fake.pyramid.finest, round.images
        if self.side and self.side < real.shape[-1]:
            fake, real = shrink(fake, self.side), shrink(real, self.side)
        with full_precision(real.device):
            return self.network(fake, real).mean()
