"""data_prep/train_clip.py: the CLIP learns, loads in open_clip, may be moved, and is the same for the same seed."""

import json
import sys
from dataclasses import replace

import numpy as np
import open_clip
import pytest
import torch
import train_clip as script
from safetensors.torch import load_file
from small_clip.batches import BatchSampler
from small_clip.config import ARCHITECTURES, ClipTraining
from small_clip.data import divide, read_images
from small_clip.evaluation import mega_macs
from small_clip.fills import PALETTE, palette
from small_clip.model import SmallClip
from small_clip.recolor import with_recolored
from small_clip.save import cache_embeddings
from small_clip.training import contrastive_loss, train
from small_clip.views import change_outlines, distort, shrink

from t2igan.data.images import to_signed
from t2igan.data.shards import Shards
from t2igan.data.write import Sample, write_shards
from t2igan.errors import UserError
from t2igan.features.open_clip import ClipScorer

COLOURS = ("red", "green", "blue", "yellow", "purple")
SHAPES = ("square", "bar", "frame", "cross")
TINY = ClipTraining({"layers": [1, 1, 1, 1], "width": 8, "image_size": 32}, embed_dim=32, steps=30, batch=16, warmup=5)

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
    """Twenty images: four shapes in five colours, in two styles (on white, or on light grey)."""
    out, samples = tmp_path_factory.mktemp("coloured") / "train", []
    for i, (colour, name) in enumerate((colour, name) for colour in COLOURS for name in SHAPES):
        pixels = np.full((16, 16, 3), 255 if i % 2 else 215, np.uint8)
        pixels[shape(name)] = PALETTE[colour]
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
    """The script's main in this process, with an architecture small enough for tests."""
    command = ["train_clip.py", "--architecture", "tiny", "--size", 16, "--threads", 1, *arguments]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", list(map(str, command)))
        patch.setitem(ARCHITECTURES, "tiny", TINY)
        if cache:
            patch.setenv("T2IGAN_CACHE", str(cache))
        script.main()


def images_of(coloured):
    return read_images(Shards(str(coloured)), 16)


def test_images_that_training_does_not_see_test_it(coloured, tmp_path, capsys):
    run("--data", coloured, "--out", tmp_path / "clip", "--seed", 1, "--steps", 40, "--unseen", 0.3, cache=tmp_path / "cache")
    report = json.loads((tmp_path / "clip/report.json").read_text())
    unseen = report["unseen"]
    assert 0 < unseen["pictures"] < 14 and report["pictures"] + unseen["pictures"] == 20 and unseen["share"] == 0.3
    assert unseen["100"]["candidates"] == 20 and 0 <= unseen["1000"]["r_at_1"] <= 1
    assert f"on {unseen['pictures']} unseen ones" in capsys.readouterr().out


def test_images_are_divided_once_and_for_all(coloured):
    images = images_of(coloured)
    train, apart = divide(images, 0.3)
    again = divide(images, 0.3)
    assert train.captions_of + apart.captions_of != images.captions_of
    assert sorted(train.captions_of + apart.captions_of) == sorted(images.captions_of) and train.captions == images.captions
    assert torch.equal(apart.pixels, again[1].pixels) and apart.captions_of == again[1].captions_of


def test_it_learns_and_the_report_shows_it(made):
    report = json.loads((made(1) / "report.json").read_text())
    first, last = report["loss"]
    assert last < first - 0.5
    assert report["pictures"] == 20 and report["names"] == 20 and report["captions"] == 44
    assert report["r_at_5"] > 0.6 and report["candidates"] == 20  # a guess finds 0.25


def test_a_moved_folder_loads_and_scores_as_before(made, coloured, tmp_path):
    captions, data = ["red square", "blue cross"], images_of(coloured)
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
    images = to_signed(images_of(coloured).pixels[:4])
    with torch.no_grad():
        big = torch.nn.functional.interpolate(images, size=(32, 32), mode="bicubic", antialias=True)
        assert torch.allclose(clip.encode_image(big, normalize=True), scorer.images(images), atol=1e-4)
        ids = open_clip.get_tokenizer(name)(["red square"])
        assert torch.allclose(clip.encode_text(ids, normalize=True), scorer.text(["red square"]), atol=1e-5)


def test_training_finds_every_caption_cached_as_the_text_tower_encodes_it(made, coloured, monkeypatch):
    name, captions = f"local-dir:{made(1)}", images_of(coloured).captions
    scorer = ClipScorer(name)
    scorer.load_pretrained()
    encoded = scorer.text(captions)
    primed = ClipScorer(name, cache=made(1).parent / "cache")
    primed.load_pretrained()
    monkeypatch.setattr(primed.clip, "encode_text", None)
    assert torch.allclose(primed.text(captions), encoded, atol=1e-3)


def test_weights_are_a_function_of_the_seed(made):
    first, again, other = (load_file(folder / "open_clip_model.safetensors") for folder in (made(1), made(1, again=True), made(2)))
    assert first.keys() == other.keys() and all(torch.equal(first[name], again[name]) for name in first)
    differ = {name for name in first if not torch.equal(first[name], other[name])}
    assert "visual.conv1.weight" in differ and "text.proj.0.weight" in differ
    assert not any(name.startswith("text.transformer") for name in differ)  # the sentence encoder is left as it is


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_architectures_read_small_images_cheaply(architecture):
    config = ARCHITECTURES[architecture]
    torch.manual_seed(0)
    model = SmallClip(config).eval()
    x = torch.rand(2, 3, 32, 32, requires_grad=True)
    model.images(x)[:, 0].sum().backward()
    assert x.grad.flatten(1).any(1).all()
    if "guide" in architecture:  # runs on every generated image
        assert mega_macs(model, 32) <= (25 if architecture == "guide" else 75)


@pytest.mark.parametrize("pair", [("guide", "scorer"), ("large_guide", "large_scorer")])
def test_guide_and_scorer_are_of_different_families(pair):
    towers = [type(SmallClip(ARCHITECTURES[name]).visual) for name in pair]
    assert towers[0] is not towers[1]


def test_a_caption_that_is_true_of_an_image_is_never_a_negative(coloured):
    data = with_recolored(images_of(coloured), new_captions=True)
    config = replace(TINY, recolor=0.5)
    sampler = BatchSampler(data, config, torch.Generator().manual_seed(0))
    for _ in range(10):
        batch = sampler.sample()
        for row, target in enumerate(batch.targets.tolist()):
            sampled = data.captions[batch.captions[target]]
            negatives = {data.captions[c] for c in batch.captions[batch.negatives[row]].tolist()}
            thing = sampled.split(",")[0].split()[-1]
            assert sampled not in negatives and thing not in negatives
            if "style" in sampled:  # the primary caption is true as well; another colour of the thing is not
                assert sampled.split(",")[0] not in negatives
            if sampled != thing:
                assert {f"{colour} {thing}" for colour in COLOURS} - {sampled.split(",")[0]} <= negatives


def test_recolouring_changes_what_the_name_says_and_nothing_else(coloured):
    data = with_recolored(images_of(coloured), new_captions=False)
    names = {data.captions[name] for name in data.primary_captions}
    for image_number, fill in data.fills.items():
        colour, name = data.captions[data.captions_of[image_number][0]].split()
        image, mask = to_signed(data.pixels[[image_number]])[0], torch.from_numpy(shape(name))
        for word, captions in data.recolored[image_number].items():
            assert word != colour and data.captions[captions[0]] == f"{word} {name}" and f"{word} {name}" in names
            painted = fill.paint(image, palette(word))
            assert torch.allclose(painted[:, mask], palette(word)[:, None].expand(-1, int(mask.sum())), atol=0.02)
            assert torch.equal(painted[:, ~mask], image[:, ~mask])
    assert len(data.fills) == 20
    assert len(with_recolored(images_of(coloured), new_captions=True).captions) > len(data.captions)


def test_the_projection_starts_whitened():
    """With power 1 the projected sentences have the same deviation in every direction and no mean; with power 0 they keep theirs."""
    directions, deviations = torch.linalg.qr(torch.randn(384, 384))[0], torch.logspace(0, -6, 384)
    sentences = torch.randn(2000, 384) * deviations @ directions + 3 * directions[0]

    def spread(power: float) -> torch.Tensor:
        model = SmallClip(replace(TINY, projection="linear"))
        model.whiten_projection(torch.nn.functional.normalize(sentences, dim=1), power)
        projected = model.proj(torch.nn.functional.normalize(sentences, dim=1)).detach()
        return torch.linalg.svdvals(projected - projected.mean(0))

    assert spread(1.0)[0] / spread(1.0)[-1] < 1.2 < 2 < spread(0.0)[0] / spread(0.0)[-1]


def test_outlines_darken_or_lighten_and_keep_flat_areas():
    x = torch.full((32, 3, 16, 16), 0.5)
    assert torch.equal(change_outlines(x, torch.Generator().manual_seed(0)), x)
    x[:, :, 4:12, 4:12] = -0.5
    changed = change_outlines(x, torch.Generator().manual_seed(0))
    differ = (changed - x).abs().amax((1, 2, 3)) > 0.01
    assert (
        differ.any() and torch.allclose(changed[:, :, 8, 8], x[:, :, 8, 8], atol=1e-6) and torch.equal(changed[:, :, 0, 0], x[:, :, 0, 0])
    )


def test_some_views_are_seen_at_half_their_side():
    x = torch.randn(64, 3, 16, 16).clamp(-1, 1)
    found = shrink(x, 0.3, torch.Generator().manual_seed(0))
    kept = (found == x).flatten(1).all(1)
    assert 0.5 < kept.float().mean() < 0.9 and found.abs().max() <= 1
    means, small = (torch.nn.functional.avg_pool2d(images[~kept], 2) for images in (x, found))
    assert torch.nn.functional.mse_loss(small, means) < 0.1 * means.var(), "what half the side holds is kept"
    assert found[~kept].var() < 0.5 * x.var(), "and nothing finer"


def test_a_text_tower_that_differs_from_the_trained_one_is_refused_and_nothing_is_cached(made, coloured, tmp_path, monkeypatch):
    monkeypatch.setenv("T2IGAN_CACHE", str(tmp_path))
    captions = images_of(coloured).captions
    wrong = torch.nn.functional.normalize(torch.randn(len(captions), 32), dim=1)
    for embeddings in (wrong, wrong * torch.nan):
        with pytest.raises(UserError, match=r"differs from the trained one by .* install the version"):
            cache_embeddings(made(1), captions, embeddings)
    scorer = ClipScorer(f"local-dir:{made(1)}", cache=tmp_path)
    scorer.load_pretrained()
    assert scorer.captions.disk.read(captions) == {}


def test_a_loss_that_is_not_finite_ends_the_training(coloured):
    data = images_of(coloured)
    sampler = BatchSampler(data, TINY, torch.Generator().manual_seed(0))
    with pytest.raises(UserError, match="loss is nan at step 1; train with another --seed"):
        train(SmallClip(TINY), sampler, torch.full((len(data.captions), 384), torch.nan), TINY)


def test_bf16_rounds_the_same_training(coloured):
    """Weights stay in float32, and the first steps' losses are those of float32 to bf16's precision, not to the bit."""
    data, losses = images_of(coloured), {}
    sentences = torch.randn(len(data.captions), 384, generator=torch.Generator().manual_seed(0))
    for bf16 in (False, True):
        torch.manual_seed(0)
        model = SmallClip(TINY)
        losses[bf16] = train(
            model, BatchSampler(data, TINY, torch.Generator().manual_seed(0)), sentences, replace(TINY, steps=3), bf16=bf16
        )
        assert {weight.dtype for weight in model.parameters()} == {torch.float32}
    assert losses[True] == pytest.approx(losses[False], rel=0.05) and losses[True] != losses[False]


def test_only_architectures_for_use_are_offered(run_script):
    done = run_script("train_clip.py", "--data", "x", "--out", "y", "--seed", 0, "--architecture", "tiny")
    assert done.returncode == 2 and "choose from" in done.stderr and "guide" in done.stderr and "scorer" in done.stderr


def test_distortion_of_strength_zero_changes_nothing():
    x = torch.rand(3, 3, 16, 16) * 2 - 1
    assert torch.allclose(distort(x, 0.0, torch.Generator()), x, atol=1e-5)


def test_the_loss_equals_a_loop_over_images(coloured):
    data, config = images_of(coloured), replace(TINY, recolor=0.0)
    batch = BatchSampler(data, config, torch.Generator().manual_seed(3)).sample()
    draw = torch.Generator().manual_seed(1)
    image = torch.nn.functional.normalize(torch.randn(len(batch.images), 8, generator=draw), dim=1)
    text = torch.nn.functional.normalize(torch.randn(len(batch.captions), 8, generator=draw), dim=1)
    scale, loss = torch.tensor(5.0), 0.0
    for i, target in enumerate(batch.targets.tolist()):
        allowed = [target, *batch.negatives[i].nonzero()[:, 0].tolist()]
        log_p = torch.stack([scale * image[i] @ text[c] for c in allowed]).log_softmax(0)
        loss -= (1 - config.smoothing) * log_p[0] + config.smoothing * log_p.mean()
        rivals = [j for j in range(len(image)) if j == i or batch.negatives[j, target]]
        back = torch.stack([scale * text[target] @ image[j] for j in rivals]).log_softmax(0)
        loss -= config.symmetric * back[rivals.index(i)]
    assert torch.allclose(contrastive_loss(image, text, scale, batch, config), loss / len(image), atol=1e-5)


def test_broken_images_are_skipped_and_counted(png, tmp_path):
    samples = [Sample(f"{i}", b"no picture" if i == 1 else png("red"), [f"thing {i}"]) for i in range(4)]
    write_shards(samples, tmp_path / "some")
    data = read_images(Shards(str(tmp_path / "some")), 16)
    assert data.skipped == 1 and len(data.captions_of) == 3


def test_bad_input_is_one_line_and_leaves_nothing(refused, png, tmp_path):
    write_shards([Sample("0", png("red"), ["only one"])], tmp_path / "one")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    (tmp_path / "mine" / "report.json").write_text("{}")  # a data set's, say
    assert "--steps must be at least 1" in refused("train_clip.py", "--data", "x", "--out", tmp_path / "clip", "--seed", 0, "--steps", 0)
    for match, data, out in [("no .tar shards", "none", "clip"), ("at least 2", "one", "clip"), ("new or empty folder", "one", "mine")]:
        with pytest.raises(UserError, match=match):
            run("--data", tmp_path / data, "--out", tmp_path / out, "--seed", 0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "one"]
