"""The emoji benchmark on generators whose score is known: one that shows the real pictures, one that shows another thing's."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # eval is a folder of scripts, not an installed package

from eval import emoji as script  # noqa: E402
from t2igan.data.write import Sample, write_shards  # noqa: E402
from t2igan.errors import UserError  # noqa: E402

SIZE, HANDS = 8, ("left", "right")
KEYS = {"r_at_1", "r_at_5", "real_r_at_1", "real_r_at_5", "floor_r_at_1", "floor_r_at_5", "candidates"}
SPLITS = {"train": range(100), "held_out_compositions": range(100, 106), "held_out_concepts": range(106, 112)}


def art(thing: int, hand: int) -> np.ndarray:
    """A thing's own noise, lighter on the side of the hand that drew it."""
    picture = np.random.default_rng(thing).integers(0, 200, (SIZE, SIZE, 3), dtype=np.uint8)
    picture[:, slice(4 * hand, 4 * hand + 4)] += 40
    return picture


@pytest.fixture(scope="module")
def data(png, tmp_path_factory) -> Path:
    """100 things in both hands to train on but for ten pairs, and two splits of six things each."""
    folder = tmp_path_factory.mktemp("benchmark")

    def sample(thing: int, hand: int) -> Sample:
        styled = f"thing {thing}, {HANDS[hand]} style"
        meta = {"style": HANDS[hand], "captions_styled": [styled]}
        return Sample(f"{thing:03d}{hand}", png(art(thing, hand)), [f"thing {thing}", styled], meta)

    for split, things in SPLITS.items():
        write_shards([sample(t, h) for t in things for h in (0, 1) if split != "train" or t >= 10 or h == 0], folder / split)
    write_shards([sample(t, 1) for t in range(10)], folder / "held_out_pairs")
    return folder


def pixels(thing: int, hand: int) -> torch.Tensor:
    return torch.from_numpy(art(thing, hand)).permute(2, 0, 1) / 127.5 - 1


class Eye:
    """Knows every picture: a caption's embedding is the mean of its thing's pictures."""

    @staticmethod
    def images(images):
        return F.normalize(images.flatten(1), dim=1)

    def text(self, captions):
        return torch.cat([self.images(torch.stack([pixels(int(c.split()[1]), hand) for hand in (0, 1)]).mean(0)[None]) for c in captions])


class Shows:
    """A pipeline that shows real pictures, of the thing `shift` further on; without a style word, seeds alternate between `hands`."""

    resolution = SIZE

    def __init__(self, shift=0, hands=(0, 1)):
        self.shift, self.hands = shift, hands

    def images(self, prompts, seeds, truncation):
        assert truncation == 1.0
        shown = []
        for prompt in prompts:
            thing = (int(prompt.split(",")[0].split()[1]) + self.shift) % 112
            asked = [hand for hand, name in enumerate(HANDS) if name in prompt]
            shown += [pixels(thing, (asked or self.hands)[seed % len(asked or self.hands)]) for seed in seeds]
        return torch.stack(shown)


@pytest.fixture(scope="module")
def scores(data):
    pipelines = {"real": Shows(), "other": Shows(shift=1), "one hand": Shows(hands=(0,))}
    return {name: script.Benchmark(data, Eye(), pipeline, 1.0).run() for name, pipeline in pipelines.items()}


@pytest.mark.parametrize("split", ["train", "held_out_pairs", "held_out_compositions", "held_out_concepts"])
def test_real_pictures_score_as_real_ones_and_others_as_the_floor(split, scores):
    real, other = scores["real"][split], scores["other"][split]
    assert set(real) == KEYS and real["candidates"] == 100
    assert real["r_at_1"] == real["real_r_at_1"] == real["r_at_5"] == 1
    assert other["r_at_1"] == real["floor_r_at_1"] == 0 and other["r_at_5"] < 0.2


def test_frechet_is_zero_for_the_real_pictures_and_grows_when_a_style_is_missing(scores):
    assert scores["real"]["frechet"] < scores["one hand"]["frechet"]
    by_style = scores["real"]["frechet_by_style"]
    assert by_style["asked_for"] < 1e-5 < by_style["other_styles"]
    assert scores["one hand"]["frechet_real"]["one style against the others"] > 0


def test_diversity_of_a_half_and_half_mixture_and_of_one_style(scores):
    """Of eight pictures in two equal halves, 4 * 4 of the 28 pairs differ."""
    both, one = scores["real"], scores["one hand"]
    assert both["diversity"]["generated"] == pytest.approx(both["diversity"]["real"] * 16 / 28, rel=1e-4)
    assert both["style_coverage"] == {"generated": 1.0, "one_style_only": 0.5, "styles": 2, "seeds": 8}
    assert one["diversity"]["generated"] == pytest.approx(0, abs=1e-3) and one["style_coverage"]["generated"] == 0.5


def test_copies_are_at_no_distance_from_training_pictures(scores):
    found = scores["one hand"]["nearest_training_picture"]
    assert found["generated"] < 1e-3 < found["real_held_out"]


def test_the_table_has_a_line_for_every_split(scores):
    table = script.table(scores["real"] | {"images_seen": 5, "minutes": 1.0})
    for line in ("train ", "held out pairs", "held out compositions", "held out concepts", "Fréchet", "diversity", "style coverage over 8"):
        assert line in table


def test_one_style_is_refused_before_anything_is_drawn(png, tmp_path):
    for split in script.SPLITS:
        write_shards([Sample("0", png("red"), ["a", "a, flat style"], {"style": "flat"})], tmp_path / split)
    with pytest.raises(UserError, match="one style only"):
        script.Benchmark(tmp_path, Eye(), Shows(), 1.0)


def test_minutes_add_up_over_resumed_stretches(tmp_path):
    lines = [{"images": 8, "seconds": 30.0}, {"images": 16, "seconds": 60.0}, {"images": 24, "seconds": 12.0}]
    (tmp_path / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert script.facts(tmp_path) == {"images_seen": 24, "minutes": 1.2}
    (tmp_path / "metrics.jsonl").write_text('{"images": 8, "sec')
    with pytest.raises(UserError, match="has logged no step yet"):
        script.facts(tmp_path)
    with pytest.raises(UserError, match=r"no metrics\.jsonl"):
        script.facts(tmp_path / "model")
