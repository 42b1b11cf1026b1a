"""A model's way to disk and back."""

import json

import pytest
import torch

from t2igan.errors import UserError
from t2igan.inference.model_folder import save_model
from t2igan.inference.pipeline import Pipeline

pytest_plugins = ["kit"]


@pytest.fixture(scope="module")
def pipeline(folder):
    return Pipeline.load(folder, "cpu")


def test_a_loaded_model_makes_the_same_images(generator, pipeline):
    original = Pipeline(generator.eval(), pipeline.encode_text, 16)
    assert (original.sample_tensor(["thing 1"], [3, 4]) - pipeline.sample_tensor(["thing 1"], [3, 4])).abs().max() < 1e-5


def test_run_folder_and_model_folder_load_alike(folder, pipeline):
    inside = Pipeline.load(folder / "model", "cpu")
    assert torch.equal(inside.sample_tensor(["thing 1"], [3]), pipeline.sample_tensor(["thing 1"], [3])) and inside.resolution == 16


def test_the_folder_holds_config_weights_and_card_and_no_pickle(folder):
    assert sorted(path.name for path in (folder / "model").iterdir()) == ["README.md", "config.json", "model.safetensors"]
    config = json.loads((folder / "model" / "config.json").read_text())
    assert config["name"] == "tiny" and config["resolution"] == 16 and config["text"]["kind"] == "transformers"
    card = (folder / "model" / "README.md").read_text()
    assert "images_seen: 12" in card and "t2igan sample FOLDER" in card and "text: kind transformers, model " in card


def test_a_loaded_model_does_not_train(pipeline):
    assert not pipeline.generator.training and not any(p.requires_grad for p in pipeline.generator.parameters())


def test_saving_again_replaces_the_model(generator, recipe, tmp_path):
    for seen in (1, 2):
        save_model(tmp_path / "model", generator, recipe, {"images_seen": seen})
    assert "images_seen: 2" in (tmp_path / "model" / "README.md").read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(UserError, match=r"is not a run folder; `t2igan train RECIPE\.yaml --out RUN` makes one"):
            Pipeline.load(folder, "cpu")


def test_a_run_that_is_not_finished_says_so(tmp_path):
    (tmp_path / "recipe.yaml").write_text("name: x\n")
    with pytest.raises(UserError, match="no model yet; let its training finish"):
        Pipeline.load(tmp_path, "cpu")


def copy_of(folder, tmp_path):
    (tmp_path / "model").mkdir()
    for file in (folder / "model").iterdir():
        (tmp_path / "model" / file.name).write_bytes(file.read_bytes())
    return tmp_path / "model"


@pytest.mark.parametrize("weights", ["cut", "empty", "missing", "of another model"])
def test_damaged_weights_are_one_clear_error(weights, folder, tmp_path):
    from safetensors.torch import save_file

    model = copy_of(folder, tmp_path)
    file = model / "model.safetensors"
    if weights == "cut":
        file.write_bytes(file.read_bytes()[:-100])
    elif weights == "empty":
        file.write_bytes(b"")
    elif weights == "missing":
        file.unlink()
    else:
        save_file({"weight": torch.zeros(2)}, file)
    with pytest.raises(UserError, match=r"do not load.*train again or get the folder again") as error:
        Pipeline.load(tmp_path, "cpu")
    assert "\n" not in str(error.value)


def test_a_damaged_config_is_one_clear_error(folder, tmp_path):
    model = copy_of(folder, tmp_path)
    (model / "config.json").write_text('{"name": "tiny"')
    with pytest.raises(UserError, match=r"config\.json is not JSON"):
        Pipeline.load(tmp_path, "cpu")


def test_the_config_of_something_else_is_one_clear_error(folder, tmp_path):
    model = copy_of(folder, tmp_path)
    (model / "config.json").write_text('{"architectures": ["BertModel"]}')
    with pytest.raises(UserError, match=r"config\.json is not the config of a t2igan model: unknown key 'architectures'"):
        Pipeline.load(tmp_path, "cpu")


def test_a_missing_text_encoder_is_named(folder, tmp_path):
    model = copy_of(folder, tmp_path)
    config = json.loads((model / "config.json").read_text())
    config["text"]["model"] = str(tmp_path / "gone")
    (model / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match=r"no text encoder at .*gone") as error:
        Pipeline.load(tmp_path, "cpu")
    assert "\n" not in str(error.value)
