"""Every shell and Python block of the README runs, in a folder laid out as a clone."""

import contextlib
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from unittest.mock import patch

import pytest
from PIL import Image, ImageDraw

from t2igan.cli import main
from t2igan.data.shards import Shards
from t2igan.data.write import Sample, write_shards
from t2igan.inference.model_folder import save_model
from t2igan.recipe import load_recipe
from t2igan.system import build_system

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```sh\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
COMMANDS = [line for block in BLOCKS for line in block.splitlines() if line.strip()]
PYTHON = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
SHORT = ["training.total_images=24", "training.checkpoint_every=24", "training.sample_every=24"]
LINKS = re.findall(r"\]\((?!https?:)([^)#]+)\)", README)


CONCEPTS = 60  # of a split


@pytest.fixture(scope="module")
def clone(tmp_path_factory, emoji_32):
    """The project's files, a folder of the user's images, and what `make demo` leaves, from a part of its data and short trainings."""
    folder = tmp_path_factory.mktemp("clone")
    for name in ("configs", "data_prep", "eval", "benchmarks", "t2igan", "Makefile", "pyproject.toml", "constraints.txt"):
        os.symlink(ROOT / name, folder / name)
    pictures = folder / "my_pictures"
    pictures.mkdir()
    for number, colour in enumerate(("red", "green", "blue", "orange", "purple", "black")):
        for shape in ("circle", "square"):
            image = Image.new("RGB", (48, 40), "white")
            getattr(ImageDraw.Draw(image), "ellipse" if shape == "circle" else "rectangle")((8, 8, 32, 32), fill=colour)
            image.save(pictures / f"{number}_{shape}.png")
            (pictures / f"{number}_{shape}.txt").write_text(f"a {colour} {shape}\n")
    for split in (path for path in emoji_32.iterdir() if path.is_dir()):
        write_shards(of_first_concepts(split), folder / "data/emoji_32" / split.name)
    shutil.copy(emoji_32 / "splits.json", folder / "data/emoji_32")
    for name, seed in (("guide_32", 1), ("scorer_32", 2)):
        train_clip = f".venv/bin/python data_prep/train_clip.py --data data/emoji_32/train --out runs/{name} --architecture guide"
        run(folder, f"{train_clip} --steps 5 --seed {seed}")
    run(folder, ".venv/bin/t2igan train configs/emoji_32.yaml --out runs/demo")
    for name, recipe in (("emoji_64", "emoji_64"), ("emoji_upsampler", "emoji_upsampler_64_256")):  # untrained
        config = load_recipe(ROOT / "configs" / f"{recipe}.yaml")
        save_model(folder / "runs" / name / "model", build_system(config).generator, config, {"images_seen": 0})
    Image.new("RGB", (70, 90), "red").save(folder / "picture.png")
    return folder


def of_first_concepts(split: Path) -> list[Sample]:
    """The images of the first CONCEPTS concepts, with all their styles."""
    shards = Shards(str(split))
    records = [shards.read(number) for number in range(len(shards))]
    kept = set(sorted({record.captions[0] for record in records})[:CONCEPTS])
    return [
        Sample(f"{number:05d}", record.image, record.captions, record.meta)
        for number, record in enumerate(records)
        if record.captions[0] in kept
    ]


def run(folder: Path, command: str) -> None:
    """A line of the README, as typed, with this Python for the clone's; training and the timing of training are cut to a few images.

    Trainings are processes of their own. The other lines run in this one, which has imported torch already.
    """
    program, *words = shlex.split(command)
    if words[0] == "benchmarks/training.py":
        words[2:2] = ["training.batch=4", "objective.discriminator.2.every=2"]
    if words[0] == "train":
        here = [sys.executable, "-m", "t2igan", *words, *SHORT]
        done = subprocess.run(here, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    else:
        with contextlib.chdir(folder):
            run_here(program, words)


def run_here(program: str, words: list[str]) -> None:
    assert program in (".venv/bin/t2igan", ".venv/bin/python")
    if program == ".venv/bin/t2igan":
        main(words)
    else:
        with patch.object(sys, "argv", words), patch.object(sys, "path", [os.path.dirname(words[0]), *sys.path]):
            runpy.run_path(words[0], run_name="__main__")


def test_the_readme_has_the_commands_a_stranger_needs():
    assert COMMANDS[:2] == ["make demo", "make test"] and len(PYTHON) == 1
    assert sum("my_pictures" in command or "runs/mine" in command for command in COMMANDS) == 3


@pytest.mark.parametrize("link", sorted(set(LINKS)))
def test_links_lead_somewhere(link):
    assert (ROOT / link).exists()


@pytest.mark.parametrize("command", [command for command in COMMANDS if command.startswith("make")])
def test_make_targets_exist(command):
    subprocess.run([*command.split(), "--dry-run"], cwd=ROOT, check=True, capture_output=True)


@pytest.mark.parametrize("command", [command for command in COMMANDS if not command.startswith("make")])
def test_command_runs(clone, command):
    run(clone, command)
    out = re.search(r"--out (\S+)", command)
    assert out is None or (clone / out.group(1)).exists()


def test_the_python_lines_run_after_the_demo(clone):
    done = subprocess.run([sys.executable, "-c", PYTHON[0]], cwd=clone, env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert Image.open(clone / "heart.png").size == (32, 32)


@pytest.mark.slow
def test_make_demo_in_a_fresh_clone(tmp_path):
    """The whole demo, with the real environment: about 25 minutes on two cores."""
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    subprocess.run(["make", "demo"], cwd=clone, check=True)
    assert (clone / "runs/demo/result.json").is_file() and (clone / "runs/demo/grid.png").is_file()
    shutil.rmtree(clone)
