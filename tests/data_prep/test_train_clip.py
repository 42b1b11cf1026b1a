"""Captioned shards to a small CLIP: it learns, loads in open_clip, may be moved, and is the same for the same seed."""

import json
import sys
from dataclasses import replace

import numpy as np
import open_clip
import pytest
import torch
from safetensors.torch import load_file

from data_prep import train_clip as script
from t2igan.data.images import to_signed
from t2igan.data.shards import Shards
from t2igan.data.write import Sample, write_shards
from t2igan.errors import UserError
from t2igan.features.open_clip import ClipScorer
from t2igan.training import clip as train_clip

COLOURS = ("red", "green", "blue", "yellow", "purple")
SHAPES = ("square", "bar", "frame", "cross")

pytestmark = pytest.mark.filterwarnings("ignore")


def shape(name: str) -> np.ndarray:
    mask = np.zeros((16, 16), bool)
    if name == "square":
        mask[3:13, 3:13] = True
    elif name == "bar":
        mask[5:11, 1:15] = True
    elif name == "frame":
        mask[2:14, 2:14] = True
        mask[6:10, 6:10] = False
    else:
        mask[6:10, 2:14] = mask[2:14, 6:10] = True
    return mask


@pytest.fixture(scope="module")
def coloured(png, tmp_path_factory):
    """Twenty pictures: four shapes in five colours, in two styles (on white, or on light grey)."""
    out, samples = tmp_path_factory.mktemp("coloured") / "train", []
    for i, (colour, name) in enumerate((colour, name) for colour in COLOURS for name in SHAPES):
        pixels = np.full((16, 16, 3), 255 if i % 2 else 215, np.uint8)
        pixels[shape(name)] = train_clip.PALETTE[colour]
        captions = [f"{colour} {name}", f"{colour} {name}, {'flat' if i % 2 else 'grey'} style", name]
        samples.append(Sample(f"{i:03d}", png(pixels), captions))
    write_shards(samples, out)
    return out


@pytest.fixture(scope="module")
def made(coloured, tmp_path_factory):
    """made(seed) -> the folder that the script wrote with this seed; `cache` beside it holds the captions' embeddings."""
    root = tmp_path_factory.mktemp("clips")

    def make(seed: int, again: bool = False):
        out = root / f"clip_{seed}{'_again' * again}"
        if not out.exists():
            run("--data", coloured, "--out", out, "--seed", seed, "--steps", 40, cache=root / "cache")
        return out

    return make


def run(*arguments, cache=None) -> None:
    """The script's main, in this process."""
    command = ["train_clip.py", "--architecture", "tiny", "--size", 16, "--threads", 1, *arguments]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", list(map(str, command)))
        if cache:
            patch.setenv("T2IGAN_CACHE", str(cache))
        script.main()


def pictures(coloured):
    return train_clip.read_pictures(Shards(str(coloured)), 16)


def test_it_learns_and_says_so(made):
    report = json.loads((made(1) / "report.json").read_text())
    first, last = report["loss"]
    assert last < first - 0.5
    assert report["pictures"] == 20 and report["names"] == 20 and report["captions"] == 44
    assert report["r_at_5"] > 0.6 and report["candidates"] == 20  # a guess finds 0.25


def test_a_moved_folder_loads_and_scores_as_before(made, coloured, tmp_path):
    captions, data = ["red square", "blue cross"], pictures(coloured)
    here = ClipScorer(f"local-dir:{made(1)}")
    here.load_pretrained()
    before, made_at, moved_to = here.text(captions), made(1), tmp_path / "moved"
    made_at.rename(moved_to)
    try:
        moved = ClipScorer(f"local-dir:{moved_to}")
        moved.load_pretrained()
    finally:
        moved_to.rename(made_at)
    assert torch.equal(moved.text(captions), before)
    assert torch.equal(moved.images(to_signed(data.pixels)), here.images(to_signed(data.pixels)))


def test_open_clip_itself_loads_the_folder(made, coloured):
    name = f"local-dir:{made(1)}"
    clip = open_clip.create_model(name).eval()
    scorer = ClipScorer(name)
    scorer.load_pretrained()
    images = to_signed(pictures(coloured).pixels[:4])
    with torch.no_grad():
        big = torch.nn.functional.interpolate(images, size=(32, 32), mode="bicubic", antialias=True)
        assert torch.allclose(clip.encode_image(big, normalize=True), scorer.images(images), atol=1e-4)
        ids = open_clip.get_tokenizer(name)(["red square"])
        assert torch.allclose(clip.encode_text(ids, normalize=True), scorer.text(["red square"]), atol=1e-5)


def test_training_finds_every_caption_cached_as_the_text_tower_says_it(made, coloured, monkeypatch):
    name, captions = f"local-dir:{made(1)}", pictures(coloured).captions
    scorer = ClipScorer(name)
    scorer.load_pretrained()
    said = scorer.text(captions)
    primed = ClipScorer(name, cache=made(1).parent / "cache")
    primed.load_pretrained()
    monkeypatch.setattr(primed.clip, "encode_text", None)
    assert torch.allclose(primed.text(captions), said, atol=1e-3)


def test_weights_are_a_function_of_the_seed(made):
    first, again, other = (load_file(folder / "open_clip_model.safetensors") for folder in (made(1), made(1, again=True), made(2)))
    assert first.keys() == other.keys() and all(torch.equal(first[name], again[name]) for name in first)
    differ = {name for name in first if not torch.equal(first[name], other[name])}
    assert "visual.conv1.weight" in differ and "text.proj.0.weight" in differ
    assert not any(name.startswith("text.transformer") for name in differ)  # the sentence encoder is left as it is


@pytest.mark.parametrize("architecture", ["guide", "scorer"])
def test_presets_read_small_pictures_cheaply(architecture):
    recipe = train_clip.RECIPES[architecture]
    torch.manual_seed(0)
    model = train_clip.SmallClip(recipe).eval()
    x = torch.rand(2, 3, 32, 32, requires_grad=True)
    model.images(x)[:, 0].sum().backward()
    assert x.grad.flatten(1).any(1).all()
    if architecture == "guide":  # runs on every generated picture
        assert script.mega_macs(model, 32) <= 25


def test_the_presets_are_of_different_families():
    towers = [type(train_clip.SmallClip(train_clip.RECIPES[name]).visual) for name in ("guide", "scorer")]
    assert towers[0] is not towers[1]


def test_a_caption_that_is_true_of_a_picture_is_never_held_against_it(coloured):
    data = train_clip.with_recoloured(pictures(coloured), new_names=True)
    recipe = replace(train_clip.RECIPES["tiny"], recolour=0.5)
    questions = train_clip.Questions(data, recipe, torch.Generator().manual_seed(0))
    for _ in range(10):
        question = questions.draw()
        for row, answer in enumerate(question.answers.tolist()):
            drawn = data.captions[question.captions[answer]]
            against = {data.captions[c] for c in question.captions[question.others[row]].tolist()}
            thing = drawn.split(",")[0].split()[-1]
            assert drawn not in against and thing not in against
            if "style" in drawn:  # the plain name is true as well; another colour of the thing is not
                assert drawn.split(",")[0] not in against
            if drawn != thing:
                assert {f"{colour} {thing}" for colour in COLOURS} - {drawn.split(",")[0]} <= against


def test_recolouring_changes_what_the_name_says_and_nothing_else(coloured):
    data = train_clip.with_recoloured(pictures(coloured), new_names=False)
    names = {data.captions[name] for name in data.names}
    for picture, fill in data.fills.items():
        colour, name = data.captions[data.own[picture][0]].split()
        image, mask = to_signed(data.pixels[[picture]])[0], torch.from_numpy(shape(name))
        for word, captions in data.recoloured[picture].items():
            assert word != colour and data.captions[captions[0]] == f"{word} {name}" and f"{word} {name}" in names
            painted = fill.paint(image, train_clip.palette(word))
            assert torch.allclose(painted[:, mask], train_clip.palette(word)[:, None].expand(-1, int(mask.sum())), atol=0.02)
            assert torch.equal(painted[:, ~mask], image[:, ~mask])
    assert len(data.fills) == 20
    assert len(train_clip.with_recoloured(pictures(coloured), new_names=True).captions) > len(data.captions)


def test_distortion_of_strength_zero_changes_nothing():
    x = torch.rand(3, 3, 16, 16) * 2 - 1
    assert torch.allclose(train_clip.distort(x, 0.0, torch.Generator()), x, atol=1e-5)


def test_the_batch_loss_equals_a_loop_over_pictures(coloured):
    data, recipe = pictures(coloured), replace(train_clip.RECIPES["tiny"], recolour=0.0)
    question = train_clip.Questions(data, recipe, torch.Generator().manual_seed(3)).draw()
    draw = torch.Generator().manual_seed(1)
    image = torch.nn.functional.normalize(torch.randn(len(question.images), 8, generator=draw), dim=1)
    text = torch.nn.functional.normalize(torch.randn(len(question.captions), 8, generator=draw), dim=1)
    scale, loss = torch.tensor(5.0), 0.0
    for i, answer in enumerate(question.answers.tolist()):
        taking = [answer, *question.others[i].nonzero()[:, 0].tolist()]
        log_p = torch.stack([scale * image[i] @ text[c] for c in taking]).log_softmax(0)
        loss -= (1 - recipe.smoothing) * log_p[0] + recipe.smoothing * log_p.mean()
        rivals = [j for j in range(len(image)) if j == i or question.others[j, answer]]
        back = torch.stack([scale * text[answer] @ image[j] for j in rivals]).log_softmax(0)
        loss -= recipe.symmetric * back[rivals.index(i)]
    assert torch.allclose(train_clip.contrast(image, text, scale, question, recipe), loss / len(image), atol=1e-5)


def test_broken_pictures_are_left_out_and_counted(png, tmp_path):
    samples = [Sample(f"{i}", b"no picture" if i == 1 else png("red"), [f"thing {i}"]) for i in range(4)]
    write_shards(samples, tmp_path / "some")
    data = train_clip.read_pictures(Shards(str(tmp_path / "some")), 16)
    assert data.skipped == 1 and len(data.own) == 3


def test_bad_input_is_told_in_one_line_and_leaves_nothing(refused, png, tmp_path):
    write_shards([Sample("0", png("red"), ["only one"])], tmp_path / "one")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    (tmp_path / "mine" / "report.json").write_text("{}")  # a data set's, say
    assert "--steps must be at least 1" in refused("train_clip.py", "--data", "x", "--out", tmp_path / "clip", "--seed", 0, "--steps", 0)
    for match, data, out in [("no .tar shards", "none", "clip"), ("at least 2", "one", "clip"), ("new or empty folder", "one", "mine")]:
        with pytest.raises(UserError, match=match):
            run("--data", tmp_path / data, "--out", tmp_path / out, "--seed", 0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "one"]
