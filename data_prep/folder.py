"""A folder of captioned images to webdataset shards: train on images of your own.

    python data_prep/folder.py my_pictures --out data/mine --size 64

A caption is a line of the .txt beside its image (`cat.jpg`, `cat.txt`; several lines are several captions), or a row of --captions
FILE.csv or FILE.jsonl with a column `file` (or file_name, image) and a column `caption` (or text). With --captions folders it is the name
of the image's folder, for classes; with --captions none there is no caption, for recipes with `text: {kind: none}`.
"""

import argparse
import json
from pathlib import Path

from t2igan.errors import UserError, run_script


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=Path, help="folder of images; subfolders count too")
    parser.add_argument("--out", type=Path, required=True, help="folder to write; an earlier data set there is replaced")
    parser.add_argument("--size", type=int, default=64, help="side in pixels (default: %(default)s)")
    parser.add_argument(
        "--captions",
        metavar="FILE|folders|none",
        help="a .csv or .jsonl (images that it does not name take the .txt beside them); folders: the name of an image's folder; none: no "
        "captions (default: the .txt beside each image)",
    )
    parser.add_argument("--held-out", type=float, default=0.05, help="fraction of images kept out of train (default: %(default)s)")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    args = parser.parse_args()
    if not 8 <= args.size <= 4096:
        raise UserError(f"--size must be from 8 to 4096 pixels, got {args.size}")
    if not 0 <= args.held_out < 1:
        raise UserError(f"--held-out must be from 0 to below 1, got {args.held_out}")

    from t2igan.data.folder import import_folder, in_words  # here, because --help needs no torch

    captions = args.captions if args.captions in (None, "folders", "none") else Path(args.captions)
    report = import_folder(args.images, args.out, args.size, captions, args.held_out)
    train, held_out = report["splits"].values()
    print(f"{args.out}: {train} images in train, {held_out} in held_out; {report['captions']} captions")
    print(f"left out: {report['broken']} broken, {report['without_caption']} without caption; enlarged: {report['smaller_than_size']}")
    if report["unreadable_captions"]:
        print(f"left out: {report['unreadable_captions']} whose captions are not text: {report['unreadable_captions_files'][0]}")
    if report["captions_without_picture"]:
        row, image = report["captions_without_picture_files"][0], report["picture_example"]
        missing = report["captions_without_picture"]
        print(f"{captions.name} names {missing} file(s) that are not in the folder: {row!r}; it has {image!r}")
    for merged in report.get("merged", ()):
        print(f"one class, as its folders have one name: {merged}")
    if classes := report.get("classes"):
        print(f"{len(classes)} classes; in the recipe: text: {{kind: label, num_classes: {len(classes)}, names: {json.dumps([*classes])}}}")
        if missing := [name for name, count in classes.items() if not count]:
            print(f"without an image in train, for --held-out took all: {', '.join(missing)}")
    if report["passed_over"]:
        print(f"passed over: {in_words(report['passed_over'])}")


if __name__ == "__main__":
    run_script(main)
