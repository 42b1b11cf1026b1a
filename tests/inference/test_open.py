"""One function opens every model, and each class refuses the other kind."""

from unittest import mock

import pytest
import torch
from tiny import generator_of, tiny_upsampler

from t2igan.config import Recipe
from t2igan.errors import UserError
from t2igan.inference import open as opening
from t2igan.inference.device import default_device
from t2igan.inference.model_folder import save_model
from t2igan.inference.open import open_model
from t2igan.inference.pipeline import Pipeline
from t2igan.inference.upsampler import Upsampler
from t2igan.recipe import parse

pytest_plugins = ["kit"]


@pytest.fixture(scope="module")
def upsampler_folder(kit, tmp_path_factory):
    recipe, folder = parse(Recipe, tiny_upsampler(kit), ""), tmp_path_factory.mktemp("upsampler")
    save_model(folder / "model", generator_of(recipe), recipe, {})
    return folder


def test_open_model_gives_the_class_that_runs_the_model(folder, upsampler_folder):
    pipeline, upsampler = open_model(folder, "cpu"), open_model(str(upsampler_folder / "model"), "cpu")
    assert type(pipeline) is Pipeline and pipeline.resolution == 16
    assert type(upsampler) is Upsampler and (upsampler.low_resolution, upsampler.factor, upsampler.resolution) == (8, 2, 16)


def test_open_model_reads_the_config_once(folder, monkeypatch):
    read = mock.Mock(wraps=opening.read_config)
    monkeypatch.setattr(opening, "read_config", read)
    monkeypatch.setattr("t2igan.inference.pipeline.read_config", read)
    monkeypatch.setattr("t2igan.inference.model_folder.read_config", read)
    open_model(folder, "cpu")
    assert read.call_count == 1


def test_each_class_refuses_the_other_kind(folder, upsampler_folder):
    with pytest.raises(UserError, match=r"is an upsampler, which starts from images; use `t2igan upsample`"):
        Pipeline.load(upsampler_folder)
    with pytest.raises(UserError, match=r"is not an upsampler, it starts from prompts alone; use `t2igan sample`"):
        Upsampler.load(folder)


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(UserError, match="is not a run folder"):
        open_model(tmp_path)


@pytest.mark.parametrize(("available", "kind"), [(True, "cuda"), (False, "cpu")])
def test_the_default_device_is_cuda_where_there_is_one(available, kind):
    with mock.patch("torch.cuda.is_available", return_value=available):
        assert default_device() == torch.device(kind)


def test_a_model_is_loaded_on_the_default_device(folder):
    with mock.patch("t2igan.inference.pipeline.default_device", return_value=torch.device("cpu")) as default:
        assert open_model(folder).device.type == "cpu" and default.call_count == 1
        open_model(folder, "cpu")
        assert default.call_count == 1
