"""Prompts to tokens to descriptors: frozen towers, their cache, and the learned layers after them.

Each config of KINDS builds its encoder: `config.build() -> TextEncoder`, without reading weights.
"""

from t2igan.text.encoder import TextEncoder
from t2igan.text.label import LabelText, LabelTextConfig
from t2igan.text.none import NoText, NoTextConfig
from t2igan.text.open_clip import OpenClipText, OpenClipTextConfig
from t2igan.text.transformers import TransformersText, TransformersTextConfig

__all__ = ["KINDS", "LabelText", "NoText", "OpenClipText", "TextEncoder", "TransformersText"]

KINDS = {
    "transformers": TransformersTextConfig,
    "open_clip": OpenClipTextConfig,
    "label": LabelTextConfig,
    "none": NoTextConfig,
}
