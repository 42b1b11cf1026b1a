"""Images and captions in one CLIP's space."""

import open_clip
import pytest
import torch
import torch.nn.functional as F

from t2igan.errors import UserError
from t2igan.features.open_clip import ClipScorer
from t2igan.text import cache


@pytest.fixture
def scorer(open_clip_folder, tmp_path):
    scorer = ClipScorer(f"local-dir:{open_clip_folder}", cache=tmp_path)
    scorer.load_pretrained()
    return scorer


def test_embeddings_are_those_of_open_clip_itself(scorer, open_clip_folder):
    clip, _, _ = open_clip.create_model_and_transforms(f"local-dir:{open_clip_folder}")
    clip.eval()
    images = torch.rand(2, 3, 32, 32) * 2 - 1
    normalised = (images / 2 + 0.5 - 0.5) / 0.5  # this CLIP's mean and deviation
    with torch.no_grad():
        assert torch.allclose(scorer.images(images), F.normalize(clip.encode_image(normalised), dim=1), atol=1e-5)
        tokens = open_clip.get_tokenizer(f"local-dir:{open_clip_folder}")(["a cat", "a red heart"])
        assert torch.allclose(scorer.text(["a cat", "a red heart"]), F.normalize(clip.encode_text(tokens), dim=1), atol=1e-5)
    assert scorer.logit_scale == pytest.approx(clip.logit_scale.exp().item())


def test_images_of_any_size_are_resized_and_stay_differentiable(scorer):
    images = (torch.rand(2, 3, 20, 20) - 0.5).requires_grad_()
    embeddings = scorer.images(images)
    assert torch.allclose(embeddings.norm(dim=1), torch.ones(2), atol=1e-5)
    embeddings[:, 0].sum().backward()
    assert images.grad.flatten(1).any(1).all()


def test_each_caption_is_encoded_once_and_kept_on_disk(scorer, open_clip_folder, monkeypatch):
    first = scorer.text(["a cat", "a bus", "a cat"])
    assert torch.equal(first[0], first[2])
    monkeypatch.setattr(scorer.clip, "encode_text", None)
    assert torch.equal(scorer.text(["a bus"]), first[1:2])
    again = ClipScorer(scorer.model, cache=scorer.cache)
    again.load_pretrained()
    monkeypatch.setattr(again.clip, "encode_text", None)
    assert torch.equal(again.text(["a cat", "a bus", "a cat"]), first)


def test_memory_of_captions_is_bounded(scorer, monkeypatch):
    monkeypatch.setattr(cache, "MEMORY_BYTES", 3 * 24 * 4)  # three embeddings of width 24
    fresh = ClipScorer(scorer.model)
    fresh.load_pretrained()
    for start in range(0, 60, 5):
        captions = [f"caption {number}" for number in range(start, start + 5)]
        assert torch.allclose(scorer.text(captions), fresh.text(captions), atol=1e-6)
        assert len(scorer.captions.rows) <= 3 + 5
    monkeypatch.setattr(scorer.clip, "encode_text", None)
    assert scorer.text(["caption 0"]).norm().item() == pytest.approx(1, abs=1e-5), "what memory lost is on disk"


def test_remembered_embeddings_are_not_encoded(scorer, monkeypatch):
    known = F.normalize(torch.randn(2, 24), dim=1)
    scorer.remember(["x", "y"], known)
    monkeypatch.setattr(scorer.clip, "encode_text", None)
    assert torch.equal(scorer.text(["y", "x"]), known.flip(0))
    again = ClipScorer(scorer.model, cache=scorer.cache)
    again.load_pretrained()
    monkeypatch.setattr(again.clip, "encode_text", None)
    assert torch.equal(again.text(["x", "y"]), known)


def test_a_missing_clip_is_one_clear_line():
    with pytest.raises(UserError, match="local-dir:FOLDER"):
        ClipScorer("local-dir:/nowhere").load_pretrained()
