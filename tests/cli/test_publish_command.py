"""`t2igan publish`: a folder that draws what the run draws, with a card, and one clear line for bad input."""

import hashlib
import json
import shutil

import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file, save_file

from t2igan.inference.pipeline import Pipeline
from t2igan.inference.publish import curves

pytest_plugins = ["kit"]


@pytest.fixture(scope="module")
def shown(run, tmp_path_factory):
    """The run with prompts in its recipe."""
    folder = tmp_path_factory.mktemp("shown") / "run"
    shutil.copytree(run, folder)
    recipe = yaml.safe_load((folder / "recipe.yaml").read_text())
    recipe["training"]["prompts"] = ["thing 1"]
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    return folder


@pytest.fixture
def notes(tmp_path):
    """What a run folder does not know, as options."""
    (tmp_path / "limits.md").write_text("It cannot count.")
    (tmp_path / "credits.md").write_text("Drawn by A, CC BY 4.0.")
    (tmp_path / "result.json").write_text(json.dumps({"frechet": 0.0312, "train": {"r_at_1": 0.9}, "name": "x"}))
    Image.new("RGB", (8, 8), "red").save(tmp_path / "grid.png")
    files = {"--limits": "limits.md", "--credits": "credits.md", "--scores": "result.json", "--picture": "grid.png"}
    return [word for option, name in files.items() for word in (option, tmp_path / name)]


def test_the_published_model_draws_what_the_run_draws(shown, call, notes, tmp_path):
    out = tmp_path / "published"
    said = call("publish", shown, "--out", out, "--machine", "two cores", *notes)
    assert "MB" in said and "of 255 steps" in said
    tensors = load_file(out / "model.safetensors")
    assert {value.dtype for value in tensors.values()} <= {torch.float16, torch.int64, torch.bool}
    images = [Pipeline.load(folder, "cpu").sample_tensor(["thing 1"], range(3)) for folder in (shown, out)]
    assert 0 < (images[0] - images[1]).abs().max() < 0.02 and "of 255 steps" in (out / "README.md").read_text()
    sizes = [(folder / "model.safetensors").stat().st_size for folder in (shown / "model", out)]
    floats = sum(value.numel() for value in tensors.values() if value.dtype == torch.float16)
    assert abs(sizes[0] - sizes[1] - 2 * floats) < 100


def test_the_card_says_what_was_done_and_the_hashes_hold(run, call, notes, tmp_path):
    out = tmp_path / "published"
    call("publish", run, "--out", out, "--machine", "two cores", *notes)
    card, seed = (out / "README.md").read_text(), yaml.safe_load((run / "recipe.yaml").read_text())["seed"]
    for text in (
        f"seed {seed}",
        "16 images seen",
        "on two cores",
        "It cannot count.",
        "CC BY 4.0",
        "| train, r at 1 | 0.9 |",
        "picture.png",
        "| images |",
    ):
        assert text in card, text
    sums = dict(line.split("  ")[::-1] for line in (out / "SHA256SUMS").read_text().splitlines())
    assert set(sums) == {"README.md", "config.json", "model.safetensors", "picture.png", "recipe.yaml"}
    assert all(hashlib.sha256((out / name).read_bytes()).hexdigest() == digest for name, digest in sums.items())


def test_without_options_and_in_full_precision(run, kit, call, tmp_path):
    out = tmp_path / "published"
    said = call("publish", run, "--out", out, "--float32")
    assert "of 255 steps" not in said and "places on this machine" in said and str(kit.bert) in said
    assert (out / "model.safetensors").read_bytes() == (run / "model/model.safetensors").read_bytes()
    assert "## Limits" not in (out / "README.md").read_text()
    call("publish", run, "--out", out)  # an earlier publication is replaced
    assert "Weights are stored in float16.\n" in (out / "README.md").read_text()


def test_numbers_that_half_precision_does_not_hold_are_refused(run, refused, tmp_path):
    folder = tmp_path / "run"
    (folder / "model").mkdir(parents=True)
    for path in ("metrics.jsonl", "recipe.yaml", "model/config.json", "model/README.md"):
        (folder / path).write_bytes((run / path).read_bytes())
    tensors = load_file(run / "model/model.safetensors")
    name = next(name for name, value in tensors.items() if value.dtype == torch.float32)
    tensors[name].view(-1)[0] = 1e6
    save_file(tensors, folder / "model/model.safetensors")
    assert f"{name} holds numbers up to 1e+06" in refused("publish", folder, "--out", tmp_path / "published")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"run": "nowhere"}, "nowhere is not a run folder"),
        ({"--picture": "grid.jpg"}, "needs a PNG"),
        ({"--picture": "grid.png"}, "there is no such file"),
        ({"--scores": "limits.md"}, "limits.md: no scores"),
        ({"--limits": "missing.md"}, "cannot read missing.md"),
        ({"--out": "."}, "which is of no published model and would be lost"),
    ],
)
def test_bad_input_is_one_line(options, said, run, refused, tmp_path):
    (tmp_path / "limits.md").write_text("It cannot count.")
    given = {"--out": tmp_path / "published"} | options
    assert said in refused("publish", given.pop("run", run), *(word for pair in given.items() for word in pair))


def test_a_second_publication_replaces_nothing_but_the_first(run, refused, tmp_path):
    out = tmp_path / "published"
    out.mkdir()
    (out / "SHA256SUMS").write_text("00  README.md\n")
    (out / "README.md").write_text("old")
    (out / ".git").mkdir()
    assert "holds .git, which is of no published model and would be lost" in refused("publish", run, "--out", out)


def test_the_curves_have_every_term_that_was_ever_due_and_whole_numbers_stay_whole():
    records = [{"images": 4000 * i, "seconds": 1.0 * i, "D/game": 1.23456, "G/lr": 0.1} for i in range(1, 30)]
    records[3]["D/r1"] = 0.5
    lines = curves(records).splitlines()
    assert lines[0] == "| images | D/game | D/r1 |" and len(lines) == 2 + 8
    assert lines[2] == "| 4,000 | 1.23 |  |" and lines[-1].startswith("| 116,000 |")
