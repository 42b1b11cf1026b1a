"""Prompts to tokens to descriptors: frozen towers, their cache, and the learned layers after them.

Each config of KINDS builds its encoder: `config.build() -> TextEncoder`, without reading weights.
"""

from t2igan.text.label import LabelTextConfig
from t2igan.text.none import NoTextConfig
from t2igan.text.open_clip import OpenClipTextConfig
from t2igan.text.transformers import TransformersTextConfig

KINDS = {
    "transformers": TransformersTextConfig,
    "open_clip": OpenClipTextConfig,
    "label": LabelTextConfig,
    "none": NoTextConfig,
}
