"""Prompts to tokens to descriptors: frozen towers, their cache, and the learned layers after them.

Each config of KINDS builds its encoder: `config.build() -> TextEncoder`, without reading weights. Each of ADAPTERS
builds what makes learned descriptors of frozen ones.
"""

from t2igan.text.adapter import AdapterConfig
from t2igan.text.label import LabelTextConfig
from t2igan.text.none import NoTextConfig
from t2igan.text.open_clip import OpenClipTextConfig
from t2igan.text.tower import TextTowerConfig
from t2igan.text.transformers import TransformersTextConfig

KINDS = {
    "transformers": TransformersTextConfig,
    "open_clip": OpenClipTextConfig,
    "label": LabelTextConfig,
    "none": NoTextConfig,
}

ADAPTERS = {"layers": AdapterConfig, "tower": TextTowerConfig}  # what G owns between the frozen descriptors and its networks
DEFAULT_ADAPTER = "layers"
