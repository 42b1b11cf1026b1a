"""Captions are encoded once; features from the cache equal those of the encoder."""

import contextlib
import hashlib
import sqlite3
import warnings
from dataclasses import replace

import pytest
import torch

from t2igan.text import TransformersTextConfig, cache
from t2igan.text.cache import CaptionEncoder, RowCache, default_cache
from t2igan.text.encoder import TextEncoder
from t2igan.text.fingerprint import weights_fingerprint
from t2igan.types import TextDescriptors, Tokens


class Letters(TextEncoder):
    """One token per letter; records the prompts that it tokenizes."""

    def __init__(self, weights: int = 0):
        super().__init__(token_dim=3, text_dim=5, max_tokens=6)
        self.weights, self.tokenized = weights, []

    def load_pretrained(self) -> None:
        pass

    def fingerprint(self) -> str:
        return hashlib.sha256(str(self.weights).encode()).hexdigest()

    def count_parameters(self) -> int:
        return 0

    def tokenize(self, prompts: list[str]) -> Tokens:
        self.tokenized += prompts
        ids = torch.zeros(len(prompts), 6, dtype=torch.long)
        for row, prompt in zip(ids, prompts, strict=True):
            row[: len(prompt)] = torch.tensor([ord(letter) + 70_000 for letter in prompt[:6]])  # more than 16 bits
        return Tokens(ids, ids > 0)

    def truncated_prompt(self, prompt: str) -> str:
        return prompt[:6]

    def describe(self, tokens: Tokens) -> TextDescriptors:
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
    assert encoder.tokenized == ["cat", "a", "bus"]
    for i, prompt in enumerate(["cat", "a", "cat", "bus", "a"]):
        assert equal(text[i : i + 1], describe([prompt]))
    assert encoder.tokenized == ["cat", "a", "bus"]


def test_a_hit_on_disk_gives_equal_features_without_the_encoder(tmp_path):
    first = CaptionEncoder(Letters(), tmp_path)(["cat", "a", "sixsix"])
    again = Letters()
    second = CaptionEncoder(again, tmp_path)(["cat", "a", "sixsix"])
    assert again.tokenized == []
    assert equal(first, second)
    CaptionEncoder(again, tmp_path)(["cat", "new"])
    assert again.tokenized == ["new"]


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
    assert again.tokenized == []


def test_a_full_memory_is_emptied_without_losing_the_prompts_at_hand(monkeypatch, tmp_path):
    monkeypatch.setattr(cache, "MEMORY_BYTES", 60)  # two or three one-letter prompts of 8 + 6 + 10 bytes
    describe, fresh = CaptionEncoder(Letters(), tmp_path), CaptionEncoder(Letters())
    for prompts in (["a", "b"], ["a", "c", "d"], ["b", "c", "e", "f", "g"]):
        assert equal(describe(prompts), fresh(prompts))
        assert len(describe.cache.rows) <= 3 + len(prompts)
    assert "a" not in describe.cache.rows


def test_rows_survive_awkward_keys_and_two_writers(tmp_path):
    a, b = RowCache(tmp_path, "f"), RowCache(tmp_path, "f")
    a.write({'it\'s "quoted", ünïcode 🫠\n': b"1", "": b"2"})
    b.write({"": b"3", "new": b""})
    assert a.read(["", "new", 'it\'s "quoted", ünïcode 🫠\n', "absent"]) == {'it\'s "quoted", ünïcode 🫠\n': b"1", "": b"2", "new": b""}


@pytest.mark.parametrize("weights", ["embeddings.word_embeddings.weight", "encoder.layer.1.output.dense.bias"])
def test_the_fingerprint_of_a_real_encoder_depends_on_its_weights(weights, bert_folder):
    config = TransformersTextConfig(str(bert_folder), 32, 8)
    encoder, other = config.build(), config.build()
    encoder.load_pretrained()
    other.load_pretrained()
    assert encoder.fingerprint() == other.fingerprint()
    other.tower.state_dict()[weights].add_(1e-3)
    assert encoder.fingerprint() != other.fingerprint()
    before_last = replace(config, layer=-2).build()
    before_last.tower = encoder.tower
    assert encoder.fingerprint() != before_last.fingerprint()


def test_the_fingerprint_keeps_its_value():
    """Users' caches are named by it, so another value would orphan them."""
    digest = "82670fb74c1942f679600cbe34fb2ebe476def48bc18b7d521326098ff485d29"
    network = torch.nn.Linear(3000, 2)
    with torch.no_grad():
        network.weight.copy_(torch.arange(6000.0).view(2, 3000) / 7)
        network.bias.zero_()
    assert weights_fingerprint("header", network) == digest
    assert weights_fingerprint("header", network.half()) != digest, "rounded weights are other weights"
    assert weights_fingerprint("other header", network.float()) != digest


def test_where_the_cache_lies_by_default(monkeypatch, tmp_path):
    monkeypatch.setenv("T2IGAN_CACHE", str(tmp_path))
    assert default_cache() == tmp_path
    monkeypatch.delenv("T2IGAN_CACHE")
    assert default_cache().parts[-2:] == (".cache", "t2igan")


def test_every_truncated_prompt_is_warned_about_also_when_its_features_are_on_disk(tmp_path):
    for _ in range(2):
        with pytest.warns(UserWarning) as caught:
            CaptionEncoder(Letters(), tmp_path)(["elephants", "cat", "abcdef", "crocodile"])
        assert [str(warning.message) for warning in caught] == [
            "prompt cut after 6 tokens: 'elepha' | not read: 'nts'",
            "prompt cut after 6 tokens: 'crocod' | not read: 'ile'",
        ]


@pytest.mark.parametrize("most", [0, 1])
def test_the_number_of_truncation_warnings_is_bounded(most):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        describe = CaptionEncoder(Letters(), max_truncation_warnings=most)
        describe(["elephants"])
        describe(["crocodile"])
    assert len(caught) == most


@pytest.mark.parametrize("broken", ["a file in the folder's place", "no database", "a full disk"])
def test_a_cache_that_cannot_be_opened_is_one_warning_and_the_run_goes_on(broken, tmp_path, full_disk):
    """Nothing needs it to draw or to train."""
    encoder, folder = Letters(), tmp_path / "cache"
    if broken == "no database":
        folder.mkdir()
        (folder / f"{encoder.fingerprint()[:32]}.sqlite").write_bytes(b"no database" * 100)
    elif broken != "a full disk":
        folder.write_text("")
    disk = full_disk(100) if broken == "a full disk" else contextlib.nullcontext()
    with disk, pytest.warns(UserWarning, match="going on without it: remove the file, or set T2IGAN_CACHE") as caught:
        describe = CaptionEncoder(encoder, folder)
        assert equal(describe(["cat"]), CaptionEncoder(Letters())(["cat"]))
        describe(["bus"])
    assert len(caught) == 1


def test_a_cut_row_is_encoded_again_and_mended(tmp_path):
    CaptionEncoder(Letters(), tmp_path)(["cat", "bus"])
    with sqlite3.connect(next(tmp_path.glob("*.sqlite"))) as database:
        database.execute("UPDATE rows SET value = substr(value, 1, 7) WHERE key = 'cat'")
    encoder = Letters()
    assert equal(CaptionEncoder(encoder, tmp_path)(["cat", "bus"]), CaptionEncoder(Letters())(["cat", "bus"]))
    assert encoder.tokenized == ["cat"]
    again = Letters()
    CaptionEncoder(again, tmp_path)(["cat"])
    assert again.tokenized == []


def test_a_disk_that_fails_in_use_is_one_warning_and_the_run_goes_on(tmp_path, monkeypatch):
    encoder = Letters()
    describe = CaptionEncoder(encoder, tmp_path)
    expected = describe(["cat"])

    def full(*arguments, **options):
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(sqlite3, "connect", full)
    with pytest.warns(UserWarning, match="database or disk is full.*going on without it") as caught:
        assert equal(describe(["a", "cat"])[1:], expected)
        describe(["bus"])
    assert len(caught) == 1
    monkeypatch.undo()
    describe(["rose"])
    assert RowCache(tmp_path, encoder.fingerprint()).read(["cat", "a", "bus", "rose"]).keys() == {"cat"}


def test_a_broken_file_is_read_as_empty_after_one_warning(tmp_path):
    describe = CaptionEncoder(Letters(), tmp_path)
    describe.cache.disk.file.write_bytes(b"no database" * 1000)
    with pytest.warns(UserWarning, match="going on without it"):
        text = describe(["cat"])
    assert equal(text, CaptionEncoder(Letters())(["cat"]))
