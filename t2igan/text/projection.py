"""A small CLIP's text embedding, where its text tower is the recipe's own: only its projection is needed. Ours.

A sentence encoder's vector says what words mean; a CLIP's embedding says what captions look like, and Kang et al. 2023
(arXiv:2303.05511), section 3.1, condition on CLIP. The projection's weights are frozen and stored with the network that holds it, so that
a trained model needs the CLIP's folder no more.
"""

from dataclasses import dataclass
from pathlib import Path

from jaxtyping import Float
from safetensors import SafetensorError
from torch import Tensor, nn

from t2igan.errors import UserError
from t2igan.ranges import Count
from t2igan.text.clip_folder import TOWER_WEIGHTS, has_tower, projection_weights
from t2igan.text.encoder import locate
from t2igan.text.transformers import TransformersTextConfig
from t2igan.types import CheckContext, PartConfig, PrepareContext, TextDescriptors, TextDims


@dataclass(frozen=True)
class ProjectionConfig(PartConfig):
    clip: str  # local-dir:FOLDER of a CLIP made by data_prep/train_clip.py, whose text tower is the recipe's
    widths: tuple[Count, ...]  # of its layers: the embedding's width alone, or the hidden layer's and the embedding's

    def check(self, context: CheckContext) -> None:
        if len(self.widths) not in (1, 2):
            raise ValueError(f"projection.widths has {len(self.widths)} numbers, needs one or two")

    def build(self, text: TextDims) -> "ClipProjection":
        return ClipProjection(self, text)


class ClipProjection(nn.Module):
    """The mean of the frozen tower's token states to a CLIP's text embedding [b widths[-1]], as open_clip projects a Hugging Face tower."""

    def __init__(self, config: ProjectionConfig, text: TextDims):
        super().__init__()
        self.clip, self.text = config.clip, text.config
        widths = (text.token, *config.widths)
        layers = [nn.Linear(a, b, bias=False) for a, b in zip(widths, widths[1:], strict=False)]
        self.proj = nn.Sequential(layers[0], nn.GELU(), layers[1]) if len(layers) == 2 else layers[0]
        self.requires_grad_(False)

    def prepare(self, context: PrepareContext) -> None:
        """Loads the weights.

        Raises:
            UserError: the folder holds no such projection, or one over another text tower.
        """
        if context.weights:
            self._load(Path(locate(self.clip.removeprefix("local-dir:"))))
        self.to(context.device)

    def _load(self, folder: Path) -> None:
        text = self.text
        if not isinstance(text, TransformersTextConfig) or text.layer != -1:
            raise UserError("a projection needs text.kind transformers with layer -1, whose token states it was trained on")
        try:
            weights, same = projection_weights(folder), has_tower(folder, Path(locate(text.model)) / TOWER_WEIGHTS)
        except (OSError, ValueError, SafetensorError) as error:
            reason = " ".join(str(error).split())
            raise UserError(f"no projection of text in {self.clip} ({reason}); give a folder of data_prep/train_clip.py") from None
        found, needed = ({name: tuple(value.shape) for name, value in state.items()} for state in (weights, self.proj.state_dict()))
        if found != needed:
            widths = [shape[0] for shape in found.values()]
            raise UserError(f"the projection of {self.clip} has the widths {widths}; write those into projection.widths")
        if not same:
            raise UserError(f"the text tower of {self.clip} is not {text.model}; name the encoder that the CLIP was trained on")
        self.proj.load_state_dict(weights)

    def forward(self, text: TextDescriptors) -> Float[Tensor, "b d"]:
        mask = text.source.mask[..., None].to(text.local.dtype)
        return self.proj((text.local * mask).sum(1) / mask.sum(1))
