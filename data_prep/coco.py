"""The pictures and captions of COCO's val2014 to the reference of eval/zero_shot_coco.py.

    python data_prep/coco.py --images val2014 --captions annotations/captions_val2014.json --out data/coco_val2014

Both come from cocodataset.org (6.6 GB; captions CC BY 4.0, pictures under their authors' Flickr licences). Every picture that the captions
name is cropped at its centre to the short side and reduced to 256 px by Pillow's Lanczos, as StyleGAN-T's and GigaGAN's evaluations do (an
odd margin is one pixel wider at the end, as in StyleGAN-T's; GigaGAN's rounds halves to even), and kept as PNG with all its captions, in
the order of its COCO number.
"""

import argparse
import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # runs from a clone that is not installed

from t2igan.errors import UserError, run_script

SIZE = 256
PER_SHARD = 1000
ON_SHEET = 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True, help="folder with COCO_val2014_000000000042.jpg and the others")
    parser.add_argument("--captions", type=Path, required=True, help="captions_val2014.json")
    parser.add_argument("--out", type=Path, required=True, help="folder to write; an earlier reference there is replaced")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    args = parser.parse_args()
    report = build(args.images, args.captions, args.out)
    print(f"{args.out}: {report['pictures']} pictures of {SIZE} px, {report['captions']} captions; {report['enlarged']} enlarged")


def read_captions(path: Path) -> list[tuple[int, str, list[str]]]:
    """(COCO number, file name, captions) of every picture, by number.

    Raises:
        UserError: no such file, not COCO's form, or pictures without captions.
    """
    if not path.is_file():
        raise UserError(f"no captions at {path}; get captions_val2014.json out of annotations_trainval2014.zip")
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        files = {int(image["id"]): str(image["file_name"]) for image in table["images"]}
        said: dict[int, list[str]] = {number: [] for number in files}
        for annotation in sorted(table["annotations"], key=lambda annotation: annotation["id"]):
            said[int(annotation["image_id"])].append(" ".join(str(annotation["caption"]).split()))
    except (ValueError, TypeError, KeyError) as error:
        what = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise UserError(f"{path} is not in the form of captions_val2014.json ({what}); it needs `images` and `annotations`") from None
    said = {number: [caption for caption in captions if caption] for number, captions in said.items()}
    silent = [number for number, captions in said.items() if not captions]
    if silent:
        raise UserError(f"{len(silent)} of {len(files)} pictures in {path.name} have no caption (the first is {files[silent[0]]})")
    if not files:
        raise UserError(f"{path} names no picture")
    return [(number, files[number], said[number]) for number in sorted(files)]


def build(images: Path, captions: Path, out: Path) -> dict:
    """Writes the shards, report.json and contact_sheet.png to `out`; returns the report.

    Raises:
        UserError: pictures missing or broken: a reference of fewer pictures is another reference.
    """
    from t2igan.data.render import contact_sheet
    from t2igan.data.staging import atomic_folder, check_replaceable, write_json
    from t2igan.data.write import write_shards

    check_replaceable(out)
    rows = read_captions(captions)
    if not images.is_dir():
        raise UserError(f"{images} is no folder; give the unpacked val2014.zip")
    missing = [name for _, name, _ in rows if not (images / name).is_file()]
    if missing:
        raise UserError(f"{len(missing)} of the {len(rows)} pictures in {captions.name} are not in {images} (the first is {missing[0]})")
    report = {"pictures": 0, "captions": sum(len(said) for _, _, said in rows), "enlarged": 0, "size": SIZE, "source": captions.name}
    sheet: list = []
    content = hashlib.sha256()  # of pixels and captions: of the bytes of a PNG every version of zlib has its own
    with atomic_folder(out) as temporary:
        report["pictures"] = write_shards(samples(rows, images, report, sheet, content), temporary, PER_SHARD)
        report["content_sha256"] = content.hexdigest()
        write_json(temporary / "report.json", report)
        contact_sheet(sheet, temporary / "contact_sheet.png", 128)
    return report


def samples(rows: list, images: Path, report: dict, sheet: list, content) -> Iterator:
    from tqdm import tqdm

    from t2igan.data.render import centre_square, open_picture, png_bytes
    from t2igan.data.write import Sample

    for number, name, said in tqdm(rows, "cropping", delay=5, disable=None):
        try:
            picture = open_picture(images / name)
        except OSError as error:
            raise UserError(f"{images / name}: {error}; unpack val2014.zip again") from None
        square = centre_square(picture, SIZE)
        content.update(square.tobytes() + json.dumps([number, said]).encode())
        report["enlarged"] += min(picture.size) < SIZE
        if len(sheet) < ON_SHEET:
            sheet.append((said[0], [square]))
        yield Sample(f"{number:012d}", png_bytes(square, level=1), said, {"coco_id": number, "file": name})


if __name__ == "__main__":
    run_script(main)
