"""The papers' diagnostics, from a run folder to numbers and a picture, with text and without."""

import json

import pytest
import torch
from PIL import Image
from tiny import growing_recipe, stylegan2_recipe

from t2igan.config import Recipe
from t2igan.data.shards import Record
from t2igan.data.write import Sample, write_shards
from t2igan.evaluation import image_statistics as statistics
from t2igan.evaluation.curve import curve_svg
from t2igan.evaluation.noise import with_noise
from t2igan.evaluation.separability import has_attribute
from t2igan.evaluation.style_mixing import mixed
from t2igan.inference.model_folder import save_model
from t2igan.inference.pipeline import Pipeline
from t2igan.metrics.images import ImageSet
from t2igan.recipe import parse
from t2igan.system import build_system

pytest_plugins = ["kit"]
ALIAS_FREE = {"kind": "stylegan3", "layers": 6, "channel_base": 512, "channel_max": 16, "equivariance": "rotation"}
UNCONDITIONAL = {"text": {"kind": "none"}, "generator__adapter": None, "discriminator__adapter": None, "training__prompts": []}


@pytest.fixture(scope="module")
def runs(kit, tmp_path_factory):
    """StyleGAN2 with text and without, ProGAN, whose one style is its latent and which has no noise, and StyleGAN3; random weights."""
    recipes = {"text": stylegan2_recipe(kit), "plain": stylegan2_recipe(kit, **UNCONDITIONAL), "progan": growing_recipe(kit)}
    recipes["waves"] = stylegan2_recipe(kit, generator__synthesis=ALIAS_FREE)
    folders = {}
    for name, recipe in recipes.items():
        recipe = parse(Recipe, recipe, "")
        torch.manual_seed(0)
        generator = build_system(recipe).generator
        with torch.no_grad():
            for parameter in generator.parameters():
                parameter.add_(0.3 * torch.randn_like(parameter))
        folders[name] = tmp_path_factory.mktemp(name)
        save_model(folders[name] / "model", generator, recipe, {})
    return folders


@pytest.fixture
def result(script, runs, tmp_path, capsys):
    """result("noise", "text", "--realisations", 4) -> the numbers and the picture; a name of a run stands for its folder."""

    def run(name, model, *words):
        prompts = ["--prompts", tmp_path / "prompts.txt"] if model != "plain" and name in ("style_mixing", "noise", "equivariance") else []
        (tmp_path / "prompts.txt").write_text("thing 1\nnumber 4\n")
        out = tmp_path / f"{model}_{name}.json"
        code = script(name, "--model", runs[model], *prompts, *words, "--out", out)
        if code:
            return capsys.readouterr().err
        return json.loads(out.read_text()), Image.open(out.with_suffix(".png"))

    return run


@pytest.mark.parametrize("model", ["text", "plain"])
def test_image_statistics(result, model, kit):
    numbers, picture = result("image_statistics", model, "--data", kit.shards, "--count", 12, "--pairs", 20)
    assert set(numbers["sliced_wasserstein"]) == {"16", "mean"} and numbers["sliced_wasserstein"]["16"] > 0
    assert numbers["sliced_wasserstein_of_halves_of_real"]["mean"] > 0 and picture.size == (12 * (42 + 4) + 4, 2 * (42 + 20))
    assert 0 <= numbers["ms_ssim"]["generated"] <= 1 and 0 < numbers["ms_ssim"]["real"] <= 1
    error = result("image_statistics", model, "--data", kit.shards, "--count", 5000)
    assert "--count is 5000, needs 2 to" in error and "Traceback" not in error


@pytest.mark.parametrize("model", ["text", "plain"])
def test_truncation(result, model, kit, tmp_path):
    words = ["--data", kit.shards, "--clip", f"local-dir:{kit.clip}", "--count", 12]
    numbers, picture = result("truncation", model, *words, "--values", 0, 0.5, 1)
    assert [point["truncation"] for point in numbers["points"]] == [0, 0.5, 1]
    for point in numbers["points"]:
        assert 0 <= point["precision"] <= 1 and 0 <= point["recall"] <= 1 and point["frechet"] >= 0
        assert ("clip_score" in point) is (model == "text")
    assert picture.size[1] == 6 * (64 + 20) and (tmp_path / f"{model}_truncation.svg").read_text().startswith("<svg")
    assert "--values is 1.5, needs numbers from 0" in result("truncation", model, *words, "--values", 1.5)


def test_at_truncation_0_a_prompts_images_are_one(result, kit, tmp_path):
    words = ["--data", kit.shards, "--clip", f"local-dir:{kit.clip}", "--count", 12, "--values", 0, 1]
    numbers, _ = result("truncation", "plain", *words)
    assert numbers["points"][0]["recall"] == 0 < numbers["points"][1]["frechet"]


def test_separability(result, kit, png, tmp_path):
    colours = ["red" if number % 2 else "blue" for number in range(40)]
    samples = [Sample(f"{i:03}", png(colour), [f"a {colour} thing {i}"], {"odd": bool(i % 2)}) for i, colour in enumerate(colours)]
    write_shards(samples, tmp_path / "labelled", per_shard=40)
    words = ["--data", tmp_path / "labelled", "--clip", f"local-dir:{kit.clip}", "--count", 80]
    numbers, picture = result("separability", "text", *words, "--attributes", "odd=true")
    assert set(numbers["spaces"]) == {"z", "w"} and all(1 <= value <= 2 for value in numbers["spaces"].values())
    facts = numbers["attributes"]["odd=true"]
    assert numbers["spaces"]["z"] == pytest.approx(2 ** facts["entropy_z"]) and 0 < facts["share"] < 1
    assert picture.size[0] == 10 * (64 + 4) + 4 and facts["classifier_accuracy"] == 1
    few = ["--data", tmp_path / "labelled", "--clip", f"local-dir:{kit.clip}", "--count", 60]
    assert "30 latents of 16 dimensions, which are separated whatever" in result("separability", "text", *few, "--attributes", "odd=true")
    assert "attribute 'green': 0 images have it" in result("separability", "text", *words, "--attributes", "green")


def test_a_model_without_text_needs_no_captions(result, kit, png, tmp_path):
    colours = ["red" if number % 2 else "blue" for number in range(40)]
    write_shards([Sample(f"{i:03}", png(colour), [""], {"odd": bool(i % 2)}) for i, colour in enumerate(colours)], tmp_path / "bare")
    words = ["--data", tmp_path / "bare", "--clip", f"local-dir:{kit.clip}", "--count", 80]
    error = result("separability", "plain", *words, "--attributes", "odd=true")
    assert "of the generated images: all labels are equal" in error, "images have labels, and none of random weights has the other one"
    numbers, _ = result("nearest_neighbors", "plain", *words, "--held-out", tmp_path / "bare")
    assert numbers["distance"]["held_out_to_training_mean"] < 1e-3 < numbers["distance"]["generated_to_training_least"]


def test_real_images_are_an_even_sample_and_generated_ones_are_rounded(runs, kit, monkeypatch):
    read, seen = ImageSet.read, []
    monkeypatch.setattr(ImageSet, "read", lambda self, numbers: seen.extend(numbers) or read(self, numbers))
    pipeline, drawn = Pipeline.load(runs["plain"], "cpu"), []
    levels = statistics.levels_of
    monkeypatch.setattr(statistics, "levels_of", lambda reader, rows: drawn.append(reader(list(rows))) or levels(reader, rows))
    statistics.image_statistics(pipeline, str(kit.shards), 12, 4)
    assert len(set(seen)) == 12 and max(seen) > 12, "not the first ones"
    steps = (drawn[0] + 1) * 127.5
    assert (steps - steps.round()).abs().max() < 1e-4 and drawn[0].abs().max() <= 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--out", "near.png"], "--out is near.png, needs a name that ends in .json"),
        (["--out", "folder.json"], "--out needs a file, folder.json is a folder"),
        (["--out", "x.json", "--truncation", "70"], "--truncation is 70.0, needs a number from 0"),
    ],
)
def test_what_cannot_be_written_is_refused_before_the_work(words, said, script, runs, kit, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.json").mkdir()
    assert script("image_statistics", "--model", runs["plain"], "--data", kit.shards, *words) == 2
    assert said in capsys.readouterr().err


def test_an_attribute_is_a_field_or_a_word():
    record = Record(b"", ["a Red heart"], {"smiling": True, "style": "twemoji", "count": 3})
    assert all(has_attribute(record, name) for name in ("smiling=true", "style=Twemoji", "count=3", "red", "heart"))
    assert not any(has_attribute(record, name) for name in ("smiling=false", "style=x", "hear", "missing=x"))


@pytest.mark.parametrize("model", ["text", "plain"])
def test_style_mixing(result, model):
    numbers, picture = result("style_mixing", model, "--sources", "0-2", "--others", "5-8", "--cuts", 1, 3)
    assert len(numbers["change_by_stage"]) == 6 and all(change > 0 for change in numbers["change_by_stage"])
    assert set(numbers["change_by_group"]) == {"coarse", "middle", "fine"} and numbers["pairs"] == 12
    assert picture.size == (5 * (64 + 4) + 4, 7 * (64 + 20)) if model == "plain" else picture.size[1] == 7 * (64 + 20)
    assert "--cuts is 3 1, needs two rising numbers" in result("style_mixing", model, "--cuts", 3, 1)


def test_styles_of_a_range_come_from_the_other(runs):
    pipeline = Pipeline.load(runs["plain"], "cpu")
    a, b = (pipeline.map_prompts([""], [seed]) for seed in (0, 1))
    found = mixed(a, b, 2, 4).styles
    assert found[:, 2:4].equal(b.styles[:, 2:4]) and found[:, :2].equal(a.styles[:, :2]) and found[:, 4:].equal(a.styles[:, 4:])


@pytest.mark.parametrize("model", ["text", "plain"])
def test_noise(result, model):
    numbers, picture = result("noise", model, "--realisations", 12)
    deviation = numbers["deviation"]
    assert deviation["all"] > max(deviation["coarse"], deviation["fine"]) > 0
    assert (numbers["coarse"], numbers["fine"], numbers["prompts"]) == ("4 to 4 px", "8 to 16 px", 1 if model == "plain" else 2)
    assert picture.size[1] == numbers["prompts"] * (64 + 20)


def test_noise_of_no_side_is_none_and_of_some_sides_is_only_theirs(runs):
    pipeline = Pipeline.load(runs["plain"], "cpu")
    codes = pipeline.map_prompts([""], [0])
    still = with_noise(pipeline, codes, (), range(2))
    assert still[0].equal(still[1])
    for layer in (layer for stage in pipeline.generator.synthesis.stages for layer in (stage.up, stage.conv) if layer is not None):
        if layer.side == 8:
            layer.noise_strength.data.zero_()
    assert with_noise(pipeline, codes, (8,), range(1)).equal(with_noise(pipeline, codes, (), range(1)))
    assert not with_noise(pipeline, codes, (4,), range(1)).equal(with_noise(pipeline, codes, (), range(1)))


def test_equivariance(result):
    numbers, picture = result("equivariance", "waves", "--count", 10, "--batch", 4)
    assert numbers["eq_t"] > 40 and numbers["eq_t_frac"] > 30 and numbers["eq_r"] > 20
    assert (numbers["pictures"], numbers["unit"]) == (10, "dB") and picture.size[1] == 3 * (64 + 20)
    assert "starts from a grid, not from Fourier features" in result("equivariance", "text")


def test_a_model_without_the_part_is_refused_in_one_line(result):
    assert result("noise", "progan") == "error: this model adds no noise to its maps\n"
    assert result("style_mixing", "progan").startswith("error: the model has 1 style(s)")


def test_a_curve_names_its_axes_and_escapes_labels():
    drawn = curve_svg([(0.1, 0.5, "a<b"), (0.3, 0.2, "2")], "recall", "precision")
    assert "a&lt;b" in drawn and "recall" in drawn and "precision" in drawn and drawn.count("<circle") == 2
    assert "nan" not in curve_svg([(1.0, 1.0, "x"), (1.0, 1.0, "y")], "a", "b")
