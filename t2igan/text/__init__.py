"""Prompts to tokens to descriptors: frozen towers, their cache, and the learned layers after them."""

from dataclasses import dataclass
from typing import Literal

from t2igan.text.encoder import NoText, TextEncoder
from t2igan.text.open_clip import OpenClipText
from t2igan.text.transformers import TransformersText


@dataclass(frozen=True)
class TransformersTextConfig:
    model: str  # a folder, package:NAME/SUB, or a hub name
    token_dim: int
    max_tokens: int
    pool: Literal["mean", "last"] = "mean"  # sentence encoders: mean; CLIP: last
    layer: int = -1  # whose token states
    sha256: str | None = None  # of model.safetensors, checked on load


@dataclass(frozen=True)
class OpenClipTextConfig:
    model: str  # an open_clip name, local-dir:FOLDER or hf-hub:ORG/REPO
    token_dim: int  # the tower's width
    text_dim: int  # CLIP's embedding
    max_tokens: int = 77
    pretrained: str | None = None  # open_clip's tag or a weight file
    layer: int = -2  # whose token states; -2 is the penultimate block


@dataclass(frozen=True)
class NoTextConfig:
    """Unconditional."""


KINDS = {
    "transformers": (TransformersTextConfig, TransformersText),
    "open_clip": (OpenClipTextConfig, OpenClipText),
    "none": (NoTextConfig, NoText),
}


def build_text_encoder(config) -> TextEncoder:
    """A text config to its encoder, weights not yet loaded."""
    (encoder,) = [encoder for kind, encoder in KINDS.values() if kind is type(config)]
    return encoder(**vars(config))
