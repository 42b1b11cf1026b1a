"""Whether captions matter: on systems of which it is known."""

import json
import sys

import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from tiny import ROOT, override, tiny_recipe, trainer_of

pytest_plugins = ["kit"]
sys.path.insert(0, str(ROOT))  # eval is a folder of scripts, not an installed package

from eval import text_matters as script  # noqa: E402
from t2igan.errors import UserError  # noqa: E402
from t2igan.objective.matching import mismatch  # noqa: E402
from t2igan.pyramid import build_pyramid  # noqa: E402


class Eye:
    """Sees pictures as they are; a caption looks like its own picture."""

    @staticmethod
    def images(images):
        return F.normalize(images.flatten(1), dim=1)

    def text(self, captions):
        return self.images(torch.stack([noise(caption) for caption in captions]))


def noise(what) -> torch.Tensor:
    return torch.randn(3, 8, 8, generator=torch.Generator().manual_seed(int(str(what).split()[-1])))


class Draws:
    """A generator that hears the caption only, or the seed only."""

    def __init__(self, hears: str):
        self.hears = hears

    def images(self, prompts, seeds):
        pairs = [(prompt, seed) for prompt in prompts for seed in seeds]
        return torch.stack([noise(prompt if self.hears == "caption" else seed) for prompt, seed in pairs])


def test_a_generator_that_hears_the_caption_alone(kit):
    figures, images, names = script.drawn(Draws("caption"), Eye(), str(kit.shards), 8)
    assert len(names) == figures["prompts"] == 8 and images.shape == (8, 8, 3, 8, 8)
    assert figures["r_at_1"] == figures["same_subject_over_seeds"] == figures["all_seeds_right"] == 1
    assert figures["same_caption_other_seed_pixels"] == pytest.approx(0, abs=1e-6)
    assert figures["other_caption_same_seed_pixels"] == pytest.approx(2**0.5, rel=0.1), "unit noise against unit noise"


def test_a_generator_that_hears_the_seed_alone(kit):
    figures, _, _ = script.drawn(Draws("seed"), Eye(), str(kit.shards), 8)
    assert figures["other_caption_same_seed_pixels"] == pytest.approx(0, abs=1e-6) and figures["all_seeds_right"] == 0
    assert figures["same_caption_other_seed_pixels"] > 1 and figures["r_at_1"] < 0.5


@pytest.fixture(scope="module")
def run(kit, tmp_path_factory):
    folder = tmp_path_factory.mktemp("matters") / "run"
    trainer = trainer_of(override(tiny_recipe(kit, guided=False), training__images=16, training__prompts=[]), folder)
    trainer.train()
    return trainer


def test_d_is_asked_about_the_own_and_another_caption(run, kit):
    found = script.judged(run.out, str(kit.shards), 40)
    assert found["real_pictures"] == 64, "whole batches"
    own, other, D = [], [], run.discriminator.eval()
    dataset = script_dataset(kit)
    for step in range(2):
        batch = dataset[step]
        text = run.describe(batch.names)
        text = type(text)(text.local, text.pooled, text.source, torch.zeros(len(batch), dtype=torch.long))
        pairings = torch.arange(len(batch)), mismatch(batch.names, batch.names)
        with torch.no_grad():
            a, b = D(build_pyramid(batch.images, (16, 8)), text, *pairings)
        own.append(a.mean(lambda x: x))
        other.append(b.mean(lambda x: x))
    difference = torch.cat(own) - torch.cat(other)
    assert found["caption_sensitivity"] == pytest.approx(difference.abs().mean().item(), rel=1e-5) and found["caption_sensitivity"] > 0
    assert found["own_caption_more_real"] == pytest.approx((difference > 0).float().mean().item())


def script_dataset(kit):
    from t2igan.data.shards import Shards, StepBatches

    return StepBatches(Shards(str(kit.shards)), 16, script.BATCH, seed=0)


def test_the_whole_command(run, kit, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("T2IGAN_CACHE", str(tmp_path / "cache"))
    words = ["--model", run.out, "--data", kit.shards, "--scorer", kit.clip, "--prompts", "4", "--pictures", "8"]
    words += ["--out", tmp_path / "result.json", "--picture", tmp_path / "grid.png"]
    monkeypatch.setattr(sys, "argv", ["text_matters.py", *map(str, words)])
    script.main()
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["generator"]["prompts"] == 4 and result["discriminator"]["real_pictures"] == 32
    assert "another caption, same seed" in capsys.readouterr().out
    assert Image.open(tmp_path / "grid.png").size == (8 * (64 + 4) + 4, 4 * (64 + 16 + 4))


def test_a_model_without_a_checkpoint_is_refused(run, kit, tmp_path):
    (tmp_path / "recipe.yaml").write_text((run.out / "recipe.yaml").read_text())
    with pytest.raises(UserError, match="has no checkpoint, and so no discriminator"):
        script.judged(tmp_path, str(kit.shards), 8)
