"""What tiles change: an upsampler on one large picture in tiles, against the same picture drawn whole.

    python eval/seams.py --model runs/emoji_upsampler --data data/emoji_256/held_out_concepts --out seams.json --picture seams.png

The large picture, of 1024 px unless told, is a mosaic of the shards' pictures. Differences are in steps of 1/255; those in the middle
of where two tiles fade into each other are told apart from the others, since a visible seam would show there. The picture holds the
difference, enhanced.
"""

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # runs from a clone that is not installed

from t2igan.errors import UserError, run_script

ENHANCED = 32  # times, in the picture
NEAR = 2  # px of the small picture, either way of the middle of an overlap


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True, help="run folder of an upsampler")
    parser.add_argument("--data", required=True, help="shards of pictures for the mosaic")
    parser.add_argument("--side", type=int, default=1024, help="of the mosaic, px (default: %(default)s)")
    parser.add_argument("--piece", type=int, default=256, help="of its pictures, px (default: %(default)s)")
    parser.add_argument("--tile", type=int, help="px that are drawn at once (default: as t2igan upsample)")
    parser.add_argument("--overlap", type=int, help="px that neighbouring tiles share (default: as t2igan upsample)")
    parser.add_argument("--out", type=Path, required=True, help="result.json to write")
    parser.add_argument("--picture", type=Path, help="the enhanced difference to write, at the mosaic's size")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    arguments = parser.parse_args()
    if arguments.piece < 1 or arguments.side < arguments.piece or arguments.side % arguments.piece:
        raise UserError(f"--side is {arguments.side}, needs a multiple of --piece {arguments.piece}")
    result, difference = measure(arguments)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(result, indent=2) + "\n")
    print(
        f"{result['side']} px in {result['tiles']} tiles of {result['tile']} px sharing {result['overlap']} px, against the whole, "
        "in steps of 1/255: "
        f"mean {result['mean']:.3f}, near seams {result['near_seams']:.3f}, elsewhere {result['elsewhere']:.3f}, "
        f"99.9 % below {result['p999']:.2f}, most {result['max']:.2f}"
    )
    if arguments.picture:
        from t2igan.data.images import to_pil

        arguments.picture.parent.mkdir(parents=True, exist_ok=True)
        to_pil(difference).save(arguments.picture)
        print(arguments.picture)


def measure(arguments: argparse.Namespace):
    """(figures, the enhanced difference in [-1, 1] at the small picture's size)."""
    import torch
    import torch.nn.functional as F

    from t2igan.data.images import decode, to_signed
    from t2igan.data.shards import Shards
    from t2igan.inference.upsampler import Upsampler, starts
    from t2igan.text.cache import default_cache

    upsampler = Upsampler.load(arguments.model, "cuda" if torch.cuda.is_available() else "cpu", default_cache())
    tile, overlap = upsampler.layout(arguments.tile, arguments.overlap)
    shards, across = Shards(arguments.data), arguments.side // arguments.piece
    pieces = [to_signed(decode(shards.read(i % len(shards)).image, arguments.piece)[None]) for i in range(across**2)]
    mosaic = torch.cat([torch.cat(pieces[row * across : (row + 1) * across], 3) for row in range(across)], 2)
    tiled = upsampler.images(mosaic, tile=tile, overlap=overlap)
    whole = upsampler.images(mosaic, tile=arguments.side)
    difference = (tiled - whole).abs()[0] * 127.5

    begin = starts(arguments.side, min(tile, arguments.side), overlap, upsampler.multiple)
    if len(begin) < 2:
        raise UserError(f"a mosaic of {arguments.side} px is one tile; take a larger one")
    at = (torch.arange(arguments.side * upsampler.factor) + 0.5) / upsampler.factor
    middles = [(a + tile + b) / 2 for a, b in zip(begin, begin[1:], strict=False)]
    near = torch.stack([(at - middle).abs() < NEAR for middle in middles]).any(0)
    seams = near[:, None] | near
    asked = {"model": str(arguments.model), "data": arguments.data, "side": arguments.side, "tile": tile, "overlap": overlap}
    result = asked | {
        "tiles": len(begin) ** 2,
        "mean": difference.mean().item(),
        "near_seams": difference[:, seams].mean().item(),
        "elsewhere": difference[:, ~seams].mean().item(),
        "p999": difference.flatten().sort().values[int(0.999 * difference.numel())].item(),
        "max": difference.max().item(),
    }
    shown = F.avg_pool2d(difference[None], upsampler.factor)[0] * ENHANCED / 127.5 - 1
    return result, shown.clamp(-1, 1)


if __name__ == "__main__":
    run_script(main)
