"""A run's folder: what it refuses, what a resumed run may change, what it publishes, how its data are read."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file
from tiny import override, run_of, take_steps, tiny_recipe

from t2igan.config import Recipe
from t2igan.data.shards import Shards
from t2igan.data.write import Sample, write_shards
from t2igan.errors import UserError
from t2igan.files import one_writer
from t2igan.inference.pipeline import Pipeline
from t2igan.recipe import load_recipe, parse
from t2igan.system import build_system
from t2igan.training.clusters import Clusters
from t2igan.training.run import Run

pytest_plugins = ["kit"]
PLAIN = {"training__cluster_features": None}


# ------------------------------------------------------------------------------------------------ resuming


CHANGES = [
    ("seed", 4, "seed from 3 to 4"),
    ("training__batch", 4, "training.batch from 8 to 4"),
    ("generator__synthesis__channels", [8, 8, 16], r"generator.synthesis.channels from \[8, 8, 8\] to \[8, 8, 16\]"),
    ("objective__generator", [{"kind": "nonsaturating", "weight": 2}], "objective.generator.nonsaturating.weight from 1.0 to 2.0"),
]


def test_a_run_is_not_resumed_under_another_recipe(tiny):
    run = tiny(training__total_images=8, **PLAIN)
    run.train()
    for path, value, what in CHANGES:
        with pytest.raises(UserError, match=f"another recipe .*{what}.*resume with .*recipe.yaml"):
            tiny(**{"training__total_images": 16, path: value, **PLAIN}).train(resume=True)
        assert load_recipe(run.out).training.total_images == 8, "nothing was written"


def test_a_run_may_be_made_longer_and_watched_otherwise(tiny):
    tiny(training__total_images=8, **PLAIN).train()
    watched = {"training__log_every": 2, "training__prompts": ["number 5"], "training__keep_checkpoints": 1}
    longer = tiny(training__total_images=16, **watched, **PLAIN)
    longer.train(resume=True)
    assert longer.trainer.images == 16 and len(longer.checkpoints.all()) == 1
    assert load_recipe(longer.out).training.total_images == 16


def test_snapshots_are_models_of_their_moment_and_change_nothing(tiny, kit, tmp_path):
    plain = tiny(training__total_images=16, **PLAIN)
    plain.train()
    watched = {"training__total_images": 16, "training__snapshot_every": 8, **PLAIN}
    run = run_of(override(tiny_recipe(kit, guided=False), **watched), tmp_path / "watched")
    run.train()
    folders = sorted((run.out / "snapshots").iterdir())
    assert [folder.name for folder in folders] == ["000000008", "000000016"]
    early, late, end, other = (load_file(f / "model.safetensors") for f in (*folders, run.out / "model", plain.out / "model"))
    assert all(torch.equal(late[name], end[name]) and torch.equal(end[name], other[name]) for name in end)
    assert any(not torch.equal(early[name], late[name]) for name in late)
    assert Pipeline.load(folders[0], "cpu").sample_tensor(["number 5"], [0]).shape == (1, 3, 16, 16)
    assert "images_seen: 8" in (folders[0] / "README.md").read_text()


def test_a_resumed_run_keeps_which_cluster_has_which_number(tiny, monkeypatch):
    """Clustering again might exchange the numbers, on another device or with a CLIP trained anew."""
    first = tiny(training__total_images=8)
    first.train()
    found = first.trainer.clusters
    exchanged = Clusters(tuple(cluster if cluster < 0 else 1 - cluster for cluster in found.of_sample), found.ambiguous)
    assert exchanged != found
    monkeypatch.setattr("t2igan.training.run.find_clusters", lambda *_: exchanged)
    second = tiny(training__total_images=16)
    second.train(resume=True)
    assert second.trainer.clusters == found and second.trainer.images == 16


def test_a_run_is_not_resumed_on_other_images(tiny, kit, tmp_path):
    tiny(training__total_images=8, **PLAIN).train()
    fewer = tmp_path / "fewer"
    fewer.mkdir()
    shutil.copy(kit.shards / "00000.tar", fewer)
    with pytest.raises(UserError, match="was trained on 23 images, the shards hold 8"):
        tiny(training__total_images=16, data__shards=str(fewer), **PLAIN).train(resume=True)


def test_other_images_of_the_same_count_are_noticed_and_moved_ones_are_not(tiny, kit, tmp_path):
    tiny(training__total_images=8, **PLAIN).train()
    records = [Shards(str(kit.shards)).read(number) for number in range(23)]
    other = [Sample(f"{n:05d}", record.image, ["a caption of its own"], record.meta) for n, record in enumerate(records)]
    write_shards(other, tmp_path / "other", per_shard=8)
    with pytest.raises(UserError, match=r"was trained on other images than the 23 in .*other"):
        tiny(training__total_images=16, data__shards=str(tmp_path / "other"), **PLAIN).train(resume=True)
    shutil.copytree(kit.shards, tmp_path / "moved")
    moved = tiny(training__total_images=16, data__shards=str(tmp_path / "moved"), **PLAIN)
    moved.train(resume=True)
    assert moved.trainer.images == 16


@pytest.mark.parametrize(("wanted", "bound", "kept"), [(None, 23, True), (None, 22, False), (True, 22, True), (False, 23, False)])
def test_text_features_are_kept_on_disk_as_the_recipe_or_the_size_of_the_data_says(wanted, bound, kept, kit, tmp_path, monkeypatch):
    monkeypatch.setattr("t2igan.training.run.MAX_CACHED", bound)
    recipe = parse(Recipe, override(tiny_recipe(kit), training__total_images=8, data__cache_captions=wanted, **PLAIN), "")
    Run(recipe, build_system(recipe), tmp_path / "run", tmp_path / "cache").train()
    assert (tmp_path / "cache").exists() == kept


# ------------------------------------------------------------------------------------------------ steps that are skipped


TOO_FAST = {"training__generator_optimizer__lr": 1e30, "training__discriminator_optimizer__lr": 1e30, **PLAIN}


def test_a_run_that_skips_too_many_steps_in_a_row_stops(tiny):
    run = tiny(training__total_images=96, training__max_skipped_steps=3, training__checkpoint_every=8, training__log_every=1, **TOO_FAST)
    with pytest.raises(UserError, match=r"3 steps in a row were skipped.*stops at .* images \(.*checkpoint.*lower the learning rates"):
        run.train()
    skipped = [step for step in run.checkpoints.all() if int(step.name) > 8 * (run.trainer.steps - 3)]
    assert not skipped, "no checkpoint of a skipped step"
    assert run.trainer.steps < 12 and not (run.out / "model").exists()
    assert not [line for line in (run.out / "metrics.jsonl").read_text().splitlines() if "NaN" in line or "Infinity" in line]


def test_a_short_run_that_learned_nothing_does_not_end_as_a_success(tiny):
    run = tiny(training__total_images=48, **TOO_FAST)
    with pytest.raises(UserError, match="steps in a row were skipped"):
        run.train()
    assert run.trainer.images == 48 and not (run.out / "model").exists()


def test_a_checkpoint_waits_for_a_step_that_is_not_skipped(tiny):
    run = tiny(training__total_images=40, training__checkpoint_every=16, **PLAIN)
    step = run.trainer.step

    def poisoned(batch):
        if run.trainer.images == 8:
            batch.images[0, 0, 0, 0] = float("nan")
        return step(batch)

    run.trainer.step = poisoned
    run.train()
    assert [int(path.name) for path in run.checkpoints.all()] == [32, 40] and (run.out / "model").is_dir()
    state = json.loads((run.checkpoints.latest() / "state.json").read_text())
    assert sum(state["skipped_steps"].values()) >= 1


def test_two_processes_do_not_train_in_one_folder(tiny):
    run = tiny(training__total_images=8, **PLAIN)
    with one_writer(run.out), pytest.raises(UserError, match=r"another process is writing .*run"):
        run.train()
    assert not run.out.exists()
    run.train()


def test_a_checkpoint_that_lacks_a_file_is_refused(tiny):
    run = tiny(training__total_images=8, **PLAIN)
    run.train()
    for name in ("generator_optimizer", "discriminator", "ema", "objective", "augment"):
        file = run.checkpoints.latest() / f"{name}.safetensors"
        content = file.read_bytes()
        file.unlink()
        with pytest.raises(UserError, match=f"does not fit the recipe .*{name}"):
            tiny(training__total_images=16, **PLAIN).train(resume=True)
        file.write_bytes(content)


def test_there_must_be_something_to_resume_and_nothing_to_overwrite(tiny):
    with pytest.raises(UserError, match="has no checkpoint to resume from; leave out --resume"):
        tiny(**PLAIN).train(resume=True)
    tiny(training__total_images=8, **PLAIN).train()
    with pytest.raises(UserError, match="already holds a run; add --resume"):
        tiny(training__total_images=8, **PLAIN).train()


def test_a_folder_of_something_else_is_not_written_into(tiny, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.tex").write_text("three years of work")
    with pytest.raises(UserError, match="holds something else than a run"):
        tiny(**PLAIN).train()
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["thesis.tex"]


# ------------------------------------------------------------------------------------------------ the model and the log


def test_the_published_model_has_its_mean_style(tiny):
    run = tiny(training__total_images=16, **PLAIN)
    model = Pipeline.load(run.train())
    text = model.generator.adapt(model.encode_text(run.shards.primary_captions()))
    expected = model.generator.mapper.conditional_mean(text, latents=16).mean(0)
    assert torch.allclose(model.generator.mapper.mean_style, expected, atol=1e-6) and expected.any()


def test_the_log_shows_the_rate_that_was_used(tiny):
    run = tiny(training__generator_optimizer={"lr": {"linear": [0.004, 0.0, 80]}, "warmup": 32}, **PLAIN)
    take_steps(run, 1)
    group = run.trainer.g_optimizer.adam.param_groups[0]
    assert run._figures()["G/lr"] == pytest.approx(group["lr"]) == pytest.approx(0.001)


# ------------------------------------------------------------------------------------------------ data options


def test_mirrored_visits_show_the_same_images_the_other_way_round(tiny):
    plain, mirrored = tiny(**PLAIN), tiny(data__mirror=True, **PLAIN)
    flips = []
    for position in range(0, 64, 8):
        a, b = plain.dataset[position], mirrored.dataset[position]
        assert a.captions == b.captions and a.sample_ids == b.sample_ids
        for x, y in zip(a.images, b.images, strict=True):
            assert torch.equal(x, y) or torch.equal(x.flip(-1), y)
            flips.append(not torch.equal(x, y))
    assert 0.3 < sum(flips) / len(flips) < 0.7


def test_captions_are_dropped_by_the_recipes_share_at_places_of_their_own(tiny):
    plain, dropped = tiny(**PLAIN), tiny(data__caption_dropout=0.3, **PLAIN)
    blank = []
    for position in range(0, 240, 8):
        a, b = plain.dataset[position], dropped.dataset[position]
        assert torch.equal(a.images, b.images) and a.primary_captions == b.primary_captions
        assert all(y in ("", x) for x, y in zip(a.captions, b.captions, strict=True))
        blank += [not caption for caption in b.captions]
        assert torch.equal(b.positions, torch.arange(position, position + 8)), "an image's position is the number of images before it"
    assert 0.2 < sum(blank) / len(blank) < 0.4


def test_an_empty_caption_reaches_g_and_d_as_the_encoders_empty_prompt(tiny):
    run = tiny(data__caption_dropout=0.9, **PLAIN)
    m = run.trainer.prepare(run.dataset[0], "D")
    empty = run.trainer.encode_text([""])
    blank = [i for i, caption in enumerate(m.captions) if not caption]
    assert blank and all(torch.equal(m.text.pooled[i], empty.pooled[0]) for i in blank)
    assert all(m.primary_captions), "guidance still has each image's first caption"
