"""Three hundred malformed inputs, each seeded: no traceback, no hang, exit code 0 or 2, nothing half-written."""

import contextlib
import io
import json
import os
import random
import runpy
import shutil
import signal
import sys
import tarfile
import warnings
from pathlib import Path
from unittest.mock import patch

import pytest
import yaml
from PIL import Image
from tiny import ROOT

from t2igan.cli import main

pytestmark = pytest.mark.slow
pytest_plugins = ["kit"]
CASES = int(os.environ.get("T2IGAN_FUZZ_CASES", 60))  # of each kind
SECONDS = 5  # for one
JUNK = (
    *(None, True, "", " ", "a", "ä\u200b", "\ud800", "nan", "1e400", -1, 0, 0.5, 7, 2**63, 10**30, float("nan"), float("inf")),
    *([], {}, [[]]),
    *({"kind": "nothing"}, {"linear": [1]}, ["a", 1], "../..", "/dev/null", "\0", "x" * 5000, "é" * 300),
)
TEXTS = ("", "a cat", "\ufeffa cat", "\u200b", "\ud800", "a\nb", "a\0b", "=1+1", "x" * 100_000, "«ü»", "\u202egnp.exe", "#", "-", "--seeds")


class Overtime(Exception):
    """A case took longer than SECONDS."""


@contextlib.contextmanager
def time_limit():
    def stop(*_):
        raise Overtime

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def outcome(command) -> str | None:
    """What is wrong with how a command ends; None where nothing is."""
    out, err = io.StringIO(), io.StringIO()
    try:
        with time_limit(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), warnings.catch_warnings():
            command()
        code = 0
    except SystemExit as end:
        code = end.code or 0
    except BaseException as error:
        return f"{type(error).__name__}: {error}"[:300]
    if code not in (0, 2):
        return f"exit code {code}"
    if code == 2 and not err.getvalue().strip():
        return "exit code 2 without a word"
    return "a traceback" if "Traceback" in err.getvalue() else None


def leftovers(folder: Path) -> list[str]:
    """What a write that was given up has left."""
    return [str(path.relative_to(folder)) for path in folder.rglob(".*") if path.name.endswith((".partial", ".lock", ".old"))]


def run_script(name: str, *words) -> None:
    path = ROOT / "data_prep" / name
    with patch.object(sys, "argv", [str(path), *map(str, words)]), patch.object(sys, "path", [*sys.path, str(path.parent)]):
        runpy.run_path(str(path), run_name="__main__")


def t2igan(*words) -> None:
    words = [str(word) for word in words]
    with patch.object(sys, "argv", ["t2igan", *words]):
        main(words)


# ------------------------------------------------------------------------------------------------ malformed things


def damaged(draw: random.Random, content: bytes) -> bytes:
    """Cut, with bits flipped, with a piece of something else, empty, or as another encoding."""
    if not content:
        return draw.randbytes(draw.randrange(20))
    place = draw.randrange(len(content))
    changed = bytearray(content)
    for _ in range(draw.choice([1, 5, 50])):
        changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
    return draw.choice(
        [
            content[:place],
            bytes(changed),
            content[:place] + draw.randbytes(30) + content[place:],
            b"",
            b"\0" * len(content),
            content.decode("latin-1").encode(draw.choice(["utf-16", "utf-8-sig", "utf-32"])),
            b"{}",
            b"[" * 10_000,
        ]
    )


def paths_in(value, path=()) -> list[tuple]:
    """The path of every entry of nested mappings and lists."""
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [found for key, inner in entries for found in ((*path, key), *paths_in(inner, (*path, key)))]


def mutated(draw: random.Random, recipe: dict) -> dict:
    """With one to three entries replaced, removed, doubled or renamed."""
    recipe = json.loads(json.dumps(recipe))
    for _ in range(draw.randint(1, 3)):
        *parents, last = draw.choice(paths_in(recipe))
        target = recipe
        for key in parents:
            target = target[key]
        action = draw.choice(["replace", "replace", "replace", "remove", "rename", "double"])
        if action == "replace":
            target[last] = draw.choice(JUNK)
        elif action == "remove":
            del target[last]
        elif action == "rename" and isinstance(target, dict):
            target[draw.choice(["", "lr", "kind", f"{last}s", "é"])] = target.pop(last)
        elif isinstance(target, list):
            target.append(target[last])
    return recipe


def image_bytes(draw: random.Random) -> bytes:
    stream = io.BytesIO()
    mode = draw.choice(["RGB", "L", "RGBA", "P", "1", "CMYK", "I;16", "F", "LA"])
    kind = {"CMYK": "JPEG", "F": "TIFF"}.get(mode, draw.choice(["PNG", "TIFF"] if mode != "I;16" else ["PNG"]))
    Image.new(mode, (draw.randint(1, 40), draw.randint(1, 40))).save(stream, kind)
    return stream.getvalue()


def folder_of_images(draw: random.Random, folder: Path) -> list:
    """Images and captions of many kinds, some of them broken, and options; returns the words behind the folder."""
    folder.mkdir()
    names = [f"p{n}" for n in range(draw.randint(0, 8))] + draw.sample(["ä", "a b", ".hidden", "x.y", "-o", "%s", "\U0001f600"], 2)
    for name in names:
        ending = draw.choice([".png", ".png", ".jpg", ".tif", ".heic", ".PNG", ".txt.png"])
        content = image_bytes(draw)
        (folder / f"{name}{ending}").write_bytes(damaged(draw, content) if draw.random() < 0.3 else content)
        if draw.random() < 0.8:
            text = draw.choice(TEXTS).encode("utf-8", "surrogatepass")
            (folder / f"{name}.txt").write_bytes(damaged(draw, text) if draw.random() < 0.3 else text)
    if draw.random() < 0.2:
        (folder / "link").symlink_to(folder)
    words = ["--size", draw.choice([16, 16, 16, 17, 0, -1, "a", 256, 10**9])]
    if draw.random() < 0.5:
        table = folder.parent / draw.choice(["t.csv", "t.jsonl", "t.txt", "t"])
        rows = [{"file": draw.choice([*names, "none"]), "caption": draw.choice(TEXTS[:4])} for _ in range(5)]
        as_csv = ["file,caption", *(",".join(row.values()) for row in rows)]
        lines = [json.dumps(row) for row in rows] if table.suffix == ".jsonl" else as_csv
        content = "\n".join(lines).encode("utf-8", "surrogatepass")
        table.write_bytes(damaged(draw, content) if draw.random() < 0.6 else content)
        words += ["--captions", table]
    return words


# ------------------------------------------------------------------------------------------------ the kinds


@pytest.fixture
def fuzz(tmp_path, monkeypatch):
    """fuzz(case) plays `case(draw, folder) -> command` CASES times and fails with every case that ends badly."""
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)

    def play(case) -> None:
        bad = []
        for seed in range(CASES):
            folder = tmp_path / str(seed)
            folder.mkdir()
            monkeypatch.chdir(folder)
            wrong = outcome(case(random.Random(seed), folder))
            left = leftovers(folder)
            if wrong or left:
                bad.append(f"seed {seed}: {wrong or ''} {left or ''}")
            shutil.rmtree(folder)
        assert not bad, "\n".join(bad)

    return play


def test_folders_of_images(fuzz):
    def case(draw, folder):
        words = folder_of_images(draw, folder / "in")
        return lambda: run_script("folder.py", folder / "in", "--out", folder / draw.choice(["out", "in", "in/p0.png"]), *words)

    fuzz(case)


def test_recipes(fuzz, tiny):
    def case(draw, folder):
        recipe = mutated(draw, tiny)
        text = yaml.safe_dump(recipe, allow_unicode=draw.random() < 0.5)
        content = text.encode("utf-8", "surrogatepass")
        (folder / "r.yaml").write_bytes(damaged(draw, content) if draw.random() < 0.3 else content)
        odd = draw.choice(["=", "a", "a.b=1", "seed=", "é=1", "seed=[" + "[" * 99, f"training.batch={draw.choice(JUNK)!r}"])
        words = [folder / "r.yaml", *draw.choice([[], [], [odd]])]
        return lambda: t2igan(*draw.choice([("show", *words), ("train", *words, "--out", "run")]))

    fuzz(case)


def test_prompts(fuzz, run):
    def case(draw, folder):
        prompts = [draw.choice(TEXTS) for _ in range(draw.randint(0, 3))]
        (folder / "p.txt").write_bytes(damaged(draw, "\n".join(TEXTS).encode("utf-8", "surrogatepass")))
        seeds = draw.choice(["0-1", "1,1", "a", "-1", "5-2", str(2**70), "0-4294967295"])
        words = draw.choice([[], [], ["--prompts", "p.txt"], ["--seeds", seeds]])
        out = draw.choice(["x.png", "x.webp", "x.bmp", "x", "a/b/x.png", "p.txt", "", "\udc80.png", "x" * 300 + ".png", "/proc/x.png"])
        truncation, batch = draw.choice(["0.5", "nan", "-1", "a", "1e99"]), draw.choice(["0", "1", "x"])
        more = draw.choice([[], [], ["--truncation", truncation], ["--bf16"], ["--batch", batch]])
        return lambda: t2igan("sample", run, *prompts, *words, "--out", out, *more)

    fuzz(case)


def test_model_folders(fuzz, run):
    def case(draw, folder):
        shutil.copytree(run, folder / "run")
        files = [path for path in (folder / "run").rglob("*") if path.is_file() and "tensorboard" not in path.parts]
        for path in draw.sample(sorted(files), draw.randint(1, 3)):
            if draw.random() < 0.2:
                path.unlink()
            else:
                path.write_bytes(damaged(draw, path.read_bytes()))
        if draw.random() < 0.5:
            return lambda: t2igan("sample", folder / "run", "thing 1", "--out", "x.png")
        return lambda: t2igan("train", folder / "run", "--out", folder / "run", "--resume")

    fuzz(case)


def test_shards(fuzz, shards):
    def case(draw, folder):
        shutil.copytree(shards, folder / "train")
        for tar in draw.sample(sorted((folder / "train").glob("*.tar")), draw.randint(1, 3)):
            content = tar.read_bytes()
            if draw.random() < 0.5:
                tar.write_bytes(damaged(draw, content))
            else:
                rewrite(draw, tar)
            if draw.random() < 0.7:
                Path(f"{tar}.idx.npy").unlink(missing_ok=True)
            os.utime(tar)
        words = draw.choice([[], ["--index"], ["--json", "report.json"], ["--sheet", "sheet.png"], ["--sheet", "none/sheet.png"]])
        return lambda: run_script("check.py", folder / "train", *words)

    fuzz(case)


def rewrite(draw: random.Random, tar: Path) -> None:
    """Another tar in its place, of members with odd names and content."""
    with tarfile.open(tar, "w") as archive:
        for number in range(draw.randint(0, 6)):
            for ending in draw.sample(["png", "txt", "json", "input.jpg", "", "PNG", "é"], 3):
                key = draw.choice([f"{number}", "a/b", "..", "é", "x" * 150])
                content = damaged(draw, image_bytes(draw) if ending == "png" else draw.choice(TEXTS[:8]).encode("utf-8", "surrogatepass"))
                member = tarfile.TarInfo(f"{key}.{ending}")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
