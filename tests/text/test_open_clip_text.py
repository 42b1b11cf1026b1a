"""CLIP text towers through open_clip."""

import shutil
import warnings

import open_clip
import pytest
import torch

from t2igan.errors import UserError
from t2igan.text.cache import CaptionEncoder
from t2igan.text.open_clip import OpenClipText, OpenClipTextConfig


@pytest.fixture(scope="module")
def encoder(open_clip_folder) -> OpenClipText:
    encoder = OpenClipTextConfig(f"local-dir:{open_clip_folder}", token_dim=32, text_dim=24, max_tokens=16).build()
    encoder.load_pretrained()
    return encoder


def test_the_mask_ends_with_the_true_end_of_text(encoder):
    tokens = encoder.tokenize(["a red heart", "cat", ""])
    assert tokens.mask.sum(1).tolist() == [5, 3, 2]
    ends = tokens.ids[torch.arange(3), tokens.mask.sum(1) - 1]
    assert (ends == encoder.tokenizer.eot_token_id).all()
    assert not tokens.ids[~tokens.mask].any()


def test_features_are_those_of_open_clip_itself(encoder, open_clip_folder):
    clip = open_clip.create_model(f"local-dir:{open_clip_folder}").eval()
    tokens = encoder.tokenize(["a red heart", "cat"])
    text = encoder(tokens)
    with torch.no_grad():
        assert torch.allclose(text.pooled, clip.encode_text(tokens.ids), atol=1e-4)
    assert (text.local.shape, text.pooled.shape) == ((2, 16, 32), (2, 24))
    assert not text.pooled.requires_grad


def test_local_descriptors_are_the_penultimate_blocks_states(encoder):
    kept, blocks = {}, encoder.tower.transformer.resblocks
    handles = [block.register_forward_hook(lambda m, i, o, n=n: kept.update({n: o})) for n, block in enumerate(blocks)]
    text = encoder(encoder.tokenize(["a red heart"]))
    for handle in handles:
        handle.remove()
    states = kept[1] if kept[1].shape[0] == 1 else kept[1].transpose(0, 1)
    assert torch.allclose(text.local, states, atol=1e-6)
    assert not torch.allclose(text.local, kept[2].reshape(states.shape), atol=1e-3)


def test_padding_does_not_reach_the_features(encoder):
    """CLIP's tower is causal, so what stands behind the end token cannot matter."""
    tokens = encoder.tokenize(["cat"])
    dirty = tokens.ids.clone()
    dirty[~tokens.mask] = 300
    assert torch.allclose(encoder(type(tokens)(dirty, tokens.mask)).local[tokens.mask], encoder(tokens).local[tokens.mask], atol=1e-6)


@pytest.mark.parametrize("name", ["ViT-L-14", "ViT-L-14-quickgelu", "ViT-B-32"])
def test_the_tower_is_counted_once_as_open_clip_builds_it(name):
    config = open_clip.get_model_config(name)
    with torch.device("meta"):
        tower = open_clip.model._build_text_tower(config["embed_dim"], config["text_cfg"])
    built = sum(parameter.numel() for parameter in tower.parameters())
    assert OpenClipTextConfig(name, 768, 768).build().count_parameters() == built
    if name.startswith("ViT-L-14"):
        assert built == 123_650_304


def test_counting_what_is_not_here():
    assert OpenClipTextConfig("no-such-model", 8, 8).build().count_parameters() is None


PROMPT = "a, red; (blue) heart! and a cat, and a bus, and a rose in the garden, all day long"


def test_a_long_prompt_is_cut_with_one_warning_that_shows_where(encoder):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        CaptionEncoder(encoder)(["short", PROMPT])
    (message,) = [str(warning.message) for warning in caught]
    kept = message.split("'")[1]
    assert PROMPT.startswith(kept)
    assert "16 tokens" in message
    assert PROMPT[len(kept) :].strip()[:60] in message.split("not read: ")[1]
    assert encoder.truncated_prompt(kept) == kept, "what the warning shows fits"
    assert torch.equal(encoder.tokenize([kept]).ids, encoder.tokenize([PROMPT]).ids), "what the warning shows is what was read"


def test_a_prompt_that_just_fits_is_not_cut(encoder):
    """Its last word is a single token, its beginnings are several."""
    prompt = "cat " * 13 + "strawberry"
    assert len(encoder.tokenizer.encode(prompt)) == 14 < len(encoder.tokenizer.encode(prompt[:-2]))
    assert encoder.truncated_prompt(prompt) == prompt


@pytest.mark.parametrize(
    ("model", "pretrained", "advice"),
    [
        ("no-such-model", None, "give a name such as ViT-L-14"),
        ("ViT-B-32", None, "add pretrained"),
        ("ViT-B-32-quickgelu", "openai", "give local-dir:FOLDER"),
        ("ViT-B-32", "openai", "the model is ViT-B-32-quickgelu"),
        ("ViT-B-32", "no-such-tag", "give local-dir:FOLDER"),
        ("local-dir:/nowhere/at/all", None, "open_clip_config.json"),
        ("hf-hub:some-org/some-clip", None, "give local-dir:FOLDER"),
        ("local-dir:package:no_such_clip/model", None, "pip install"),
    ],
)
def test_missing_weights_say_what_to_do(model, pretrained, advice):
    with pytest.raises(UserError) as caught:
        OpenClipTextConfig(model, 512, 512, pretrained=pretrained).build().load_pretrained()
    assert advice in str(caught.value)
    assert "\n" not in str(caught.value)


def test_broken_weights_are_one_clear_line(open_clip_folder, tmp_path):
    folder = shutil.copytree(open_clip_folder, tmp_path / "broken")
    (folder / "open_clip_model.safetensors").write_bytes(b"no weights")
    with pytest.raises(UserError, match="no CLIP weights"):
        OpenClipTextConfig(f"local-dir:{folder}", 32, 24, 16).build().load_pretrained()


OTHER_SIZES = [((48, 24, 16), "give 32 and 24"), ((32, 32, 16), "give 32 and 24"), ((32, 24, 77), "reads 16")]


@pytest.mark.parametrize(("sizes", "what"), OTHER_SIZES)
def test_sizes_that_differ_from_the_recipe_are_named(sizes, what, open_clip_folder):
    with pytest.raises(UserError, match=what):
        OpenClipTextConfig(f"local-dir:{open_clip_folder}", *sizes).build().load_pretrained()


def test_a_tokenizer_forgets_words_and_reads_them_the_same(encoder, monkeypatch):
    """open_clip's own keeps every word that it met."""
    monkeypatch.setattr("t2igan.text.open_clip.MAX_WORDS", 50)
    captions = [f"{letter * 3} {other * 2}<end_of_text>" for letter in "abcdefghij" for other in "klmnopqrst"]
    own = open_clip.get_tokenizer("ViT-B-32")
    assert encoder.tokenizer(captions).equal(own(captions, context_length=encoder.tokenizer.context_length))
    assert len(encoder.tokenizer.cache) <= 50
