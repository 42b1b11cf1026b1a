"""An upsampler against Lanczos and bicubic on images whose true large form is known.

    python eval/upsampling.py --model runs/emoji_upsampler --data data/emoji_256/held_out_concepts --out result.json --picture grid.png

Each image is reduced to the upsampler's input size, enlarged again by each method and compared with itself: PSNR (dB) and SSIM, means over
images with the standard error of the paired difference. The prompt is the caption of the image.
"""

import argparse
from pathlib import Path

from t2igan.commands.arguments import check_picture, check_result
from t2igan.errors import run_script


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True, help="run folder of an upsampler")
    parser.add_argument("--data", required=True, help="shards of images at the large size, such as a held-out split")
    parser.add_argument("--out", type=Path, required=True, help="result.json to write")
    parser.add_argument("--picture", type=Path, help="grid to write: the small image, bicubic, Lanczos, the upsampler, the true image")
    parser.add_argument(
        "--reduce", choices=("bicubic", "lanczos"), default="bicubic", help="how small images are made (default: as in training)"
    )
    parser.add_argument("--by", metavar="KEY", help="of the samples' .json, such as source: PSNR of each of its values too")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    arguments = parser.parse_args()
    check_result(arguments.out)
    check_picture(arguments.picture)

    from t2igan.data.images import save_image
    from t2igan.evaluation.upsampling import compare_upsampling, table
    from t2igan.files import write_json
    from t2igan.inference.device import default_device
    from t2igan.inference.upsampler import Upsampler
    from t2igan.text.cache import default_cache

    upsampler = Upsampler.load(arguments.model, default_device(), default_cache())
    found = compare_upsampling(upsampler, arguments.data, arguments.reduce, arguments.by)
    facts = {"data": arguments.data, "model": str(arguments.model), "reduced_by": arguments.reduce}
    if arguments.by:
        facts["groups_by"] = arguments.by
    result = facts | found.result()
    write_json(arguments.out, result)
    print(table(result))
    if arguments.picture:
        arguments.picture.parent.mkdir(parents=True, exist_ok=True)
        save_image(found.grid, arguments.picture)
        print(arguments.picture)


if __name__ == "__main__":
    run_script(main)
