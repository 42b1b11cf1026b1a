"""Image networks of timm: architectures by name, weights by path or from the hub, images normalised as each was trained."""

from pathlib import Path

import timm
import torch
from jaxtyping import Float
from timm.data import resolve_model_data_config
from torch import Tensor

from t2igan.errors import UserError
from t2igan.features.base import FeatureNetwork
from t2igan.features.weights import load_into, read_weights
from t2igan.hub import PREFIX, download_file

FILE = "model.safetensors"  # in timm's repositories


class TimmNetwork(FeatureNetwork):
    """What networks of timm have in common.

    Args:
        weights: timm's file of that model (`model.safetensors` or .pth), or hf-hub:ORG/REPO, which `load_pretrained` downloads; None: none
            are given, and `load_pretrained` says what to give.
        name: a model of timm.
        layers: as the subclass names them.
        example: names that it takes.
        options: of `timm.create_model`.
    """

    def __init__(self, weights: str | None, name: str, layers: tuple[str, ...], example: str, **options):
        super().__init__()
        self.weights, self.name, self.layers = weights, name, layers
        published = timm.get_pretrained_cfg(name)
        if published is None:
            raise UserError(f"timm has no model {name!r}; give a name such as {example}")
        self.side, self.repository = published.input_size[-1], published.hf_hub_id or f"timm/{name}"
        self.network = timm.create_model(name, pretrained=False, **options)
        data = resolve_model_data_config(self.network)
        self.register_buffer("mean", torch.tensor(data["mean"])[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(data["std"])[:, None, None], persistent=False)

    def load_pretrained(self) -> None:
        path = self.find()
        state, self.digest = read_weights(path)
        load_into(self.network, self.own(state), path)
        self.requires_grad_(False).eval()

    def find(self) -> Path:
        """The weights' file; one on the hub is downloaded."""
        if self.weights and self.weights.startswith(PREFIX):
            return download_file(self.weights.removeprefix(PREFIX), FILE)
        if self.weights is None or not Path(self.weights).is_file():
            where = f"no weights at {self.weights}" if self.weights else f"the weights of {self.name} are not given"
            raise UserError(f"{where}; write {PREFIX}{self.repository}, or get {FILE} from https://huggingface.co/{self.repository}")
        return Path(self.weights)

    def own(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Of the file's tensors those of this network."""
        return state

    def normalised(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
        return ((images.float() + 1) / 2 - self.mean) / self.std
