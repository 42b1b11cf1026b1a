"""Zero-shot COCO, whole and offline: pictures in its form, a small model, the real Inception with random weights."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import ROOT, environment, tiny_recipe

from t2igan.config import Recipe, parse
from t2igan.data.render import png_bytes
from t2igan.data.shards import Shards
from t2igan.data.write import Sample, write_shards
from t2igan.errors import UserError
from t2igan.inference.pipeline import save_model
from t2igan.metrics.measures import MEASURES
from t2igan.system import build_system

pytest_plugins = ["kit"]
sys.path.insert(0, str(ROOT))  # eval and benchmarks are folders of scripts, not installed packages

from benchmarks.coco_pipeline import write_inception, write_val2014  # noqa: E402
from eval import compare  # noqa: E402

SCRIPT = ROOT / "eval" / "zero_shot_coco.py"


@dataclass(frozen=True)
class Setting:
    """A reference as data_prep/coco.py leaves it, a run, Inception's weights, and the command without its --out."""

    folder: Path
    base: list
    real: int
    drawn: int


@pytest.fixture(scope="module", params=[(60, 110), pytest.param((300, 400), marks=pytest.mark.slow)], ids=["few", "hundreds"])
def setting(request, kit, tmp_path_factory) -> Setting:
    real, drawn = request.param
    folder = tmp_path_factory.mktemp("coco")
    run([sys.executable, ROOT / "data_prep/emoji.py", "--out", folder / "emoji", "--size", 32], folder / "cache")
    write_val2014(folder, folder / "emoji", real)
    write_inception(folder / "inception.pth")
    prepare = ["--images", folder / "val2014", "--captions", folder / "captions_val2014.json", "--out", folder / "data"]
    run([sys.executable, ROOT / "data_prep/coco.py", *prepare], folder / "cache")

    recipe = parse(Recipe, tiny_recipe(kit, guided=False), "")
    torch.manual_seed(4)
    generator = build_system(recipe).generator
    with torch.no_grad():
        for parameter in generator.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    save_model(folder / "run/model", generator, recipe, {})
    weights = ["--weights", f"inception={folder / 'inception.pth'}", f"clip=local-dir:{kit.clip}", f"clip_336=local-dir:{kit.clip}"]
    base = ["--model", folder / "run", "--data", folder / "data", "--protocol", "stylegan_t", "--count", drawn, "--force", *weights]
    return Setting(folder, base, real, drawn)


def run(command: list, cache: Path) -> subprocess.CompletedProcess:
    done = subprocess.run(list(map(str, command)), env=environment(cache), cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, (done.stdout, done.stderr[-3000:])
    return done


def score(setting: Setting, out: str, *more, cache: str = "cache", launch=(sys.executable,)) -> dict:
    """The result of one run of the script."""
    run([*launch, SCRIPT, *setting.base, "--out", setting.folder / out, *more], setting.folder / cache)
    return json.loads((setting.folder / out).read_text())


METRICS = ("--metrics", "fid", "kid", "clip_score", "cmmd")


@pytest.fixture(scope="module")
def whole(setting) -> dict:
    return score(setting, "whole.json", *METRICS)


def test_the_result_says_everything_that_decides_it(whole, setting):
    protocol = whole["protocol"]
    assert (protocol["name"], protocol["extractor"], protocol["pictures"], protocol["side"]) == (
        "stylegan_t",
        "torch_fidelity",
        setting.drawn,
        16,
    )
    assert protocol["reference"]["pictures"] == setting.real and len(protocol["reference"]["content_sha256"]) == 64
    assert (whole["model"]["truncation"], whole["model"]["seed"], len(protocol["captions_sha256"])) == (1.0, 0, 64)
    assert set(whole["metrics"]) == {"fid", "kid", "clip_score", "cmmd"}
    assert all(np.isfinite(found["value"]) and len(found["network"]["weights"]) == 64 for found in whole["metrics"].values())
    assert whole["metrics"]["fid"]["network"]["resize"] == "tensorflow" and whole["metrics"]["fid"]["value"] > 0
    assert whole["model"]["resolution"] == 16 and len(whole["model"]["sha256"]) == 64
    assert (
        whole["run"]["peak_memory_gib"] > 0
        and whole["run"]["pictures_drawn"] == setting.drawn
        and {"pictures", "distances", "inception of real pictures"} <= set(whole["run"]["seconds"])
    )


def same_figures(a: dict, b: dict) -> None:
    assert a["protocol"] == b["protocol"] and a["model"] == b["model"]
    for metric, found in a["metrics"].items():
        assert b["metrics"][metric]["value"] == pytest.approx(found["value"], rel=1e-6), metric


def test_fid_is_torch_fidelitys_on_the_pictures_it_left(whole, setting, tmp_path):
    from torch_fidelity import calculate_metrics

    from t2igan.metrics.images import ImageSet

    folder = setting.folder
    for name, shards in (("generated", folder / "whole/pictures"), ("real", folder / "data")):
        pictures = ImageSet(Shards(str(shards)), 16)
        (tmp_path / name).mkdir()
        for number, picture in enumerate(pictures.read(range(len(pictures)))):
            Image.fromarray(picture.permute(1, 2, 0).numpy()).save(tmp_path / name / f"{number:04d}.png")
    options = {
        "cuda": False,
        "verbose": False,
        "cache": False,
        "save_cpu_ram": True,
        "feature_extractor_weights_path": str(folder / "inception.pth"),
    }
    found = calculate_metrics(input1=str(tmp_path / "generated"), input2=str(tmp_path / "real"), fid=True, **options)
    assert whole["metrics"]["fid"]["value"] == pytest.approx(found["frechet_inception_distance"], rel=1e-3)


def test_killed_and_resumed_by_two_processes(whole, setting):
    """Killed after the first pictures; two processes finish, with features of their own; what was drawn is not drawn again."""
    folder, base = setting.folder, setting.base
    command = [sys.executable, SCRIPT, *base, "--out", folder / "again.json", *METRICS]
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
    result = score(setting, "again.json", *METRICS, cache="cache_of_two", launch=two)
    assert {path: path.stat().st_mtime_ns for path in written} == written
    assert result["run"]["processes"] == 2
    same_figures(whole, result)


def test_pictures_drawn_elsewhere_score_the_same(whole, setting):
    folder, base = setting.folder, setting.base
    pictures = ["--pictures", folder / "whole/pictures", *base[2:6], *base[8:]]
    done = run([sys.executable, SCRIPT, *pictures, "--out", folder / "given.json", *METRICS], folder / "cache")
    given = json.loads((folder / "given.json").read_text())
    for metric, found in whole["metrics"].items():
        assert given["metrics"][metric]["value"] == pytest.approx(found["value"], rel=1e-6)
    assert compare.table(whole, given).count("+0.0000") + compare.table(whole, given).count("-0.0000") == 4
    assert f"{setting.drawn} pictures at 16 px against {setting.real} real ones" in done.stdout


def test_gigagans_protocol_is_another_number(whole, setting):
    """At 256 px, by the clean resize, each caption once, with the prefix."""
    result = score(setting, "gigagan.json", "--protocol", "gigagan", "--count", 60, "--metrics", "clip_score", "inception_score")
    assert (result["protocol"]["side"], result["protocol"]["extractor"], result["protocol"]["clip_prefix"]) == (
        256,
        "clean_fid",
        "A photo depicts",
    )
    assert result["metrics"]["clip_score"]["value"] != pytest.approx(whole["metrics"]["clip_score"]["value"], rel=1e-4)
    assert result["metrics"]["inception_score"]["value"] >= 1


def test_the_command_knows_the_metrics_of_the_library():
    from eval.zero_shot_coco import METRICS as KNOWN

    assert tuple(MEASURES) == KNOWN


def test_bad_input_is_one_line(setting, whole, tmp_path, monkeypatch):
    from eval import zero_shot_coco as script

    monkeypatch.setenv("T2IGAN_CACHE", str(setting.folder / "cache"))
    folder, out = setting.folder, setting.folder / "refused.json"
    without = [word for word in setting.base if word != "--force"]
    given = [*setting.base[2:6], *setting.base[8:]]  # --pictures in the place of --model and --count
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
        "clip is ViT-g-14 laion2b_s12b_b42k: say --weights clip=laion2b_s12b_b42k": [*setting.base, *score, *clip],
        "DINOv2's weights are not given": [*setting.base, "--metrics", "fdd"],
        "vgg16-397923af.pth is not in": [*setting.base, "--metrics", "precision_recall"],
        "needs NETWORK=WHAT": [*setting.base, "--weights", "resnet=here"],
        "is no reference; data_prep/coco.py makes one": [*setting.base, "--data", folder / "run"],
        "holds pictures of another truncation": [*setting.base, *score, "--truncation", "0.5", *again],
        "is not a run folder": [*setting.base, *score, "--model", folder / "data"],
        "--captions is for pictures that are drawn; --pictures are there": [
            *given,
            *score,
            "--pictures",
            tmp_path / "mixed",
            "--captions",
            tmp_path / "empty.txt",
        ],
        "--truncation is for pictures that are drawn": [*given, *score, "--pictures", tmp_path / "mixed", "--truncation", "0.7"],
        "latin.txt is not UTF-8": [*setting.base, *score, "--captions", tmp_path / "latin.txt"],
        f"holds {setting.real} of the {setting.real + 1} pictures that its report names": [
            *setting.base,
            *score,
            "--data",
            tmp_path / "part",
        ],
        "which is something else; give --out another name": [*setting.base, *score, "--out", folder / "run.json"],
        "two.txt has 2 captions": [*setting.base, *score, "--captions", tmp_path / "two.txt"],
        "inception_score needs 10 pictures or more, got 2": [*setting.base, "--metrics", "inception_score", "--count", "2"],
        "drawn 1 to 50 at a time": [*setting.base, *score, "--batch", "51"],
        "picture 2 of": [*given, *score, "--pictures", tmp_path / "mixed"],
        "needs a name that ends in .json": [*setting.base, *score, "--out", folder / "refused"],
    }
    for message, arguments in cases.items():
        monkeypatch.setattr(sys, "argv", ["zero_shot_coco.py", "--out", str(out), *map(str, arguments)])
        with pytest.raises(UserError) as caught:
            script.main()
        assert message in str(caught.value) and "\n" not in str(caught.value), caught.value
        assert not out.exists()
