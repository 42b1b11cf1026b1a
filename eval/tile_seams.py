"""What tiles change: an upsampler on one large image in tiles, against the same image in one piece.

    python eval/tile_seams.py --model runs/emoji_upsampler --data data/emoji_256/held_out_concepts --out seams.json --picture seams.png

The large image is a mosaic of the images in the shards. Differences are in steps of 1/255; those in the middle of the overlap of two tiles,
where a seam would be visible, are reported apart from the others. --picture writes the difference, enhanced.
"""

import argparse
from pathlib import Path

from t2igan.commands.arguments import check_picture, check_result
from t2igan.errors import run_script


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True, help="run folder of an upsampler")
    parser.add_argument("--data", required=True, help="shards of images for the mosaic")
    parser.add_argument("--side", type=int, default=1024, help="of the mosaic, px (default: %(default)s)")
    parser.add_argument("--piece", type=int, default=256, help="of its images, px (default: %(default)s)")
    parser.add_argument("--tile", type=int, help="px that are computed at once (default: as t2igan upsample)")
    parser.add_argument("--overlap", type=int, help="px that neighbouring tiles share (default: as t2igan upsample)")
    parser.add_argument("--out", type=Path, required=True, help="result.json to write")
    parser.add_argument("--picture", type=Path, help="the enhanced difference to write, at the mosaic's size")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    arguments = parser.parse_args()
    check_result(arguments.out)
    check_picture(arguments.picture)

    from t2igan.data.images import save_image, to_pil
    from t2igan.evaluation.seams import measure_seams, summary
    from t2igan.files import write_json
    from t2igan.inference.device import default_device
    from t2igan.inference.upsampler import Upsampler
    from t2igan.text.cache import default_cache

    upsampler = Upsampler.load(arguments.model, default_device(), default_cache())
    found = measure_seams(upsampler, arguments.data, arguments.side, arguments.piece, arguments.tile, arguments.overlap)
    write_json(arguments.out, {"model": str(arguments.model), "data": arguments.data} | found.result)
    print(summary(found.result))
    if arguments.picture:
        arguments.picture.parent.mkdir(parents=True, exist_ok=True)
        save_image(to_pil(found.difference), arguments.picture)
        print(arguments.picture)


if __name__ == "__main__":
    run_script(main)
