"""G's own text tower."""

import pytest
import torch
from tiny import MAX_TOKENS, TEXT_DIM, TOKEN_DIM

from t2igan import text
from t2igan.config import GeneratorConfig
from t2igan.errors import UserError
from t2igan.recipe import parse
from t2igan.text.open_clip import OpenClipTextConfig
from t2igan.text.tower import TextTowerConfig
from t2igan.text.transformers import TransformersTextConfig
from t2igan.types import CheckContext, PrepareContext, TextDims

pytest_plugins = ["kit"]


@pytest.fixture(params=["transformers", "open_clip"])
def config(request, kit):
    if request.param == "transformers":
        return TransformersTextConfig(model=str(kit.bert), token_dim=TOKEN_DIM, max_tokens=MAX_TOKENS)
    return OpenClipTextConfig(model=f"local-dir:{kit.clip}", token_dim=TOKEN_DIM, text_dim=TEXT_DIM, max_tokens=MAX_TOKENS)


def build(config):
    encoder = config.build()
    return encoder, TextTowerConfig().build(TextDims(encoder.token_dim, encoder.text_dim, config))


def test_a_prepared_tower_gives_the_frozen_descriptors_with_gradients(config):
    encoder, tower = build(config)
    encoder.load_pretrained()
    frozen = encoder(encoder.tokenize(["thing 1", "a red apple"]))
    before = tower(frozen)
    assert not torch.allclose(before.pooled, frozen.pooled, atol=1e-3), "random weights until it is prepared"
    tower.prepare(PrepareContext("cpu", list, None))
    tower.train()
    own = tower(frozen)
    assert torch.allclose(own.pooled, frozen.pooled, atol=1e-5) and torch.allclose(own.local, frozen.local, atol=1e-5)
    assert own.source is frozen.source and not frozen.pooled.requires_grad
    (own.pooled.square().sum() + own.local.square().sum()).backward()
    assert all(p.grad is not None for p in tower.parameters())
    assert (tower.dims.token, tower.dims.pooled) == (encoder.token_dim, encoder.text_dim)


def test_without_weights_it_keeps_random_ones_of_the_same_shapes(config):
    _, tower = build(config)
    shapes = {name: p.shape for name, p in tower.named_parameters()}
    tower.prepare(PrepareContext("cpu", list, None, weights=False))
    assert {name: p.shape for name, p in tower.named_parameters()} == shapes
    assert not any("pooler" in name for name in shapes), "what no descriptor goes through"


def test_only_text_with_a_tower_has_one_to_train():
    for context in (CheckContext(16, (16,), token_dim=0), CheckContext(16, (16,), token_dim=4, num_classes=4)):
        with pytest.raises(ValueError, match="kind is tower, and the text of this system has none to train; set the adapter to null"):
            TextTowerConfig().check(context)
    TextTowerConfig().check(CheckContext(16, (16,), token_dim=4))
    with pytest.raises(UserError, match="this kind of text has no tower"):
        text.NoTextConfig().build().load_architecture()


def test_layers_are_the_kind_that_need_not_be_written():
    rest = {"style": {"kind": "stylegan_t"}, "synthesis": {"kind": "stylegan_t"}}
    assert parse(GeneratorConfig, {"adapter": {"depth": 2}, **rest}, "generator").adapter == text.AdapterConfig(depth=2)
    assert parse(GeneratorConfig, {"adapter": {"kind": "tower"}, **rest}, "generator").adapter == TextTowerConfig()
    assert parse(GeneratorConfig, {"adapter": None, **rest}, "generator").adapter is None
    with pytest.raises(UserError, match=r"generator.adapter.kind is 'towr', needs one of layers, tower; did you mean 'tower'\?"):
        parse(GeneratorConfig, {"adapter": {"kind": "towr"}, **rest}, "generator")


def test_towers_that_cannot_be_trained_are_refused(kit, tmp_path):
    from transformers import T5Config, T5EncoderModel

    T5EncoderModel(T5Config(vocab_size=16, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2)).save_pretrained(tmp_path / "t5")
    sizes = {"token_dim": TOKEN_DIM, "max_tokens": MAX_TOKENS}
    for config, message in (
        (TransformersTextConfig(model=str(kit.bert), layer=-2, **sizes), r"is read at its last layer; set text\.layer to -1"),
        (OpenClipTextConfig(model="hf-hub:a/b", text_dim=TEXT_DIM, **sizes), "is in its repository alone; download it and give"),
        (TransformersTextConfig(model=str(tmp_path / "t5"), token_dim=8, max_tokens=4), "share memory, as T5's do; train another"),
    ):
        with pytest.raises(UserError, match=message):
            build(config)
