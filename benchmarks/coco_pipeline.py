"""The whole of eval/zero_shot_coco.py at its published size, without COCO and without downloads: memory, speed, time by stage.

    python benchmarks/coco_pipeline.py --model runs/demo --emoji data/emoji_32 --clip runs/scorer_32 --count 30000 --out /tmp/coco

The reference is emoji art in val2014's form, on crops of photographs where a folder of them is given (the wheels of scikit-image and
scikit-learn carry some), otherwise on smooth random colours. Inception has its real architecture with random weights: the values of the
metrics mean nothing here, only their cost does.
"""

import argparse
import io
import json
import os
import subprocess
import sys
from pathlib import Path

from t2igan.errors import UserError, run_script

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="run folder")
    parser.add_argument("--emoji", type=Path, required=True, help="folder made by data_prep/emoji.py")
    parser.add_argument("--clip", type=Path, required=True, help="folder made by data_prep/train_clip.py")
    parser.add_argument("--count", type=int, default=30_000, help="images to generate (default: %(default)s)")
    parser.add_argument("--real", type=int, default=600, help="images of the reference (default: %(default)s)")
    parser.add_argument("--photographs", type=Path, help="folder of images to cut backgrounds from")
    parser.add_argument("--metrics", nargs="+", default=["fid", "kid", "clip_score"], help="(default: fid kid clip_score)")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    arguments = parser.parse_args()
    out = arguments.out
    if (out / "result").exists():
        raise UserError(f"{out} holds an earlier run, whose images and features would be reused instead of timed; give a new --out")
    write_val2014(out, arguments.emoji, arguments.real, arguments.photographs)
    write_inception(out / "inception.pth")
    prepare = ["--images", out / "val2014", "--captions", out / "captions_val2014.json", "--out", out / "data"]
    run(out / "cache", "data_prep/coco.py", *prepare)
    weights = [f"inception={out / 'inception.pth'}", f"clip=local-dir:{arguments.clip}"]
    options = ["--protocol", "stylegan_t", "--count", arguments.count, "--metrics", *arguments.metrics, "--weights", *weights, "--force"]
    run(out / "cache", "eval/zero_shot_coco.py", "--model", arguments.model, "--data", out / "data", *options, "--out", out / "result.json")
    costs = json.loads((out / "result.json").read_text())["run"]
    for stage, seconds in costs["seconds"].items():
        print(f"{stage:34} {seconds:8.1f} s")
    print(f"peak memory {costs['peak_memory_gib']} GiB")


def run(cache: Path, script: str, *arguments) -> None:
    """One of the scripts, with an empty cache."""
    environment = os.environ | {"T2IGAN_CACHE": str(cache)}
    code = subprocess.run([sys.executable, str(ROOT / script), *map(str, arguments)], env=environment).returncode
    if code:
        raise SystemExit(code)


def write_val2014(folder: Path, emoji: Path, count: int, photographs: Path | None = None) -> None:
    """Emoji art on its backgrounds, JPEGs of several shapes, with three captions each: `val2014/` and `captions_val2014.json`."""
    import numpy as np
    from PIL import Image

    from t2igan.data.shards import Shards

    rng = np.random.default_rng(1)
    (folder / "val2014").mkdir(parents=True, exist_ok=True)
    art, photos = Shards(str(emoji / "train")), []
    if photographs:
        paths = sorted(path for path in photographs.glob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
        photos = [photo for photo in (Image.open(path).convert("RGB") for path in paths) if min(photo.size) >= 96]
        if not photos:
            raise UserError(f"{photographs} holds no .jpg and no .png of 96 px or more")
    images, annotations = [], []
    for number in range(1, count + 1):
        width, height = (128 + number % 7, 96) if number % 2 else (96, 100 + number % 50)
        if photos:
            photo = photos[number % len(photos)]
            part = rng.integers(min(width, height), min(photo.size) + 1)
            left, top = (int(rng.integers(0, side - part + 1)) for side in photo.size)
            canvas = photo.crop((left, top, left + int(part), top + int(part))).resize((width, height), Image.Resampling.BICUBIC)
        else:
            canvas = Image.fromarray(rng.integers(0, 256, (5, 5, 3), dtype=np.uint8)).resize((width, height), Image.Resampling.BICUBIC)
        record = art.read(number % len(art))
        canvas.paste(Image.open(io.BytesIO(record.image)).resize((64, 64)), (16 + number % 9, 16))
        name = f"COCO_val2014_{number:012d}.jpg"
        canvas.save(folder / "val2014" / name)
        images.append({"id": number, "file_name": name, "width": width, "height": height})
        captions = [record.captions[0], f"a picture of {record.captions[0]}", f"{record.captions[0]} number {number}"]
        annotations += [{"id": 10 * number + nth, "image_id": number, "caption": caption} for nth, caption in enumerate(captions)]
    (folder / "captions_val2014.json").write_text(json.dumps({"images": images, "annotations": annotations}))


def write_inception(path: Path) -> None:
    """Random weights under the names of the published file."""
    import torch

    from t2igan.features.inception import Inception

    network = Inception("tensorflow", seed=0)
    network.load_pretrained()
    torch.save(network.state_dict(), path)


if __name__ == "__main__":
    run_script(main)
