"""`t2igan edit`: a grid or an animation for each edit, and one clear line for bad input."""

import pytest
from PIL import Image

pytest_plugins = ["kit"]


@pytest.mark.parametrize(
    ("arguments", "cells"),
    [
        (["interpolate", "RUN", "thing 1", "thing 2", "--steps", "3", "--seeds", "0-1"], (4, 2)),
        (["interpolate", "RUN", "thing 1", "thing 2", "thing 3", "thing 4", "--square", "--steps", "2"], (3, 3)),
        (["style-mix", "RUN", "thing 1", "--seeds", "0-1", "--fine", "2-4", "--layer", "1"], (4, 3)),
        (["prompt-mix", "RUN", "thing 1", "thing 2", "number 4", "--seeds", "0,3"], (3, 2)),
        (["truncate", "RUN", "thing 1", "--values", "0", "0.5", "1", "--towards", "both"], (3, 1)),
    ],
)
def test_each_edit_writes_its_grid(arguments, cells, run, call, tmp_path):
    out = tmp_path / "new" / "grid.png"
    assert call("edit", *(run if word == "RUN" else word for word in arguments), "--out", out).strip() == str(out)
    columns, rows = cells
    assert Image.open(out).height == rows * (64 + 16 + 4) and Image.open(out).width >= columns * (64 + 4) + 4


def test_an_animation_by_its_ending(run, call, tmp_path):
    import av

    call("edit", "interpolate", run, "thing 1", "thing 2", "--steps", "4", "--out", tmp_path / "animation.mp4", "--fps", "6")
    with av.open(str(tmp_path / "animation.mp4")) as video:
        assert len(list(video.decode(video=0))) == 5 and video.streams.video[0].average_rate == 6


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["interpolate", "RUN", "thing 1"], "interpolate goes from prompt to prompt, got 1"),
        (["interpolate", "RUN", "thing 1", ""], "prompt 2 of 2 is empty"),
        (["move", "RUN", "thing 1", "--zoom", "2"], "this model starts from a grid, not from Fourier features, and cannot be moved"),
        (["move", "RUN", "--zoom", "2"], "move needs a prompt: this model was trained with text"),
        (["style-mix", "RUN", "thing 1", "--layer", "9"], "--layer is 9, needs 1 to 2"),
        (["style-mix", "RUN", "thing 1", "--layer", "0"], "--layer is 0, needs 1 to 2"),
        (["prompt-mix", "RUN", "a", "b", "--truncation", "2"], "--truncation is 2.0"),
        (["truncate", "RUN", "a", "--values", "-1"], "--values is -1.0"),
        (["truncate", "RUN", "a", "--seeds", "x"], "--seeds is 'x'"),
        (["style-mix", "RUN", "a", "--fine", "y"], "--fine is 'y'"),
        (["truncate", "nowhere", "a"], "nowhere is not a run folder"),
        (["truncate", "RUN", "a", "red", "cat"], "truncate takes one prompt, got 3"),
        (["style-mix", "RUN", "a", "cat"], "style-mix takes one prompt, got 2"),
        (["prompt-mix", "RUN", "a"], "look from others, got one"),
        (["style-mix", "RUN", "@cat.safetensors"], "cat.safetensors holds no inverted picture"),
        (["truncate", "RUN", "@cat.safetensors", "--seeds", "0-3"], "an inverted picture is the same for each"),
        (["truncate", "RUN", "@cat.safetensors"], "cat.safetensors holds no inverted picture"),
        (["interpolate", "RUN", "a", "b", "c", "d", "--square", "--seeds", "0-1"], "--square takes one seed, got 2"),
        (["interpolate", "RUN", "a", "b", "c", "--square"], "four prompts at its corners, got 3"),
    ],
)
def test_bad_input_is_one_line(arguments, said, run, refused, tmp_path):
    assert said in refused("edit", *(run if word == "RUN" else word for word in arguments), "--out", tmp_path / "grid.png")


def test_an_ending_that_is_neither_image_nor_animation(run, refused, tmp_path):
    assert "needs an image (.png, " in refused("edit", "truncate", run, "a", "--out", tmp_path / "animation.avi")
    assert "--fps is 0" in refused("edit", "truncate", run, "a", "--out", tmp_path / "animation.gif", "--fps", "0")
