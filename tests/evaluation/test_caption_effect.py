"""The effect of captions on systems for which it is known."""

import json
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from tiny import override, run_of, tiny_recipe

from t2igan.data.batches import TrainingBatches
from t2igan.data.shards import Shards
from t2igan.evaluation.caption_effect import BATCH, discriminator_effect, generator_effect
from t2igan.objective.matching import mismatched_captions
from t2igan.pyramid import build_pyramid
from t2igan.types import ImageSet

pytest_plugins = ["kit"]


class Pixels:
    """A CLIP whose embeddings are pixels; a caption has those of its image."""

    @staticmethod
    def images(images):
        return F.normalize(images.flatten(1), dim=1)

    def text(self, captions):
        return self.images(torch.stack([noise(caption) for caption in captions]))


def noise(what) -> torch.Tensor:
    return torch.randn(3, 8, 8, generator=torch.Generator().manual_seed(int(str(what).split()[-1])))


class DependsOn:
    """A generator whose images depend on the caption only, or on the seed only."""

    def __init__(self, what: str):
        self.what = what

    def sample_tensor(self, prompts, seeds, truncation=1.0):
        pairs = [(prompt, seed) for prompt in prompts for seed in seeds]
        return torch.stack([noise(prompt if self.what == "caption" else seed) for prompt, seed in pairs])


def test_a_generator_that_depends_on_the_caption_alone(kit):
    found = generator_effect(DependsOn("caption"), Pixels(), str(kit.shards), 8)
    figures = found.figures
    assert len(found.prompts) == figures["prompts"] == 8 and found.images.shape == (8, 8, 3, 8, 8)
    assert figures["r_at_1"] == figures["same_subject_over_seeds"] == figures["all_seeds_right"] == 1
    assert figures["same_caption_other_seed_pixels"] == pytest.approx(0, abs=1e-6)
    assert figures["other_caption_same_seed_pixels"] == pytest.approx(2**0.5, rel=0.1), "unit noise against unit noise"


def test_a_generator_that_depends_on_the_seed_alone(kit):
    figures = generator_effect(DependsOn("seed"), Pixels(), str(kit.shards), 8).figures
    assert figures["other_caption_same_seed_pixels"] == pytest.approx(0, abs=1e-6) and figures["all_seeds_right"] == 0
    assert figures["same_caption_other_seed_pixels"] > 1 and figures["r_at_1"] < 0.5


@pytest.fixture(scope="module")
def run(kit, tmp_path_factory):
    folder = tmp_path_factory.mktemp("matters") / "run"
    run = run_of(override(tiny_recipe(kit, guided=False), training__total_images=16, training__prompts=[]), folder)
    run.train()
    return run


def test_d_scores_the_true_and_another_caption(run, kit):
    found = discriminator_effect(run.trainer.discriminator, run.trainer.encode_text, 16, str(kit.shards), 40)
    assert found["real_pictures"] == 64, "whole batches"
    own, other, D = [], [], run.trainer.discriminator.eval()
    dataset = TrainingBatches(Shards(str(kit.shards)), 16, BATCH, seed=0)
    for step in range(2):
        batch = dataset[step * BATCH]
        text = run.trainer.encode_text(batch.primary_captions)
        text = replace(text, cluster=torch.zeros(len(batch), dtype=torch.long))
        captions = torch.arange(len(batch)), mismatched_captions(batch.primary_captions, batch.primary_captions)
        with torch.no_grad():
            ((a, b),) = D([ImageSet(build_pyramid(batch.images, (16, 8)), captions)], text)
        own.append(a.mean(lambda x: x))
        other.append(b.mean(lambda x: x))
    difference = torch.cat(own) - torch.cat(other)
    assert found["caption_sensitivity"] == pytest.approx(difference.abs().mean().item(), rel=1e-5) and found["caption_sensitivity"] > 0
    assert found["own_caption_more_real"] == pytest.approx((difference > 0).float().mean().item())


def test_the_script(run, kit, script, tmp_path, capsys):
    words = ["--data", kit.shards, "--scorer", kit.clip, "--prompts", 4, "--pictures", 8, "--out", tmp_path / "new/result.json"]
    assert script("caption_effect", "--model", run.out, *words, "--picture", tmp_path / "grid.png") == 0
    result = json.loads((tmp_path / "new/result.json").read_text())
    expected = discriminator_effect(run.trainer.discriminator, run.trainer.encode_text, 16, str(kit.shards), 8)
    assert result["generator"]["prompts"] == 4 and result["discriminator"] == pytest.approx(expected, rel=1e-4)  # from the checkpoint
    assert "another caption, same seed" in capsys.readouterr().out
    assert Image.open(tmp_path / "grid.png").size == (8 * (64 + 4) + 4, 4 * (64 + 16 + 4))

    (tmp_path / "copy").mkdir()
    (tmp_path / "copy/recipe.yaml").write_text((run.out / "recipe.yaml").read_text())
    (tmp_path / "copy/model").symlink_to(run.out / "model")
    assert script("caption_effect", "--model", tmp_path / "copy", *words) == 2
    assert "has no checkpoint, and so no discriminator" in capsys.readouterr().err
