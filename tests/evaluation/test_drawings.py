"""Scores on the drawings of samplers whose score is known: one shows real pictures, one those of another thing, one a single picture."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from tiny import tiny_recipe

from t2igan.config import Recipe
from t2igan.data.write import Sample, write_shards
from t2igan.errors import UserError
from t2igan.evaluation import drawings
from t2igan.evaluation.drawings import DrawingScores, chosen
from t2igan.evaluation.drawings_table import curve, table
from t2igan.features.open_clip import ClipScorer
from t2igan.inference.model_folder import save_model
from t2igan.metrics.chunks import distributed_state
from t2igan.recipe import parse
from t2igan.system import build_system

pytest_plugins = ["kit"]

SIZE, STYLES = 8, ("a", "b", "c", "d", "e", "f")
SHAPES = ("cup", "hat", "kite", "shoe")
COLOURS = {"red": (90, 20, 20), "blue": (20, 20, 90), "green": (20, 90, 20)}


def thing(number: int, style: int = 0, copy: int = 0) -> np.ndarray:
    """The noise of a thing; a style brightens a row, a copy changes a little."""
    picture = np.random.default_rng(number).integers(0, 180, (SIZE, SIZE, 3), dtype=np.uint8)
    picture[style] += 60
    picture[6:] += np.random.default_rng(1000 + copy).integers(0, 9, (2, SIZE, 3), dtype=np.uint8)
    return picture


def robot(colour: str, eyes: str, copy: int) -> np.ndarray:
    picture = np.full((SIZE, SIZE, 3), COLOURS[colour], np.uint8)
    picture[2, 2 if eyes == "one" else slice(2, 6, 3)] = 255
    picture[7] += np.random.default_rng(copy).integers(0, 20, (SIZE, 3), dtype=np.uint8)
    return picture


def coloured(colour: str, shape: str) -> np.ndarray:
    """A few white pixels that a thing has in every colour."""
    picture = np.full((SIZE, SIZE, 3), COLOURS[colour], np.uint8)
    picture[1 + SHAPES.index(shape)] = 255
    return picture


def silhouette(png, split: str, colour: str, shape: str) -> Sample:
    name = f"{colour} {shape}"
    meta = {"name": name, "style": "", "source": "shapes", "options": {"colour": colour, "thing": shape}, "split": split}
    return Sample(f"{colour}{shape}", png(coloured(colour, shape)), [name], meta)


def sample(png, split: str, number: int, style: int, copy: int = 0) -> Sample:
    name = f"thing {number}"
    meta = {"name": name, "style": STYLES[style], "source": STYLES[style], "options": {}, "split": split}
    return Sample(f"{number:03}{style}{copy}", png(thing(number, style, copy)), [name, f"{name}, {STYLES[style]} style"], meta)


def generated(png, split: str, colour: str, eyes: str, copy: int) -> Sample:
    caption = f"a {colour} robot with {eyes}"
    meta = {"name": caption, "style": "", "source": "robots", "options": {"colour": colour, "eyes": eyes}, "split": split}
    return Sample(f"{colour}{eyes}{copy}", png(robot(colour, eyes, copy)), [caption], meta)


@pytest.fixture(scope="module")
def data(png, tmp_path_factory) -> Path:
    """40 things in six styles and some copies, four held out, and robots of which red with one eye is held out."""
    folder = tmp_path_factory.mktemp("drawings")
    train = [sample(png, "train", number, style) for number in range(40) for style in range(6) if (number + style) % 9]
    train += [sample(png, "train", number, 0, copy) for number in range(10) for copy in range(1, 6)]
    robots = [(colour, eyes) for colour in COLOURS for eyes in ("one", "two") if (colour, eyes) != ("red", "one")]
    train += [generated(png, "train", colour, eyes, copy) for colour, eyes in robots for copy in range(12)]
    train += [silhouette(png, "train", colour, shape) for colour in ("red", "blue") for shape in SHAPES]
    green = [silhouette(png, "held_out_compositions", "green", shape) for shape in SHAPES]
    held_out = {
        "held_out_pairs": [sample(png, "held_out_pairs", n, s) for n in range(40) for s in range(6) if not (n + s) % 9],
        "held_out_concepts": [sample(png, "held_out_concepts", n, s) for n in range(40, 44) for s in range(6)],
        "held_out_compositions": [sample(png, "held_out_compositions", n, s) for n in range(44, 48) for s in range(2)] + green,
        "held_out_combinations": [generated(png, "held_out_combinations", "red", "one", copy) for copy in range(12)],
        "held_out_style": [sample(png, "held_out_style", n, 5, 9) for n in range(20)],
    }
    for split, samples in {"train": train, **held_out}.items():
        write_shards(samples, folder / split)
    return folder


def pixels(picture: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(picture).permute(2, 0, 1) / 127.5 - 1


def shown(prompt: str, seed: int) -> np.ndarray:
    if "robot" in prompt:
        words = prompt.split()
        return robot(words[1], words[-1], seed)
    if prompt.split()[-1] in SHAPES:
        return coloured(*prompt.split())
    number = int(prompt.split(",")[0].split()[1])
    style = next((i for i, name in enumerate(STYLES) if f", {name} style" in prompt), seed % 6)
    return thing(number, style, seed if style == 0 and "style" not in prompt else 0)


class KnowsAll(ClipScorer):
    """A CLIP for which the embedding of a caption is that of a picture which it describes."""

    seen = 0  # real images embedded, not read from the cache

    def __init__(self):
        super().__init__("pixels")

    def provenance(self):
        return {"network": self.model}

    def images(self, images):
        return F.normalize(images.flatten(1), dim=1)

    def forward(self, images):
        self.seen += len(images)
        return super().forward(images)

    def text(self, captions):
        return self.images(torch.stack([pixels(shown(caption, 0)) for caption in captions]))


class Shows:
    """A pipeline that returns real pictures, of the thing `shift` further on; `one` shows the same one for every seed and style."""

    def __init__(self, shift: int = 0, one: bool = False):
        self.shift, self.one = shift, one

    def sample_tensor(self, prompts, seeds, truncation=1.0):
        images = []
        for prompt in prompts:
            if self.shift and "thing" in prompt:
                number, _, rest = prompt.removeprefix("thing ").partition(",")
                prompt = f"thing {(int(number) + self.shift) % 48}" + (f",{rest}" if rest else "")
            elif self.shift:
                prompt = " ".join({"red": "blue", "blue": "red", "green": "red"}.get(word, word) for word in prompt.split())
            images += [pixels(shown(prompt.partition(",")[0] if self.one else prompt, 0 if self.one else seed)) for seed in seeds]
        return torch.stack(images)


def scorer(data: Path, sampler, cache: Path, clip=None) -> DrawingScores:
    return DrawingScores(data, SIZE, clip or KnowsAll(), sampler, distributed_state(), cache)


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def scores(data, cache):
    samplers = {"real": Shows(), "other": Shows(shift=1), "one": Shows(one=True)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(drawings, "CANDIDATES", 20)
        patch.setattr(drawings, "MANY_CANDIDATES", 40)
        return {name: scorer(data, sampler, cache).run() for name, sampler in samplers.items()}


@pytest.mark.parametrize("split", ["train", "held_out_pairs", "held_out_concepts", "held_out_compositions"])
def test_real_pictures_are_found_and_those_of_another_thing_are_not(split, scores):
    for rows in scores["real"][0]["retrieval"][split].values():
        assert rows["generated"]["r_at_1"] > 0.95 and rows["real"]["r_at_1"] > 0.95 and rows["floor"]["r_at_1"] < 0.3
    for rows in scores["other"][0]["retrieval"][split].values():
        assert rows["generated"]["r_at_1"] < 0.3


def test_a_composition_competes_with_its_thing_in_every_colour(data, cache):
    """Who draws every thing in red finds the things among all, and not one colour that was asked for."""

    class Red(Shows):
        def sample_tensor(self, prompts, seeds, truncation=1.0):
            return super().sample_tensor([prompt.replace("green", "red") for prompt in prompts], seeds)

    found = scorer(data, Red(), cache)
    metas = found.real["held_out_compositions"].metas
    further, rivals = found.other_colours(found.real["held_out_compositions"])
    of_cup = next(row for row, meta in zip(rivals, metas, strict=True) if meta["name"] == "green cup")
    assert {(found.names + further)[number] for number in of_cup} == {"red cup", "blue cup"} and not further
    (rows,) = found.score_retrieval("held_out_compositions").values()
    right = 1 - len(SHAPES) / len(metas)
    assert rows["generated"]["r_at_1"] == pytest.approx(right) and rows["real"]["r_at_1"] == 1


def test_training_captions_by_kind_compete_with_their_kind(scores):
    real, other = scores["real"][0]["retrieval_by_kind"], scores["other"][0]["retrieval_by_kind"]
    assert {kind: rows["candidates"] for kind, rows in real.items()} == {"drawn": 20, "coloured": 8, "built": 5}
    assert all(rows["generated"]["r_at_1"] > 0.9 for rows in real.values()) and other["drawn"]["generated"]["r_at_1"] < 0.3


def test_training_captions_are_sought_among_few_and_among_many(scores):
    found = scores["real"][0]["retrieval"]
    assert list(found["train"]) == ["20", "40"] and list(found["held_out_pairs"]) == ["20"]


def test_a_probe_reads_the_options_that_were_asked_for(scores):
    real, other = scores["real"][0]["options"], scores["other"][0]["options"]
    assert real["mean"]["generated"] == real["mean"]["real"] == 1 and set(real["by_source"]["robots"]) == {"colour", "eyes"}
    assert other["by_source"]["robots"]["colour"]["generated"] == 0 and other["by_source"]["robots"]["eyes"]["generated"] > 0.9


def test_the_style_asked_for_is_recognised_and_a_sampler_without_styles_is_at_chance(scores):
    for split in ("train", "held_out_pairs"):
        real, one = scores["real"][0]["style"][split], scores["one"][0]["style"][split]
        assert real["generated"] > 0.9 and abs(one["generated"] - one["chance"]) < 0.25 and one["chance"] < 0.5


def test_one_picture_for_every_seed_has_no_diversity_and_no_recall(scores):
    real, one = scores["real"][0]["diversity"], scores["one"][0]["diversity"]
    assert real["captions"] == one["captions"] == 10  # ten things of more copies; robots are built
    assert one["distance"]["generated"] < 0.01 < real["distance"]["generated"]
    assert real["recall"]["generated"] > 0.6 > one["recall"]["generated"] and one["precision"]["generated"] > 0.5


def test_frechet_grows_when_styles_are_missing(scores):
    real, one = scores["real"][0]["frechet"], scores["one"][0]["frechet"]
    assert real["generated"] < one["generated"] and real["real"] == one["real"] > 0


def test_copies_are_at_no_distance_and_are_shown(scores):
    result, picture = scores["real"]
    assert result["nearest"]["generated"]["closest"] < 1e-3 < result["nearest"]["held_out_concepts"]["closest"]
    assert picture.width > 8 * 128


def test_rows_are_chosen_without_repeats_and_always_the_same():
    assert sorted(chosen(7, 100)) == list(range(7)) and chosen(1000, 10) == chosen(1000, 10) and len(set(chosen(1000, 10))) == 10


def test_the_table_has_a_line_for_every_score(scores):
    lines = table(scores["real"][0] | {"images_seen": 5, "minutes": 1.0}).splitlines()
    for start in (
        "train, R@1 among 20",
        "train, R@5 among 40",
        "held out compositions",
        "train, drawn, R@1 among 20 of them",
        "options",
        "style",
        "distance",
        "recall",
        "Fréchet",
        "5 images",
    ):
        assert any(line.startswith(start) for line in lines), start


def test_a_curve_has_a_line_for_each_number_of_images_smallest_first(scores):
    head, _, *rows = curve({"1200": scores["real"][0], "900": scores["other"][0]}).splitlines()
    assert head.startswith("| images | R@1 | R@1 of 1000 | compositions |")
    other = scores["other"][0]["retrieval"]["train"]
    few, many = (f"{other[count]['generated']['r_at_1']:.3f}" for count in ("20", "40"))
    assert rows[0].startswith(f"| 900 | {few} | {many} |") and rows[1].startswith("| 1,200 |") and len(rows) == 2


def test_a_missing_split_is_refused(data, cache):
    with pytest.raises(UserError, match="has no images in the split train"):
        scorer(data / "train", Shows(), cache)


def test_too_few_pictures_of_a_caption_are_refused(data, cache, monkeypatch):
    monkeypatch.setattr(drawings, "PER_PROMPT", 99)
    with pytest.raises(UserError, match="no caption with 99 real pictures"):
        scorer(data, Shows(), cache).score_diversity()


def test_real_pictures_are_embedded_once(data, tmp_path):
    first, second = KnowsAll(), KnowsAll()
    embedded = scorer(data, Shows(), tmp_path, first).real["train"]
    again = scorer(data, Shows(), tmp_path, second).real["train"]
    assert first.seen > len(embedded.metas) and second.seen == 0
    assert torch.equal(embedded.features, again.features) and embedded.captions == again.captions


def test_the_script(script, kit, data, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(drawings, "CANDIDATES", 20)
    recipe = parse(Recipe, tiny_recipe(kit, guided=False), "")
    save_model(tmp_path / "run/model", build_system(recipe).generator, recipe, {})
    (tmp_path / "run/metrics.jsonl").write_text('{"images": 8, "seconds": 30.0}')
    assert script("drawings", "--model", tmp_path / "run", "--data", data, "--scorer", kit.clip, "--out", tmp_path / "new/result.json") == 0
    result = json.loads((tmp_path / "new/result.json").read_text())
    scores = {"retrieval", "retrieval_by_kind", "options", "style", "diversity", "frechet", "nearest"}
    assert set(result) == scores | {"images_seen", "minutes"}
    assert "8 images seen in 0.5 minutes" in capsys.readouterr().out and Image.open(tmp_path / "new/result.png").width > 8 * 64


def test_the_curve_of_a_run_scores_each_snapshot_once(script, kit, data, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(drawings, "CANDIDATES", 20)
    recipe = parse(Recipe, tiny_recipe(kit, guided=False), "")
    options = ("--model", tmp_path, "--data", data, "--scorer", kit.clip, "--frechet-images", 40, "--out", tmp_path / "curve.json")
    assert script("drawings_curve", *options) == 2 and "train it with training.snapshot_every" in capsys.readouterr().err
    save_model(tmp_path / "snapshots/000000008", build_system(recipe).generator, recipe, {})
    assert script("drawings_curve", *options) == 0
    first = json.loads((tmp_path / "curve.json").read_text())["8"]
    assert first["frechet"]["images"] == 40
    (tmp_path / "snapshots/000000008/model.safetensors").unlink()  # is not read again
    save_model(tmp_path / "snapshots/000000016", build_system(recipe).generator, recipe, {})
    capsys.readouterr()
    assert script("drawings_curve", *options) == 0
    found = json.loads((tmp_path / "curve.json").read_text())
    assert set(found) == {"8", "16"} and found["8"] == first and capsys.readouterr().out.count("\n") == 4
