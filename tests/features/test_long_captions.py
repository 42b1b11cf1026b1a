"""Text towers and CLIPs read the beginning of a long text, whatever tokenizes it."""

import pytest
import torch

from t2igan.features.open_clip import ClipScorer
from t2igan.text.open_clip import OpenClipTextConfig

LONG = ["cat " * 25_000, "a" * 100_000, "猫" * 100_000]
CONTEXT = 16


@pytest.mark.parametrize("text", LONG)
def test_a_clip_reads_the_same_of_a_long_caption_as_of_its_beginning(text, open_clip_folder, monkeypatch):
    clip = ClipScorer(f"local-dir:{open_clip_folder}")
    clip.load_pretrained()
    whole = clip.text([text[:2_000]])  # through the tokenizer at once, where it is short enough
    read = []
    encode = type(clip.tokenizer).encode
    monkeypatch.setattr(type(clip.tokenizer), "encode", lambda self, part: read.append(len(part)) or encode(self, part))
    assert torch.equal(clip.text([text]), whole)
    assert 0 < max(read) <= 16 * CONTEXT


@pytest.mark.parametrize("text", LONG)
def test_a_text_tower_likewise(text, open_clip_folder, monkeypatch):
    encoder = OpenClipTextConfig(f"local-dir:{open_clip_folder}", token_dim=32, text_dim=24, max_tokens=CONTEXT).build()
    encoder.load_pretrained()
    expected = encoder.tokenizer([text[:2_000]])
    read = []
    encode = type(encoder.tokenizer).encode
    monkeypatch.setattr(type(encoder.tokenizer), "encode", lambda self, part: read.append(len(part)) or encode(self, part))
    assert torch.equal(encoder.tokenize([text]).ids, expected)
    kept = encoder.truncated_prompt(text)
    assert text.startswith(kept) and 0 < len(kept) < 16 * CONTEXT and max(read) <= 16 * CONTEXT
