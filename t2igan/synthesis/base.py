"""What every synthesis network promises: styles and text to an image pyramid."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor, nn

from t2igan.draws import Draws
from t2igan.layers.fourier import FourierInput
from t2igan.types import ImagePyramid, PartConfig, Stage, TextDescriptors


@dataclass(frozen=True)
class SynthesisConfig(PartConfig):
    """The section `generator.synthesis`. Generic code reads nothing of it but this."""

    starts_from_image: ClassVar[bool] = False  # whether it is an upsampler, which needs a `condition`
    grows: ClassVar[bool] = False  # whether it can end at an earlier stage, and fade the next one in

    def levels(self, resolution: int) -> tuple[int, ...]:
        """The sides of the images that it makes, in px, finest first."""
        return (resolution,)

    def input_resolution(self, resolution: int) -> int | None:
        """The side of the images that it starts from, in px; None where it starts from styles alone."""
        return None

    def check_start(self, earlier: "SynthesisConfig") -> None:
        """Raises ValueError where layers of the same names and shapes as in `earlier`, whose weights they take, compute something else."""

    def build(self, resolution: int, style_dim: int, token_dim: int) -> "SynthesisNetwork":
        """The network; `token_dim` is the width of the local text descriptors, 0 where there is no text."""
        raise TypeError(f"{type(self).__name__} builds no network")


class SynthesisNetwork(nn.Module, ABC):
    """A style and a text per stage to an ImagePyramid in [-1, 1], in float32.

    Args:
        num_styles: stages that take a style and a text of their own.
        style_dim: width of the styles.
    """

    def __init__(self, num_styles: int, style_dim: int):
        super().__init__()
        self.num_styles, self.style_dim = num_styles, style_dim

    @abstractmethod
    def forward(
        self,
        styles: Float[Tensor, "b l style_dim"],
        texts: Sequence[TextDescriptors],
        condition: Float[Tensor, "b 3 h w"] | None = None,
        draws: Draws | None = None,
        stage: Stage | None = None,
    ) -> ImagePyramid:
        """Images at every level, finest first.

        Args:
            styles, texts: one per stage, coarsest first.
            condition: the images that an upsampler starts from.
            draws: in training, the source of random numbers such as pixel noise; None outside training.
            stage: how far a network that grows has grown; None: fully.
        """

    @property
    def fourier_input(self) -> FourierInput | None:
        """The Fourier features that a network without a grid of its own starts from; None: it has none."""
        return None

    def update(self, batch: int, sum_over_processes: Callable[[Tensor], Tensor]) -> None:
        """Called after every step of `batch` images: what the passes of all processes have shown becomes a running mean."""

    def num_styles_at(self, stage: Stage | None) -> int:
        """How many of the styles a network that has grown so far takes, coarsest first."""
        return self.num_styles

    def condition(self, images: Float[Tensor, "b 3 r r"], draws: Draws) -> Float[Tensor, "b 3 h w"] | None:
        """What training gives to `forward` as `condition`, made of the real images; None where the network starts from styles alone."""
        return None


class UpsamplingNetwork(SynthesisNetwork):
    """A synthesis network that starts from an image of any size.

    Args:
        low_resolution: px, the side of the images that it is trained to start from.
        multiple: the sides of an image must be divisible by it.
    """

    def __init__(self, num_styles: int, style_dim: int, low_resolution: int, multiple: int):
        super().__init__(num_styles, style_dim)
        self.low_resolution, self.multiple = low_resolution, multiple
