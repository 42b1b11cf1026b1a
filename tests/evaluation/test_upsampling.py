"""Upsampling and tiles of an upsampler that adds nothing: its numbers are those of bilinear enlargement."""

import json
import shutil
from dataclasses import replace

import pytest
import torch
from PIL import Image
from tiny import generator_of, tiny_upsampler, without_text

from t2igan.config import Recipe
from t2igan.data.images import decode, to_bytes, to_signed
from t2igan.data.shards import Shards
from t2igan.data.write import write_shards
from t2igan.errors import UserError
from t2igan.evaluation.seams import measure_seams
from t2igan.evaluation.upsampling import compare_upsampling, reduced, table
from t2igan.inference.model_folder import save_model
from t2igan.inference.upsampler import Upsampler
from t2igan.layers.resample import resize_bicubic, upsample
from t2igan.metrics.similarity import psnr
from t2igan.recipe import parse
from t2igan.system import build_system

pytest_plugins = ["kit"]


@pytest.fixture(scope="module")
def model(kit, tmp_path_factory):
    folder, recipe = tmp_path_factory.mktemp("run"), parse(Recipe, tiny_upsampler(kit), "")
    generator = build_system(recipe).generator
    with torch.no_grad():
        for side in ("8", "16"):
            generator.synthesis.stages[side].to_rgb.weight.zero_()
    save_model(folder / "model", generator, recipe, {"images_seen": 1})
    return folder


@pytest.fixture(scope="module")
def upsampler(model):
    return Upsampler.load(model)


@pytest.fixture(scope="module")
def real(kit):
    shards = Shards(str(kit.shards))
    return torch.cat([to_signed(decode(shards.read(i).image, 16)[None]) for i in range(len(shards))])


@pytest.mark.parametrize("reduce", ["bicubic", "lanczos"])
def test_scores_of_bilinear_enlargement(upsampler, real, kit, reduce):
    result = compare_upsampling(upsampler, str(kit.shards), reduce).result()
    small = to_bytes(resize_bicubic(real, 8)) if reduce == "bicubic" else torch.cat([reduced(image[None], 8, reduce) for image in real])
    large = to_signed(to_bytes(upsample(to_signed(small))))
    assert result["pictures"] == 23 and result["upsampler"]["psnr"] == pytest.approx(psnr(large, real).mean().item(), abs=0.01)
    for method in ("bicubic", "lanczos"):
        gain = result[f"gain_over_{method}"]
        assert gain["psnr"] == pytest.approx(result["upsampler"]["psnr"] - result[method]["psnr"], abs=1e-9)


def test_groups_have_means_of_their_own(upsampler, kit, samples, tmp_path):
    write_shards([replace(sample, meta={"source": "ab"[i % 3 > 0]}) for i, sample in enumerate(samples[:7])], tmp_path / "two")
    result = compare_upsampling(upsampler, str(tmp_path / "two"), by="source").result()
    a, b = result["groups"]["a"], result["groups"]["b"]
    assert (a["pictures"], b["pictures"]) == (3, 4)
    for method in ("bicubic", "lanczos", "upsampler"):
        assert (3 * a[method] + 4 * b[method]) / 7 == pytest.approx(result[method]["psnr"])
    text = table(result | {"data": "x"})
    assert f"a, 3 images: {a['upsampler']:.2f} dB, over lanczos {a['upsampler'] - a['lanczos']:+.2f}" in text
    with pytest.raises(UserError, match=r"sample 0 of .* has no 'artist' in its \.json; its keys: .*source"):
        compare_upsampling(upsampler, str(tmp_path / "two"), by="artist")


def test_an_upsampler_without_text_needs_no_captions(kit, samples, tmp_path):
    recipe = parse(Recipe, without_text(tiny_upsampler(kit)), "")
    save_model(tmp_path / "plain/model", generator_of(recipe), recipe, {})
    write_shards([replace(sample, captions=[""]) for sample in samples[:3]], tmp_path / "bare")
    found = compare_upsampling(Upsampler.load(tmp_path / "plain"), str(tmp_path / "bare"))
    assert found.result()["pictures"] == 3 and found.captions[0] == "8 px, bicubic, Lanczos, upsampler, true"


def test_a_broken_image_is_named(upsampler, samples, tmp_path):
    write_shards([samples[0], replace(samples[1], image=samples[1].image[:60])], tmp_path / "broken")
    with pytest.raises(UserError, match=r"sample 1 of .*broken is broken .*; make the shards again"):
        compare_upsampling(upsampler, str(tmp_path / "broken"))


def test_one_image_has_no_standard_error(upsampler, samples, tmp_path):
    write_shards(samples[:1], tmp_path / "one")
    with pytest.raises(UserError, match="one holds 1 image; give two or more"):
        compare_upsampling(upsampler, str(tmp_path / "one"))


def test_seams_of_an_upsampler_that_adds_nothing_are_invisible(upsampler, kit):
    found = measure_seams(upsampler, str(kit.shards), 96, 16)
    result = found.result
    assert result["tile"] == 32 and result["overlap"] == 16 and result["tiles"] == 25 and result["max"] < 0.01
    assert found.difference.shape == (3, 96, 96) and found.difference.max() < -0.99


def test_seams_need_more_than_one_tile(upsampler, kit):
    with pytest.raises(UserError, match="a mosaic of 32 px is one tile"):
        measure_seams(upsampler, str(kit.shards), 32, 16)
    with pytest.raises(UserError, match="--side is 40, needs a multiple of --piece 16"):
        measure_seams(upsampler, str(kit.shards), 40, 16)


def test_the_script_for_upsampling(script, model, kit, tmp_path, capsys):
    words = ["--model", model, "--out", tmp_path / "new/result.json", "--picture", tmp_path / "grid.png"]
    assert script("upsampling", *words, "--data", kit.shards) == 0
    result = json.loads((tmp_path / "new/result.json").read_text())
    methods = ("bicubic", "lanczos", "upsampler", "gain_over_bicubic", "gain_over_lanczos")
    assert set(result) == {"data", "model", "pictures", "reduced_by", *methods}
    printed = capsys.readouterr().out
    assert "over lanczos: " in printed and "23 images" in printed
    assert Image.open(tmp_path / "grid.png").size[0] >= 5 * 68
    shutil.rmtree(tmp_path / "new")
    assert script("upsampling", *words, "--data", tmp_path / "nowhere") == 2 and not (tmp_path / "new").exists()
    assert capsys.readouterr().err.startswith("error: no .tar shards at")


def test_the_script_for_seams(script, model, kit, tmp_path, capsys):
    words = ["--model", model, "--data", kit.shards, "--out", tmp_path / "new/seams.json", "--piece", 16]
    assert script("tile_seams", *words, "--side", 96, "--picture", tmp_path / "seams.png") == 0
    result = json.loads((tmp_path / "new/seams.json").read_text())
    keys = ("model", "data", "side", "tile", "overlap", "tiles", "mean", "near_seams", "elsewhere", "p999", "max")
    assert set(result) == set(keys) and "96 px in 25 tiles of 32 px" in capsys.readouterr().out
    assert Image.open(tmp_path / "seams.png").size == (96, 96) and Image.open(tmp_path / "seams.png").getextrema() == ((0, 0),) * 3
    assert script("tile_seams", *words, "--side", 32) == 2 and "is one tile" in capsys.readouterr().err


def test_images_smaller_than_the_truth_are_refused(upsampler, samples, png, tmp_path):
    small = [replace(sample, image=png("red", 12) if number == 3 else sample.image) for number, sample in enumerate(samples[:5])]
    write_shards(small, tmp_path / "small")
    with pytest.raises(UserError, match=r"image 3 of .* is 12 x 12 px: no truth for images of 16 px; give shards of 16 px or more"):
        compare_upsampling(upsampler, str(tmp_path / "small"))
