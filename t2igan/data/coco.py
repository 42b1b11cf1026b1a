"""COCO's images and captions to the reference shards of zero-shot evaluation.

Every captioned image is cropped at its center to the short side and reduced to 256 px by Pillow's Lanczos filter, as in the evaluations of
StyleGAN-T and GigaGAN. An odd margin is one pixel wider at the end, as in StyleGAN-T's; GigaGAN's rounds halves to even.
"""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

from t2igan.data.images import center_square, open_image, png_bytes
from t2igan.data.write import DATASET_MARKER, REPORT, Sample, check_replaceable, write_shards
from t2igan.errors import UserError
from t2igan.files import atomic_folder, write_json
from t2igan.grids import contact_sheet
from t2igan.plain_text import parse_json, read_text

SIZE = 256
PER_SHARD = 1000
ON_SHEET = 64

Row = tuple[int, str, list[str]]  # COCO's image number, the file name, the captions


def import_coco(images: Path, captions: Path, out: Path) -> dict:
    """Writes shards (PNG, all captions, in the order of COCO's numbers), report.json and contact_sheet.png to `out`; returns the report.

    Raises:
        UserError: images are missing or broken; a reference of fewer images would be another reference.
    """
    check_replaceable(out)
    rows = read_captions(captions)
    if not images.is_dir():
        raise UserError(f"{images} is not a folder; give the unpacked val2014.zip")
    missing = [name for _, name, _ in rows if not (images / name).is_file()]
    if missing:
        raise UserError(f"{len(missing)} of the {len(rows)} images in {captions.name} are not in {images} (the first is {missing[0]})")
    report = {"pictures": 0, "captions": sum(len(texts) for _, _, texts in rows), "enlarged": 0, "size": SIZE, "source": captions.name}
    sheet: list = []
    content = hashlib.sha256()  # of pixels and captions; the bytes of a PNG differ between versions of zlib
    with atomic_folder(out) as temporary:
        report["pictures"] = write_shards(samples(rows, images, report, sheet, content), temporary, PER_SHARD)
        report["content_sha256"] = content.hexdigest()
        write_json(temporary / REPORT, report)
        contact_sheet(sheet, 128).save(temporary / DATASET_MARKER)
    return report


def read_captions(path: Path) -> list[Row]:
    """captions_val2014.json to the rows of every image, by number.

    Raises:
        UserError: there is no such file, it is not in COCO's format, or an image has no caption.
    """
    if not path.is_file():
        raise UserError(f"no captions at {path}; get captions_val2014.json out of annotations_trainval2014.zip")
    try:
        table = parse_json(read_text(path))
        files = {int(image["id"]): str(image["file_name"]) for image in table["images"]}
        captions: dict[int, list[str]] = {number: [] for number in files}
        for annotation in sorted(table["annotations"], key=lambda annotation: annotation["id"]):
            captions[int(annotation["image_id"])].append(" ".join(str(annotation["caption"]).split()))
    except (ValueError, TypeError, KeyError) as error:
        what = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise UserError(f"{path} is not in the form of captions_val2014.json ({what}); it needs `images` and `annotations`") from None
    captions = {number: [text for text in texts if text] for number, texts in captions.items()}
    uncaptioned = [number for number, texts in captions.items() if not texts]
    if uncaptioned:
        raise UserError(f"{len(uncaptioned)} of {len(files)} images in {path.name} have no caption (the first is {files[uncaptioned[0]]})")
    if not files:
        raise UserError(f"{path} names no image")
    return [(number, files[number], captions[number]) for number in sorted(files)]


def samples(rows: list[Row], images: Path, report: dict, sheet: list, content) -> Iterator[Sample]:
    """The cropped images as samples; updates the report's count of enlarged images, the contact sheet's rows and the content hash."""
    for number, name, captions in tqdm(rows, "cropping", delay=5, disable=None):
        try:
            image = open_image(images / name)
        except OSError as error:
            raise UserError(f"{images / name}: {error}; unpack val2014.zip again") from None
        square = center_square(image, SIZE)
        content.update(square.tobytes() + json.dumps([number, captions]).encode())
        report["enlarged"] += min(image.size) < SIZE
        if len(sheet) < ON_SHEET:
            sheet.append((captions[0], [square]))
        yield Sample(f"{number:012d}", png_bytes(square, level=1), captions, {"coco_id": number, "file": name})
