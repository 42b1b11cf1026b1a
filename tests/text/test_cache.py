"""Captions are encoded once; what comes from the cache is what would have been encoded."""

import hashlib
import warnings

import pytest
import torch

from t2igan.errors import UserError
from t2igan.text import cache
from t2igan.text.cache import CaptionEncoder, RowCache, default_cache
from t2igan.text.encoder import TextEncoder
from t2igan.types import TextDescriptors, Tokens


class Letters(TextEncoder):
    """One token per letter; counts what it is asked for."""

    def __init__(self, weights: int = 0):
        super().__init__(token_dim=3, text_dim=5, max_tokens=6)
        self.weights, self.asked = weights, []

    def load_pretrained(self) -> None:
        pass

    def fingerprint(self) -> str:
        return hashlib.sha256(str(self.weights).encode()).hexdigest()

    def count_parameters(self) -> int:
        return 0

    def tokenize(self, prompts: list[str]) -> Tokens:
        self.asked += prompts
        ids = torch.zeros(len(prompts), 6, dtype=torch.long)
        for row, prompt in zip(ids, prompts, strict=True):
            row[: len(prompt)] = torch.tensor([ord(letter) + 70_000 for letter in prompt[:6]])  # more than 16 bits
        return Tokens(ids, ids > 0)

    def truncated_prompt(self, prompt: str) -> str:
        return prompt[:6]

    def forward(self, tokens: Tokens) -> TextDescriptors:
        local = (tokens.ids[..., None] % 100 + torch.arange(3) + self.weights) / 7
        return TextDescriptors(local, local.sum(1).repeat(1, 2)[:, :5], tokens)


def equal(a: TextDescriptors, b: TextDescriptors) -> bool:
    pairs = ((a.local, b.local), (a.pooled, b.pooled), (a.source.ids, b.source.ids), (a.source.mask, b.source.mask))
    return all(torch.equal(x, y) for x, y in pairs)


def test_features_are_the_encoders_rounded_to_half_precision_and_zero_on_padding():
    encoder = Letters()
    text = CaptionEncoder(encoder)(["cat", "a"])
    direct = encoder(encoder.tokenize(["cat", "a"]))
    mask = direct.source.mask
    assert torch.equal(text.source.mask, mask)
    assert torch.equal(text.source.ids, direct.source.ids)
    assert torch.equal(text.local[mask], direct.local[mask].half().float())
    assert torch.equal(text.pooled, direct.pooled.half().float())
    assert not text.local[~mask].any()
    assert text.local.dtype == torch.float32


def test_order_and_duplicates_are_kept_and_each_caption_is_encoded_once():
    encoder = Letters()
    describe = CaptionEncoder(encoder)
    text = describe(["cat", "a", "cat", "bus", "a"])
    assert encoder.asked == ["cat", "a", "bus"]
    for i, prompt in enumerate(["cat", "a", "cat", "bus", "a"]):
        assert equal(text[i : i + 1], describe([prompt]))
    assert encoder.asked == ["cat", "a", "bus"]


def test_a_hit_on_disk_gives_equal_features_without_the_encoder(tmp_path):
    first = CaptionEncoder(Letters(), tmp_path)(["cat", "a", "sixsix"])
    again = Letters()
    second = CaptionEncoder(again, tmp_path)(["cat", "a", "sixsix"])
    assert again.asked == []
    assert equal(first, second)
    CaptionEncoder(again, tmp_path)(["cat", "new"])
    assert again.asked == ["new"]


def test_other_weights_use_another_file(tmp_path):
    first = CaptionEncoder(Letters(), tmp_path)(["cat"])
    second = CaptionEncoder(Letters(weights=1), tmp_path)(["cat"])
    assert len(list(tmp_path.glob("*.sqlite"))) == 2
    assert not equal(first, second)


def test_more_captions_than_one_query_and_one_batch_hold(tmp_path):
    prompts = [f"{i:x}" for i in range(1200)]
    first = CaptionEncoder(Letters(), tmp_path)(prompts)
    again = Letters()
    assert equal(CaptionEncoder(again, tmp_path)(prompts), first)
    assert again.asked == []


def test_a_full_memory_is_emptied_without_losing_what_is_asked_for(monkeypatch, tmp_path):
    monkeypatch.setattr(cache, "MEMORY_BYTES", 60)  # two or three one-letter prompts of 8 + 6 + 10 bytes
    describe, fresh = CaptionEncoder(Letters(), tmp_path), CaptionEncoder(Letters())
    for prompts in (["a", "b"], ["a", "c", "d"], ["b", "c", "e", "f", "g"]):
        assert equal(describe(prompts), fresh(prompts))
        assert len(describe.memory) <= 3 + len(prompts)
    assert "a" not in describe.memory


def test_rows_survive_awkward_keys_and_two_writers(tmp_path):
    a, b = RowCache(tmp_path, "f"), RowCache(tmp_path, "f")
    a.write({'it\'s "quoted", ünïcode 🫠\n': b"1", "": b"2"})
    b.write({"": b"3", "new": b""})
    assert a.read(["", "new", 'it\'s "quoted", ünïcode 🫠\n', "absent"]) == {'it\'s "quoted", ünïcode 🫠\n': b"1", "": b"2", "new": b""}


@pytest.mark.parametrize("weights", ["embeddings.word_embeddings.weight", "encoder.layer.1.output.dense.bias"])
def test_the_fingerprint_of_a_real_encoder_depends_on_its_weights(weights, bert_folder):
    from t2igan.text import TransformersText

    encoder, other = TransformersText(str(bert_folder), 32, 8), TransformersText(str(bert_folder), 32, 8)
    encoder.load_pretrained()
    other.load_pretrained()
    assert encoder.fingerprint() == other.fingerprint()
    other.tower.state_dict()[weights].add_(1e-3)
    assert encoder.fingerprint() != other.fingerprint()
    assert encoder.fingerprint() != TransformersText.fingerprint(_like(encoder, layer=-2))


def _like(encoder, **changes):
    from t2igan.text import TransformersText

    copy = TransformersText(encoder.model, encoder.token_dim, encoder.max_tokens, **changes)
    copy.tower = encoder.tower
    return copy


def test_where_the_cache_lies_by_default(monkeypatch, tmp_path):
    monkeypatch.setenv("T2IGAN_CACHE", str(tmp_path))
    assert default_cache() == tmp_path
    monkeypatch.delenv("T2IGAN_CACHE")
    assert default_cache().parts[-2:] == (".cache", "t2igan")


def test_every_cut_prompt_is_told_also_when_its_features_are_in_the_cache(tmp_path):
    for _ in range(2):
        with pytest.warns(UserWarning) as caught:
            CaptionEncoder(Letters(), tmp_path)(["elephants", "cat", "abcdef", "crocodile"])
        assert [str(warning.message) for warning in caught] == [
            "prompt cut after 6 tokens: 'elepha' | not read: 'nts'",
            "prompt cut after 6 tokens: 'crocod' | not read: 'ile'",
        ]


@pytest.mark.parametrize("told", [0, 1])
def test_in_training_one_warning_is_enough(told):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        describe = CaptionEncoder(Letters(), max_truncation_warnings=told)
        describe(["elephants"])
        describe(["crocodile"])
    assert len(caught) == told


def test_a_cache_that_cannot_be_opened_is_one_clear_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="set T2IGAN_CACHE"):
        RowCache(tmp_path / "file", "a" * 32)
    (tmp_path / f"{'b' * 32}.sqlite").write_bytes(b"no database" * 100)
    with pytest.raises(UserError, match="set T2IGAN_CACHE"):
        RowCache(tmp_path, "b" * 32)
