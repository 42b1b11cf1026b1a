"""An upsampler against Lanczos and bicubic on pictures whose true large form is known.

    python eval/upsampling.py --model runs/emoji_upsampler --data data/emoji_256/held_out_concepts --out result.json --picture grid.png

Each picture is reduced to the upsampler's input size, enlarged again in each way and compared with itself: PSNR (dB) and SSIM, means over
pictures with the standard error of the paired difference. Captions are the pictures' own.
"""

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # runs from a clone that is not installed

from t2igan.errors import UserError, run_script

SHOWN = 6  # pictures in the side-by-side


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True, help="run folder of an upsampler")
    parser.add_argument("--data", required=True, help="shards of pictures at the large size, such as a held-out split")
    parser.add_argument("--out", type=Path, required=True, help="result.json to write")
    parser.add_argument(
        "--picture", type=Path, help="side-by-side to write: the small picture, bicubic, Lanczos, the upsampler, the true one"
    )
    parser.add_argument(
        "--reduce", choices=("bicubic", "lanczos"), default="bicubic", help="how small pictures are made (default: as in training)"
    )
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    arguments = parser.parse_args()
    result, rows, captions = compare(arguments.model, arguments.data, arguments.reduce)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(result, indent=2) + "\n")
    print(table(result))
    if arguments.picture:
        from t2igan.grids import grid

        arguments.picture.parent.mkdir(parents=True, exist_ok=True)
        grid(rows, captions).save(arguments.picture)
        print(arguments.picture)


def compare(model: Path, data: str, reduce: str):
    """(figures, rows of pictures side by side, their captions)."""
    import torch

    from t2igan.data.images import decode, to_pil, to_signed
    from t2igan.data.shards import Shards
    from t2igan.inference.upsampler import Upsampler
    from t2igan.metrics.similarity import psnr, ssim
    from t2igan.text.cache import default_cache

    upsampler = Upsampler.load(model, "cuda" if torch.cuda.is_available() else "cpu", default_cache())
    shards, side = Shards(data), upsampler.low * upsampler.factor
    scores: dict[str, dict[str, list[float]]] = {}
    rows, captions = [], []
    for number in range(len(shards)):
        record = shards.read(number)
        real = to_signed(decode(record.image, side)[None])
        small = reduced(real, upsampler.low, reduce)
        ways = {way: enlarged(small, side, way) for way in ("bicubic", "lanczos")}
        ways["upsampler"] = quantised(upsampler.images(to_signed(small), record.captions[0]))
        for way, picture in ways.items():
            for name, metric in (("psnr", psnr), ("ssim", ssim)):
                scores.setdefault(way, {}).setdefault(name, []).append(float(metric(picture.double(), real.double())))
        if number % max(1, len(shards) // SHOWN) == 0 and len(rows) < SHOWN:
            nearest = to_pil(to_signed(small)[0]).resize((side, side), 0)
            rows.append([nearest, *(to_pil(ways[way][0]) for way in ("bicubic", "lanczos", "upsampler")), to_pil(real[0])])
            captions.append(f"{record.captions[0]}: {upsampler.low} px, bicubic, Lanczos, upsampler, true")
    return summary(scores, len(shards), str(data), str(model), reduce), rows, captions


def reduced(real, side: int, way: str):
    """Bytes [1, 3, side, side]: what a file of the small picture would hold."""
    import numpy as np
    import torch
    from PIL import Image

    from t2igan.data.images import to_bytes, to_pil
    from t2igan.pyramid import shrink

    if way == "bicubic":
        return to_bytes(shrink(real, side))
    small = to_pil(real[0]).resize((side, side), Image.Resampling.LANCZOS)
    return torch.from_numpy(np.asarray(small).copy()).permute(2, 0, 1)[None]


def enlarged(small, side: int, way: str):
    """Pillow's enlargement, in [-1, 1]."""
    import numpy as np
    import torch
    from PIL import Image

    from t2igan.data.images import to_pil, to_signed

    method = {"bicubic": Image.Resampling.BICUBIC, "lanczos": Image.Resampling.LANCZOS}[way]
    large = to_pil(to_signed(small)[0]).resize((side, side), method)
    return to_signed(torch.from_numpy(np.asarray(large).copy()).permute(2, 0, 1)[None])


def quantised(images):
    """Rounded to bytes, as the others are."""
    from t2igan.data.images import to_bytes, to_signed

    return to_signed(to_bytes(images))


def summary(scores: dict, count: int, data: str, model: str, reduce: str) -> dict:
    import statistics

    if count < 2:
        raise UserError(f"{data} holds {count} picture; give two or more")
    result = {"data": data, "model": model, "pictures": count, "reduced_by": reduce}
    for way, metrics in scores.items():
        result[way] = {name: statistics.fmean(values) for name, values in metrics.items()}
    for way in ("bicubic", "lanczos"):
        gains = {}
        for name in ("psnr", "ssim"):
            differences = [a - b for a, b in zip(scores["upsampler"][name], scores[way][name], strict=True)]
            gains[name] = statistics.fmean(differences)
            gains[f"{name}_standard_error"] = statistics.stdev(differences) / count**0.5
            gains[f"{name}_better_on"] = sum(d > 0 for d in differences) / count
        result[f"gain_over_{way}"] = gains
    return result


def table(result: dict) -> str:
    lines = [f"{result['pictures']} pictures of {result['data']}", f"{'':10} {'PSNR, dB':>9} {'SSIM':>7}"]
    for way in ("bicubic", "lanczos", "upsampler"):
        lines.append(f"{way:10} {result[way]['psnr']:9.2f} {result[way]['ssim']:7.4f}")
    for way in ("bicubic", "lanczos"):
        gain = result[f"gain_over_{way}"]
        lines.append(
            f"over {way}: {gain['psnr']:+.2f} +- {gain['psnr_standard_error']:.2f} dB, better on {gain['psnr_better_on']:.0%}; "
            f"SSIM {gain['ssim']:+.4f} +- {gain['ssim_standard_error']:.4f}, better on {gain['ssim_better_on']:.0%}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    run_script(main)
