"""`t2igan sample`: grids, files, warnings, and one clear line for bad input."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny import generator_of, without_text

from t2igan.cli import main
from t2igan.commands.arguments import parse_seeds
from t2igan.config import Recipe
from t2igan.errors import UserError
from t2igan.inference.model_folder import save_model
from t2igan.recipe import parse

pytest_plugins = ["kit"]


def test_sample_writes_one_captioned_grid(run, tmp_path, call):
    assert call("sample", run, "thing 1", "thing 2", "--seeds", "0-2", "--out", tmp_path / "new" / "grid.png").strip().endswith("grid.png")
    image = Image.open(tmp_path / "new" / "grid.png")
    assert image.size == (3 * (64 + 4) + 4, 2 * (64 + 16 + 4))


def test_prompts_of_a_grid_may_stand_beside_each_other(run, call):
    words = ("thing 1", "thing 2", "thing 3", "--seeds", "0-1")
    call("sample", run, *words, "--columns", 2, "--out", "grid.png")
    call("sample", run, *words, "--columns", 9, "--out", "line.png")
    width, height = 2 * (64 + 4) + 4, 64 + 16 + 4
    assert Image.open("grid.png").size == (2 * width, 2 * height) and Image.open("line.png").size == (3 * width, height)


def test_sample_writes_single_files_into_a_folder(run, tmp_path, call):
    (tmp_path / "prompts.txt").write_text("thing 2\n\nthing 3\n")
    text = call("sample", run / "model", "thing 1", "--prompts", "prompts.txt", "--seeds", "4,7", "--truncation", "0.5", "--out", "folder")
    assert text == "6 images in folder\n"
    expected = {f"{prompt:05d}_seed{seed}.png" for prompt in range(3) for seed in (4, 7)} | {"prompts.txt"}
    assert {path.name for path in (tmp_path / "folder").iterdir()} == expected
    assert (tmp_path / "folder" / "prompts.txt").read_text() == "thing 1\nthing 2\nthing 3\n"
    assert Image.open(tmp_path / "folder" / "00000_seed4.png").size == (16, 16)


@pytest.mark.parametrize("options", ["", "--truncation 0.5", "--global-truncation 0.7", "--truncation 0 --global-truncation 0.3"])
def test_every_option_works_in_bf16_and_changes_images_by_rounding_alone(options, run, call):
    images = {}
    for name, more in (("full", []), ("half", ["--bf16"])):
        call("sample", run, "thing 1", "thing 2", "--seeds", "0-1", *options.split(), *more, "--out", name)
        images[name] = np.stack([np.asarray(Image.open(path), dtype=float) for path in sorted(Path(name).glob("*.png"))])
    difference = np.abs(images["full"] - images["half"])
    assert len(images["half"]) == 4 and 0 < difference.mean() < 3


def test_a_prompt_too_long_is_cut_with_one_warning_that_shows_where(run, capsys):
    """The tiny tower reads 20 tokens, of which two are marks, and spells: 18 letters."""
    main(["sample", str(run), "abcdefghij klmnopqrstuv wxyz", "thing 1", "--seeds", "0-3", "--out", "grid.png"])
    lines = [line for line in capsys.readouterr().err.splitlines() if "warning" in line.lower() or "cut" in line]
    assert lines == ["warning: prompt cut after 20 tokens: 'abcdefghij klmnopqr' | not read: 'stuv wxyz'"]


def test_the_warning_comes_again_when_the_prompts_features_come_from_the_cache(run, capsys):
    for _ in range(2):
        main(["sample", str(run), "abcdefghij klmnopqrstuv wxyz", "--out", "grid.png"])
        assert "prompt cut after 20 tokens" in capsys.readouterr().err


def test_a_grid_of_one_small_image_is_wide_enough_for_its_caption(run, tmp_path, call):
    call("sample", run, "thing 1 with a long caption", "--out", tmp_path / "grid.png")
    assert 120 < Image.open(tmp_path / "grid.png").width < 200


def test_a_prompt_that_just_fits_is_not_warned_about(run, capsys):
    main(["sample", str(run), "abcdefghij klmnopqr", "--out", "grid.png"])
    assert "cut" not in capsys.readouterr().err


# ------------------------------------------------------------------------------------------------ a model without text


@pytest.fixture(scope="module")
def unconditional(tiny, tmp_path_factory):
    folder = tmp_path_factory.mktemp("unconditional")
    recipe = parse(Recipe, without_text(tiny), "")
    save_model(folder / "model", generator_of(recipe), recipe, {})
    return folder


def test_a_model_without_text_is_sampled_by_seeds_alone(unconditional, call, tmp_path):
    assert call("sample", unconditional, "--seeds", "0-2", "--out", "x.png") == "x.png\n"
    assert Image.open(tmp_path / "x.png").size == (3 * (64 + 4) + 4, 64 + 16 + 4)
    assert call("sample", unconditional, "--seeds", "3,5", "--out", "folder") == "2 images in folder\n"
    assert {path.name for path in (tmp_path / "folder").iterdir()} == {"00000_seed3.png", "00000_seed5.png"}


@pytest.mark.parametrize("words", [["truncate"], ["style-mix", "--fine", "4-5"]])
def test_a_model_without_text_is_edited_by_seeds_alone(words, unconditional, call):
    assert call("edit", words[0], unconditional, *words[1:], "--seeds", "0-1", "--out", "x.png") == "x.png\n"


def test_images_of_a_folder_are_those_of_a_grid_however_many_are_drawn_at_a_time(unconditional, call, tmp_path, monkeypatch):
    call("sample", unconditional, "--seeds", "0-4", "--out", "whole")
    monkeypatch.setattr("t2igan.commands.sample.AT_A_TIME", 2)
    assert call("sample", unconditional, "--seeds", "0-4", "--out", "parts") == "5 images in parts\n"
    for seed in range(5):
        whole, part = (Image.open(tmp_path / folder / f"00000_seed{seed}.png") for folder in ("whole", "parts"))
        assert np.abs(np.asarray(whole, int) - np.asarray(part, int)).max() <= 1


def test_a_model_without_text_refuses_a_prompt(unconditional, refused, tmp_path):
    expected = "error: this model was trained without text and takes no prompt, got 'thing 1'; leave it out"
    assert refused("sample", unconditional, "thing 1", "--out", "x.png") == expected
    (tmp_path / "prompts.txt").write_text("thing 1\n")
    assert refused("sample", unconditional, "--prompts", "prompts.txt", "--out", "x.png") == expected
    assert refused("edit", "truncate", unconditional, "thing 1", "--out", "x.png") == expected


# ------------------------------------------------------------------------------------------------ bad input


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--out", "x.png"], "no prompt given; describe an image"),
        (["", "--out", "x.png"], "prompt 1 of 1 is empty; describe an image"),
        (["thing 1", "   ", "--out", "x.png"], "prompt 2 of 2 is empty"),
        (["--prompts", "blank.txt", "--out", "x.png"], "no prompt given"),
        (["--prompts", "missing.txt", "--out", "x.png"], "no file of prompts at missing.txt"),
        (["thing 1", "--truncation", "2", "--out", "x.png"], "--truncation is 2.0, needs a number from 0"),
        (["thing 1", "--truncation", "-0.1", "--out", "x.png"], "--truncation is -0.1"),
        (["thing 1", "--truncation", "nan", "--out", "x.png"], "--truncation is nan"),
        (["thing 1", "--out", "pic.bmp"], "--out is pic.bmp, an image ends in .png, .jpg, .jpeg, .webp"),
        (["thing 1", "--out", "dir.png"], "--out needs a file, dir.png is a folder"),
        (["thing 1"] * 200 + ["--out", "x.webp"], "a grid of 72 x 16800 px, and .webp holds 16383 px at most"),
        (["thing 1", "--columns", "0", "--out", "x.png"], "--columns is 0, needs a whole number above 0"),
        (["thing 1", "--columns", "2", "--out", "folder"], "--columns is 2, needs a whole number above 0, and --out one file for the grid"),
        (["thing 1", "--seeds", "7-3", "--out", "x.png"], "--seeds is '7-3', needs numbers or ranges such as 0-7 or 1,5,9"),
    ],
)
def test_bad_input_to_sample(arguments, expected, run, refused, tmp_path):
    (tmp_path / "blank.txt").write_text("\n  \n")
    (tmp_path / "dir.png").mkdir()
    assert expected in refused("sample", run, *arguments)


def test_the_file_of_prompts_is_not_overwritten(run, refused, tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set/prompts.txt").write_text("thing 1\n\nthing 2\n")
    assert "would be overwritten" in refused("sample", run, "--prompts", "set/prompts.txt", "more", "--out", "set")
    assert (tmp_path / "set/prompts.txt").read_text() == "thing 1\n\nthing 2\n"


def test_sample_of_a_folder_that_is_no_run(refused, tmp_path):
    for folder in (tmp_path, tmp_path / "missing"):
        line = refused("sample", folder, "thing 1")
        assert line == f"error: {folder} is not a run folder; `t2igan train RECIPE.yaml --out RUN` makes one"


def test_sample_whose_text_encoder_is_missing(run, refused, tmp_path):
    (tmp_path / "moved").mkdir()
    for file in (run / "model").iterdir():
        (tmp_path / "moved" / file.name).write_bytes(file.read_bytes())
    config = json.loads((tmp_path / "moved" / "config.json").read_text())
    config["text"]["model"] = "gone/away"
    (tmp_path / "moved" / "config.json").write_text(json.dumps(config))
    assert "no text encoder at 'gone/away'" in refused("sample", "moved", "thing 1", "--out", "x.png")


@pytest.mark.parametrize(
    ("text", "seeds"),
    [
        ("0", [0]),
        ("0-3", [0, 1, 2, 3]),
        ("1,5,9", [1, 5, 9]),
        ("0-1, 7", [0, 1, 7]),
        ("5-5", [5]),
        ("1,1,0-1", [1, 0]),
        (str(2**63 - 1), [2**63 - 1]),
    ],
)
def test_seeds_are_numbers_and_ranges(text, seeds):
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize("text", ["", "a", "1-", "-1", "1--3", "3-1", "1,,2", "1.5", "²", "0x10"])
def test_bad_seeds(text):
    with pytest.raises(UserError, match=r"--seeds is .* needs numbers or ranges such as 0-7 or 1,5,9"):
        parse_seeds(text)


@pytest.mark.parametrize("text", [str(2**63), str(2**64), "9" * 400, f"0-{2**64}"])
def test_seeds_have_a_bound(text):
    with pytest.raises(UserError, match=r"needs numbers up to 2\^63 - 1"):
        parse_seeds(text)


@pytest.mark.parametrize("text", ["0-4294967295", f"0-{2**63 - 1}", "0-99999,100000"])
def test_too_many_seeds_are_refused_before_they_are_listed(text):
    with pytest.raises(UserError, match=r"more than 100,000 in one call"):
        parse_seeds(text)


def test_prompts_are_written_one_to_a_line(run, tmp_path, call):
    (tmp_path / "given.txt").write_text("thing 1\r\n", encoding="utf-8-sig")
    call("sample", run, "thing 2\nin two lines", "--prompts", "given.txt", "--out", "folder")
    assert (tmp_path / "folder/prompts.txt").read_text() == "thing 2 in two lines\nthing 1\n"


def test_a_full_disk_leaves_a_good_image_as_it_was(run, tmp_path, full_disk, capsys, call):
    call("sample", run, "thing 1", "--out", "x.png")
    before = (tmp_path / "x.png").read_bytes()
    with full_disk(500), pytest.raises(SystemExit) as stop:
        main(["sample", str(run), "thing 1", "thing 2", "--seeds", "0-7", "--out", "x.png"])
    assert stop.value.code == 2 and "error: File too large" in capsys.readouterr().err
    assert (tmp_path / "x.png").read_bytes() == before and not list(tmp_path.glob(".*.partial"))
