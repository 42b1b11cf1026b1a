"""A generated image should look like the real one that it stands for."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from jaxtyping import Float
from torch import Tensor

from t2igan.layers.frozen import Frozen
from t2igan.layers.precision import full_precision
from t2igan.layers.resample import resize_bicubic
from t2igan.objective.term import LossInputs, Term, TermOptions
from t2igan.ranges import Range
from t2igan.types import PrepareContext


@dataclass(frozen=True)
class LpipsConfig(TermOptions):
    vgg: str | None = None  # file of torchvision's VGG16; none: torch hub's cache
    heads: str | None = None  # file of the learned weights per layer; none: torch hub's cache
    side: Annotated[int, Range("16 px or more", least=16)] | None = None  # px at which larger images are compared; none: their own

    def build(self) -> "LpipsTerm":
        return LpipsTerm(self)


class LpipsTerm(Term):
    """LPIPS between generated and real images, in float32. Kang et al. 2023 (arXiv:2303.05511), section 3.4, for the upsampler."""

    def __init__(self, config: LpipsConfig):
        super().__init__()
        from t2igan.features.lpips import Lpips  # torchvision takes three seconds to load, which every other command is spared

        self.side = config.side
        self.lpips = Frozen(Lpips(*(None if path is None else Path(path).expanduser() for path in (config.vgg, config.heads))))

    def prepare(self, context: PrepareContext) -> None:
        """Loads VGG16 and LPIPS's weights."""
        context.load(self.lpips.network)

    def generator(self, inputs: LossInputs) -> Float[Tensor, ""]:
        fake, real = inputs.fake.pyramid.finest, inputs.batch.images
        if self.side and self.side < real.shape[-1]:
            fake, real = resize_bicubic(fake, self.side), resize_bicubic(real, self.side)
        with full_precision(real.device):
            return self.lpips(fake, real).mean()
