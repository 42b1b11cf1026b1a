"""`t2igan invert`: a file that edits take, a picture of what was found, and one clear line for bad input."""

import pytest
from PIL import Image

pytest_plugins = ["kit"]


@pytest.fixture
def image(tmp_path):
    Image.new("RGB", (40, 30), (200, 60, 40)).save(tmp_path / "cat.png")
    Image.new("RGB", (40, 30), (200, 60, 40)).save(tmp_path / "cat.jpg")
    return tmp_path / "cat.jpg"


def test_a_picture_becomes_a_prompt_of_edits(run, kit, image, call, tmp_path):
    out = tmp_path / "new/cat.safetensors"
    options = ("--prompt", "thing 1", "--clip", f"local-dir:{kit.clip}", "--latent-steps", 2, "--style-steps", 2)
    said = call("invert", run, image, *options, "--out", out)
    assert f"takes @{out}" in said and said.count("distance of the") == 3
    assert Image.open(out.with_suffix(".png")).width >= 3 * 64
    call("edit", "truncate", run, f"@{out}", "--values", "0", "1", "--out", tmp_path / "grid.png")
    assert Image.open(tmp_path / "grid.png").height == 64 + 16 + 4
    call("edit", "style-mix", run, f"@{out}", "--fine", "4-5", "--layer", "1", "--out", tmp_path / "mixed.png")
    assert Image.open(tmp_path / "mixed.png").height == 2 * (64 + 16 + 4)


def test_by_lpips(run, kit, image, call, tmp_path):
    weights = ("--vgg16", kit.vgg, "--lpips", kit.heads, "--latent-steps", 0, "--style-steps", 0)
    call("invert", run, image, "--prompt", "thing 1", *weights, "--out", tmp_path / "found.safetensors")
    assert (tmp_path / "found.safetensors").is_file()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"--out": "cat.png"}, "needs a name that ends in .safetensors"),
        ({"--style-steps": "-1"}, "--style-steps is -1"),
        ({"--prompt": ""}, "prompt 1 of 1 is empty"),
        ({"--clip": "local-dir:nowhere"}, "nowhere"),
        ({"--vgg16": "vgg.pth"}, "--vgg16 and --lpips are for LPIPS"),
        ({"image": "missing.png"}, "missing.png"),
        ({"image": "cat.png", "--out": "cat.safetensors"}, "would overwrite the image"),
    ],
)
def test_bad_input_is_one_line(options, said, run, kit, image, refused, tmp_path):
    given = {"--prompt": "thing 1", "--clip": f"local-dir:{kit.clip}", "--out": tmp_path / "found.safetensors"} | options
    picture = given.pop("image", image)
    assert said in refused("invert", run, picture, *(word for pair in given.items() for word in pair))
