"""Memory of the process while captions never end: none of what encodes or embeds them keeps every one."""

import gc
import os
from pathlib import Path

import pytest
import torch
from tiny import MAX_TOKENS, TEXT_DIM, TOKEN_DIM, write_bert, write_clip

from t2igan.features.open_clip import ClipScorer
from t2igan.memory import hand_back_freed_memory
from t2igan.text import cache, open_clip
from t2igan.text.cache import CaptionEncoder
from t2igan.text.open_clip import OpenClipTextConfig
from t2igan.text.transformers import TransformersTextConfig

CAPTIONS, BATCH = 200_000, 500


def resident_mib() -> float:
    gc.collect()
    hand_back_freed_memory()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


@pytest.fixture(scope="module")
def readers(tmp_path_factory):
    """Everything in a step of training that takes a caption, as functions of a list of captions."""
    folder = tmp_path_factory.mktemp("towers")
    bert, clip = write_bert(folder / "bert"), write_clip(folder / "clip")
    encoders = [
        TransformersTextConfig(str(bert), TOKEN_DIM, MAX_TOKENS).build(),
        OpenClipTextConfig(f"local-dir:{clip}", TOKEN_DIM, TEXT_DIM, MAX_TOKENS).build(),
    ]
    for encoder in encoders:
        encoder.load_pretrained()
    scorer = ClipScorer(f"local-dir:{clip}")
    scorer.load_pretrained()
    bert, clip = (CaptionEncoder(encoder, max_truncation_warnings=1) for encoder in encoders)  # as in training
    return {"transformers": bert, "open_clip": clip, "clip": scorer.text}


def word(number: int) -> str:
    """A word of letters for each number; tokenizers split digits."""
    return "".join(chr(ord("a") + int(digit, 16)) for digit in f"{number:x}")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["transformers", "open_clip", "clip"])
def test_memory_is_flat_over_200_000_captions(name, readers, monkeypatch, capsys):
    """Each has a word of its own, as names have in captions of the web."""
    monkeypatch.setattr(cache, "MEMORY_BYTES", 4 << 20)
    monkeypatch.setattr(open_clip, "MAX_WORDS", 10_000)
    resident = []
    with torch.inference_mode():
        for start in range(0, CAPTIONS, BATCH):
            readers[name]([f"{word(number)} of {number}" for number in range(start, start + BATCH)])
            if start + BATCH in (CAPTIONS // 4, CAPTIONS):
                resident.append(resident_mib())
    with capsys.disabled():
        print(f"\n{name}: {resident[0]:.0f} MiB after {CAPTIONS // 4} captions, {resident[1]:.0f} after {CAPTIONS}")
    assert resident[1] - resident[0] < 12, "150,000 captions more"
