"""Scores on held-out splits of generators whose score is known: one that shows the real images, one that shows those of another thing."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from tiny import generator_of, tiny_recipe, without_text

from t2igan.config import Recipe
from t2igan.data.write import Sample, write_shards
from t2igan.errors import UserError
from t2igan.evaluation import splits
from t2igan.evaluation.splits import SplitScores, read_splits
from t2igan.inference.model_folder import save_model
from t2igan.inference.run_log import training_facts
from t2igan.recipe import parse
from t2igan.system import build_system

pytest_plugins = ["kit"]

SIZE, STYLES = 8, ("left", "right")
KEYS = {"r_at_1", "r_at_5", "real_r_at_1", "real_r_at_5", "floor_r_at_1", "floor_r_at_5", "candidates"}
THINGS = {"train": range(100), "held_out_compositions": range(100, 106), "held_out_concepts": range(106, 112)}


def art(thing: int, style: int) -> np.ndarray:
    """The noise of a thing, lighter on one side, which is its style."""
    picture = np.random.default_rng(thing).integers(0, 200, (SIZE, SIZE, 3), dtype=np.uint8)
    picture[:, slice(4 * style, 4 * style + 4)] += 40
    return picture


@pytest.fixture(scope="module")
def data(png, tmp_path_factory) -> Path:
    """100 things in both styles to train on, except ten pairs, and two splits of six things each."""
    folder = tmp_path_factory.mktemp("benchmark")

    def sample(thing: int, style: int) -> Sample:
        styled = f"thing {thing}, {STYLES[style]} style"
        meta = {"style": STYLES[style], "captions_styled": [styled]}
        return Sample(f"{thing:03d}{style}", png(art(thing, style)), [f"thing {thing}", styled], meta)

    for split, things in THINGS.items():
        write_shards([sample(t, h) for t in things for h in (0, 1) if split != "train" or t >= 10 or h == 0], folder / split)
    write_shards([sample(t, 1) for t in range(10)], folder / "held_out_pairs")
    (folder / "splits.json").write_text(json.dumps({split: [f"thing {t}" for t in things] for split, things in THINGS.items()}))
    return folder


def pixels(thing: int, style: int) -> torch.Tensor:
    return torch.from_numpy(art(thing, style)).permute(2, 0, 1) / 127.5 - 1


class KnowsAll:
    """A CLIP for which the embedding of a caption is the mean of the images of its thing."""

    @staticmethod
    def images(images):
        return F.normalize(images.flatten(1), dim=1)

    def text(self, captions):
        return torch.cat([self.images(torch.stack([pixels(int(c.split()[1]), style) for style in (0, 1)]).mean(0)[None]) for c in captions])


class Shows:
    """A pipeline that returns real images, of the thing `shift` further on; without a style word, seeds alternate between `styles`."""

    def __init__(self, shift=0, styles=(0, 1)):
        self.shift, self.styles = shift, styles

    def sample_tensor(self, prompts, seeds, truncation):
        assert truncation == 1.0
        shown = []
        for prompt in prompts:
            thing = (int(prompt.split(",")[0].split()[1]) + self.shift) % 112
            named = [style for style, name in enumerate(STYLES) if name in prompt]
            shown += [pixels(thing, (named or self.styles)[seed % len(named or self.styles)]) for seed in seeds]
        return torch.stack(shown)


@pytest.fixture(scope="module")
def scores(data):
    pipelines = {"real": Shows(), "other": Shows(shift=1), "one style": Shows(styles=(0,))}
    return {name: SplitScores(read_splits(data, SIZE), KnowsAll(), pipeline, 1.0).run() for name, pipeline in pipelines.items()}


@pytest.mark.parametrize("split", ["train", "held_out_pairs", "held_out_compositions", "held_out_concepts"])
def test_real_images_score_as_real_ones_and_others_as_the_floor(split, scores):
    real, other = scores["real"][split], scores["other"][split]
    assert set(real) == KEYS and real["candidates"] == 100
    assert real["r_at_1"] == real["real_r_at_1"] == real["r_at_5"] == 1
    assert other["r_at_1"] == real["floor_r_at_1"] == 0 and other["r_at_5"] < 0.2


def test_frechet_is_zero_for_the_real_images_and_grows_when_a_style_is_missing(scores):
    assert scores["real"]["frechet"] < scores["one style"]["frechet"]
    by_style = scores["real"]["frechet_by_style"]
    assert by_style["asked_for"] < 1e-5 < by_style["other_styles"]
    assert scores["one style"]["frechet_real"]["one style against the others"] > 0


def test_diversity_of_a_half_and_half_mixture_and_of_one_style(scores):
    """Of eight images in two equal halves, 4 * 4 of the 28 pairs differ."""
    both, one = scores["real"], scores["one style"]
    assert both["diversity"]["generated"] == pytest.approx(both["diversity"]["real"] * 16 / 28, rel=1e-4)
    assert both["style_coverage"] == {"generated": 1.0, "one_style_only": 0.5, "styles": 2, "seeds": 8}
    assert one["diversity"]["generated"] == pytest.approx(0, abs=1e-3) and one["style_coverage"]["generated"] == 0.5


def test_copies_are_at_no_distance_from_training_images(scores):
    found = scores["one style"]["nearest_training_picture"]
    assert found["generated"] < 1e-3 < found["real_held_out"]


def test_the_table_has_a_line_for_every_split(scores):
    table = splits.table(scores["real"] | {"images_seen": 5, "minutes": 1.0})
    for line in ("train ", "held out pairs", "held out compositions", "held out concepts", "Fréchet", "diversity", "style coverage over 8"):
        assert line in table


@pytest.mark.parametrize(("names", "said"), [("ab", "one style only"), ("a", "the split train of .* has one caption only")])
def test_a_split_of_one_style_or_one_caption_is_refused(names, said, png, tmp_path):
    samples = [Sample(name, png("red"), [name, f"{name}, flat style"], {"style": "flat"}) for name in names]
    for split in splits.SPLITS:
        write_shards(samples, tmp_path / split)
    with pytest.raises(UserError, match=said):
        read_splits(tmp_path, SIZE)
    with pytest.raises(UserError, match="has no 'train' split; give a folder with the folders train, held_out_pairs"):
        read_splits(tmp_path / "train", SIZE)


def test_minutes_add_up_over_resumed_stretches(tmp_path):
    lines = [{"images": 8, "seconds": 30.0}, {"images": 16, "seconds": 60.0}, {"images": 24, "seconds": 12.0}]
    (tmp_path / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert training_facts(tmp_path) == {"images_seen": 24, "minutes": 1.2}
    (tmp_path / "metrics.jsonl").write_text('{"images": 8, "sec')
    with pytest.raises(UserError, match="has logged no step yet"):
        training_facts(tmp_path)
    with pytest.raises(UserError, match=r"no metrics\.jsonl"):
        training_facts(tmp_path / "model")


def test_the_script(script, kit, data, tmp_path, capsys):
    recipe = parse(Recipe, tiny_recipe(kit, guided=False), "")
    save_model(tmp_path / "run/model", build_system(recipe).generator, recipe, {})
    (tmp_path / "run/metrics.jsonl").write_text('{"images": 8, "seconds": 30.0}')
    words = ["--model", tmp_path / "run", "--data", data, "--scorer", kit.clip, "--out", tmp_path / "new/result.json"]
    assert script("emoji", *words, "--picture", tmp_path / "grid.png") == 0
    result = json.loads((tmp_path / "new/result.json").read_text())
    assert set(result) == {
        *splits.SPLITS, "frechet", "frechet_real", "frechet_by_style", "diversity", "style_coverage", "nearest_training_picture",
        "images_seen", "minutes",
    }  # fmt: skip
    assert "8 images seen in 0.5 minutes" in capsys.readouterr().out and Image.open(tmp_path / "grid.png").width > 8 * 64


def test_the_script_scores_a_model_without_text_by_what_needs_no_prompt(script, kit, data, tmp_path, capsys):
    recipe = parse(Recipe, without_text(tiny_recipe(kit, guided=False)), "")
    save_model(tmp_path / "run/model", generator_of(recipe), recipe, {})
    (tmp_path / "run/metrics.jsonl").write_text('{"images": 8, "seconds": 30.0}')
    words = ["--model", tmp_path / "run", "--data", data, "--scorer", kit.clip, "--out", tmp_path / "result.json"]
    assert script("emoji", *words, "--picture", tmp_path / "grid.png") == 0
    result = json.loads((tmp_path / "result.json").read_text())
    assert set(result) == {"frechet", "frechet_real", "diversity_of_all", "nearest_training_picture", "images_seen", "minutes"}
    assert f"diversity of all images {result['diversity_of_all']['generated']:.3f}" in capsys.readouterr().out
    assert Image.open(tmp_path / "grid.png").width >= 12 * 64


def test_without_text_copies_of_the_training_images_are_at_no_distance(data):
    class Copies:
        def sample_tensor(self, prompts, seeds, truncation):
            assert list(prompts) == [""]
            return read_splits(data, SIZE)["train"].images[list(seeds)]

    result = SplitScores(read_splits(data, SIZE), KnowsAll(), Copies(), 1.0).run_without_text()
    assert result["frechet"] < 1e-5 and result["nearest_training_picture"]["generated"] < 1e-3
    assert result["diversity_of_all"]["generated"] == pytest.approx(result["diversity_of_all"]["real"])
