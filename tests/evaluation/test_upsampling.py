"""eval/upsampling.py end to end on an upsampler that adds nothing: its figures are those of bilinear enlargement."""

import json
import subprocess
import sys

import pytest
import torch
from PIL import Image
from tiny import ROOT, environment, tiny_upsampler

from t2igan.config import Recipe, parse
from t2igan.data.images import decode, to_bytes, to_signed
from t2igan.data.shards import Shards
from t2igan.inference.pipeline import save_model
from t2igan.layers.resample import upsample
from t2igan.metrics.similarity import psnr
from t2igan.pyramid import shrink
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


def ran(model, data, tmp_path, *options, script="upsampling"):
    command = [sys.executable, str(ROOT / "eval" / f"{script}.py"), "--model", str(model), "--data", str(data)]
    command += ["--out", str(tmp_path / "result.json"), *options]
    return subprocess.run(command, capture_output=True, text=True, env=environment(tmp_path / "cache"), timeout=120)


def test_figures_table_and_picture(model, kit, tmp_path):
    done = ran(model, kit.shards, tmp_path, "--picture", str(tmp_path / "grid.png"))
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "result.json").read_text())
    shards = Shards(str(kit.shards))
    real = torch.cat([to_signed(decode(shards.read(i).image, 16)[None]) for i in range(len(shards))])
    large = to_signed(to_bytes(upsample(to_signed(to_bytes(shrink(real, 8))))))
    assert result["pictures"] == 23 and result["upsampler"]["psnr"] == pytest.approx(psnr(large, real).mean().item(), abs=0.01)
    for way in ("bicubic", "lanczos"):
        gain = result[f"gain_over_{way}"]
        assert gain["psnr"] == pytest.approx(result["upsampler"]["psnr"] - result[way]["psnr"], abs=1e-9)
    assert "over lanczos: " in done.stdout and "23 pictures" in done.stdout
    assert Image.open(tmp_path / "grid.png").size[0] >= 5 * 68


def test_bad_input_is_one_line(model, tmp_path):
    done = ran(model, tmp_path / "nowhere", tmp_path)
    assert done.returncode == 2 and done.stderr.startswith("error: no .tar shards at") and not (tmp_path / "result.json").exists()


def test_seams_of_an_upsampler_that_adds_nothing_are_invisible(model, kit, tmp_path):
    options = ("--side", "96", "--piece", "16", "--picture", str(tmp_path / "seams.png"))
    done = ran(model, kit.shards, tmp_path, *options, script="seams")
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["tile"] == 32 and result["overlap"] == 16 and result["tiles"] == 25 and result["max"] < 0.01
    assert Image.open(tmp_path / "seams.png").size == (96, 96) and Image.open(tmp_path / "seams.png").getextrema() == ((0, 0),) * 3


def test_seams_needs_more_than_one_tile(model, kit, tmp_path):
    done = ran(model, kit.shards, tmp_path, "--side", "32", "--piece", "16", script="seams")
    assert done.returncode == 2 and "is one tile" in done.stderr
    assert "needs a multiple of --piece" in ran(model, kit.shards, tmp_path, "--side", "40", "--piece", "16", script="seams").stderr
