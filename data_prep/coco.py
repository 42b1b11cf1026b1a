"""COCO's val2014 to the reference shards of eval/zero_shot_coco.py.

    python data_prep/coco.py --images val2014 --captions annotations/captions_val2014.json --out data/coco_val2014

Both come from cocodataset.org (6.6 GB; captions CC BY 4.0, images under their authors' Flickr licences). Every captioned image is cropped
at its center to the short side, reduced to 256 px by Pillow's Lanczos filter, and kept as PNG with all its captions.
"""

import argparse
from pathlib import Path

from t2igan.errors import run_script


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True, help="folder with COCO_val2014_000000000042.jpg and the others")
    parser.add_argument("--captions", type=Path, required=True, help="captions_val2014.json")
    parser.add_argument("--out", type=Path, required=True, help="folder to write; an earlier reference there is replaced")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    args = parser.parse_args()

    from t2igan.data.coco import SIZE, import_coco  # here, because --help needs no torch

    report = import_coco(args.images, args.captions, args.out)
    print(f"{args.out}: {report['pictures']} images of {SIZE} px, {report['captions']} captions; {report['enlarged']} enlarged")


if __name__ == "__main__":
    run_script(main)
