"""Zero-shot COCO, whole and offline: images in its form, a small model, the real Inception with random weights."""

import json
import os
import runpy
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import ROOT, environment, tiny_recipe
from torch_fidelity import calculate_metrics

from t2igan.commands import scoring
from t2igan.config import Recipe
from t2igan.data.images import png_bytes
from t2igan.data.shards import Shards
from t2igan.data.write import Sample, write_shards
from t2igan.evaluation.by_protocol import Evaluation, Settings, table
from t2igan.evaluation.compare import compare
from t2igan.evaluation.networks import WEIGHTED, parse_weights
from t2igan.evaluation.reference import read_reference
from t2igan.evaluation.sampling import GeneratedImages, StoredImages
from t2igan.inference.model_folder import save_model
from t2igan.metrics.chunks import distributed_state
from t2igan.metrics.images import ImageSet
from t2igan.metrics.metric import METRICS
from t2igan.metrics.protocol import PROTOCOLS
from t2igan.recipe import parse
from t2igan.system import build_system

pytest_plugins = ["kit"]

SCRIPT = ROOT / "eval" / "zero_shot_coco.py"


@dataclass(frozen=True)
class Setting:
    """A reference as data_prep/coco.py leaves it, a run, Inception's weights, and the command without its --out."""

    folder: Path
    base: list
    weights: list[str]
    real: int
    generated: int

    @property
    def metrics_scored_again(self) -> list[str]:
        """Inception sees the images a second time where there are hundreds of them; it is slow on a CPU."""
        return list(SCORED) if self.real >= 100 else ["clip_score", "cmmd"]


@pytest.fixture(scope="module", params=[(12, 52), pytest.param((300, 400), marks=pytest.mark.slow)], ids=["few", "hundreds"])
def setting(request, kit, emoji_32, tmp_path_factory) -> Setting:
    real, generated = request.param
    benchmark = runpy.run_path(str(ROOT / "benchmarks/coco_pipeline.py"))
    folder = tmp_path_factory.mktemp("coco")
    benchmark["write_val2014"](folder, emoji_32, real)
    benchmark["write_inception"](folder / "inception.pth")
    prepare = ["--images", folder / "val2014", "--captions", folder / "captions_val2014.json", "--out", folder / "data"]
    run_script_here(ROOT / "data_prep/coco.py", prepare)

    recipe = parse(Recipe, tiny_recipe(kit, guided=False), "")
    torch.manual_seed(4)
    generator = build_system(recipe).generator
    with torch.no_grad():
        for parameter in generator.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    save_model(folder / "run/model", generator, recipe, {})
    weights = [f"inception={folder / 'inception.pth'}", f"clip=local-dir:{kit.clip}", f"clip_336=local-dir:{kit.clip}"]
    base = ["--model", folder / "run", "--data", folder / "data", "--protocol", "stylegan_t", "--count", generated, "--force"]
    return Setting(folder, [*base, "--weights", *weights], weights, real, generated)


def run(command: list, cache: Path) -> subprocess.CompletedProcess:
    done = subprocess.run(list(map(str, command)), env=environment(cache), cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, (done.stdout, done.stderr[-3000:])
    return done


def run_script_here(script: Path, words: list) -> None:
    with patch.object(sys, "argv", [str(script), *map(str, words)]), patch.object(sys, "path", [str(script.parent), *sys.path]):
        runpy.run_path(str(script), run_name="__main__")


def score(setting: Setting, out: str, *more, cache: str = "cache", launch=(sys.executable,)) -> dict:
    """The result of one run of the script."""
    run([*launch, SCRIPT, *setting.base, "--out", setting.folder / out, *more], setting.folder / cache)
    return json.loads((setting.folder / out).read_text())


SCORED = ("fid", "kid", "clip_score", "cmmd")


@pytest.fixture(scope="module")
def whole(setting) -> dict:
    return score(setting, "whole.json", "--metrics", *SCORED)


def test_the_result_says_everything_that_decides_it(whole, setting):
    protocol = whole["protocol"]
    assert (protocol["name"], protocol["extractor"], protocol["pictures"], protocol["side"]) == (
        "stylegan_t",
        "torch_fidelity",
        setting.generated,
        16,
    )
    assert protocol["reference"]["pictures"] == setting.real and len(protocol["reference"]["content_sha256"]) == 64
    assert (whole["model"]["truncation"], whole["model"]["seed"], len(protocol["captions_sha256"])) == (1.0, 0, 64)
    assert set(whole["metrics"]) == set(SCORED)
    assert all(np.isfinite(found["value"]) and len(found["network"]["weights"]) == 64 for found in whole["metrics"].values())
    assert whole["metrics"]["fid"]["network"]["resize"] == "tensorflow" and whole["metrics"]["fid"]["value"] > 0
    assert whole["model"]["resolution"] == 16 and len(whole["model"]["sha256"]) == 64
    assert (
        whole["run"]["peak_memory_gib"] > 0
        and whole["run"]["pictures_drawn"] == setting.generated
        and {"pictures", "distances", "inception of real pictures"} <= set(whole["run"]["seconds"])
    )


def same_figures(a: dict, b: dict) -> None:
    assert a["protocol"] == b["protocol"] and a["model"] == b["model"]
    for metric, found in b["metrics"].items():
        assert a["metrics"][metric]["value"] == pytest.approx(found["value"], rel=1e-6), metric


@pytest.mark.slow
def test_fid_is_torch_fidelitys_on_the_images_it_left(whole, setting, tmp_path):
    folder = setting.folder
    for name, shards in (("generated", folder / "whole/pictures"), ("real", folder / "data")):
        images = ImageSet(Shards(str(shards)), 16)
        (tmp_path / name).mkdir()
        for number, image in enumerate(images.read(range(len(images)))):
            Image.fromarray(image.permute(1, 2, 0).numpy()).save(tmp_path / name / f"{number:04d}.png")
    options = {
        "cuda": False,
        "verbose": False,
        "cache": False,
        "save_cpu_ram": True,
        "feature_extractor_weights_path": str(folder / "inception.pth"),
    }
    found = calculate_metrics(input1=str(tmp_path / "generated"), input2=str(tmp_path / "real"), fid=True, **options)
    assert whole["metrics"]["fid"]["value"] == pytest.approx(found["frechet_inception_distance"], rel=1e-3)


@pytest.mark.slow
def test_killed_and_resumed_by_two_processes(whole, setting):
    """Killed after the first images; two processes finish, with their own features; no image is generated twice."""
    folder, base = setting.folder, setting.base
    command = [sys.executable, SCRIPT, *base, "--out", folder / "again.json", "--metrics", *setting.metrics_scored_again]
    process = subprocess.Popen(list(map(str, command)), env=environment(folder / "cache_of_two"), cwd=ROOT, stderr=subprocess.DEVNULL)
    first = folder / "again/pictures/00000.tar"
    deadline = time.monotonic() + 120
    while not first.exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (folder / "again.json").exists()
    written = {path: path.stat().st_mtime_ns for path in first.parent.glob("0*.tar")}
    two = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")
    result = score(setting, "again.json", "--metrics", *setting.metrics_scored_again, cache="cache_of_two", launch=two)
    assert {path: path.stat().st_mtime_ns for path in written} == written
    assert result["run"]["processes"] == 2
    assert set(result["metrics"]) == set(setting.metrics_scored_again)
    same_figures(whole, result)


def evaluate(setting: Setting, source: GeneratedImages | StoredImages, protocol: str, metrics: tuple, out: str, count: int | None) -> dict:
    weights = parse_weights(setting.weights)
    reference = read_reference(setting.folder / "data")
    settings = Settings(source, reference, PROTOCOLS[protocol], setting.folder / out, metrics, weights, count, force=True)
    return Evaluation(settings, distributed_state()).run()


@pytest.fixture
def cache(setting, monkeypatch):
    monkeypatch.setenv("T2IGAN_CACHE", str(setting.folder / "cache"))


def test_images_generated_elsewhere_score_the_same(whole, setting, cache):
    again = tuple(setting.metrics_scored_again)
    given = evaluate(setting, StoredImages(str(setting.folder / "whole/pictures")), "stylegan_t", again, "given.json", None)
    assert set(given["metrics"]) == set(again)
    for metric, found in given["metrics"].items():
        assert found["value"] == pytest.approx(whole["metrics"][metric]["value"], rel=1e-6)
    differences = compare(whole, given)
    assert differences.count("+0.0000") + differences.count("-0.0000") == len(again)
    assert given["model"] == {"pictures": str(setting.folder / "whole/pictures")}
    assert given["run"]["pictures_drawn"] == 0 and "pictures" not in given["run"]["seconds"]
    assert f"{setting.generated} images at 16 px against {setting.real} real ones" in table(given)


def test_gigagans_protocol_is_another_number(whole, setting, cache):
    """At 256 px, by the clean resize, each caption once, with the prefix."""
    source = GeneratedImages(setting.folder / "run")
    result = evaluate(setting, source, "gigagan", ("clip_score", "inception_score"), "gigagan.json", min(setting.real, 60))
    protocol = result["protocol"]
    assert (protocol["side"], protocol["extractor"], protocol["clip_prefix"]) == (256, "clean_fid", "A photo depicts")
    assert result["metrics"]["clip_score"]["value"] != pytest.approx(whole["metrics"]["clip_score"]["value"], rel=1e-4)
    assert result["metrics"]["inception_score"]["value"] >= 1


def test_the_script_knows_the_names_of_the_library():
    assert tuple(METRICS) == scoring.METRICS and scoring.WEIGHTED == WEIGHTED


def test_bad_input_is_one_line(setting, whole, tmp_path, script, cache, capsys):
    folder, out = setting.folder, setting.folder / "refused.json"
    without = [word for word in setting.base if word != "--force"]
    given = [*setting.base[2:6], *setting.base[8:]]  # without --model and --count
    mixed = [np.zeros((side, side, 3), dtype=np.uint8) for side in (16, 16, 24)]
    write_shards([Sample(f"{i}", png_bytes(Image.fromarray(p)), ["a"]) for i, p in enumerate(mixed)], tmp_path / "mixed")
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "latin.txt").write_bytes("caf\u00e9\n".encode("latin-1"))
    shutil.copytree(folder / "data", tmp_path / "part")
    report = json.loads((tmp_path / "part/report.json").read_text())
    (tmp_path / "part/report.json").write_text(json.dumps(report | {"pictures": setting.real + 1}))
    (tmp_path / "two.txt").write_text("a\u2028b\nc\n")
    (tmp_path / "inception-01234567.pth").write_bytes((folder / "inception.pth").read_bytes())
    clip, score, again = ["--weights", "inception=x"], ["--metrics", "clip_score"], ["--out", folder / "whole.json"]
    cases = {
        "which cannot fill the 2048 dimensions": [*without, "--metrics", "fid", *again],
        "list of captions is empty": [*setting.base, "--captions", tmp_path / "empty.txt"],
        "its name says 01234567": [*setting.base, "--metrics", "fid", "--weights", f"inception={tmp_path / 'inception-01234567.pth'}"],
        "clip is ViT-g-14 laion2b_s12b_b42k: add --weights clip=laion2b_s12b_b42k": [*setting.base, *score, *clip],
        "DINOv2's weights are not given": [*setting.base, "--metrics", "fdd"],
        "vgg16-397923af.pth is not in": [*setting.base, "--metrics", "precision_recall"],
        "needs NETWORK=WHAT": [*setting.base, "--weights", "resnet=here"],
        "is no reference; data_prep/coco.py makes one": [*setting.base, "--data", folder / "run"],
        "holds images of another truncation": [*setting.base, *score, "--truncation", "0.5", *again],
        "is not a run folder": [*setting.base, *score, "--model", folder / "data"],
        "--captions applies to --model; the shards of --pictures hold images": [
            *given,
            *score,
            "--pictures",
            tmp_path / "mixed",
            "--captions",
            tmp_path / "empty.txt",
        ],
        "--truncation applies to --model": [*given, *score, "--pictures", tmp_path / "mixed", "--truncation", "0.7"],
        "latin.txt is not UTF-8": [*setting.base, *score, "--captions", tmp_path / "latin.txt"],
        f"holds {setting.real} of the {setting.real + 1} images in its report": [
            *setting.base,
            *score,
            "--data",
            tmp_path / "part",
        ],
        "which is something else; give --out another name": [*setting.base, *score, "--out", folder / "run.json"],
        "two.txt has 2 captions": [*setting.base, *score, "--captions", tmp_path / "two.txt"],
        "inception_score needs 10 images or more, got 2": [*setting.base, "--metrics", "inception_score", "--count", "2"],
        "generated 1 to 50 at a time": [*setting.base, *score, "--batch", "51"],
        "image 2 of": [*given, *score, "--pictures", tmp_path / "mixed"],
        "needs a name that ends in .json": [*setting.base, *score, "--out", folder / "refused"],
    }
    for message, arguments in cases.items():
        assert script("zero_shot_coco", "--out", out, *arguments) == 2
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1, error
        assert not out.exists()
