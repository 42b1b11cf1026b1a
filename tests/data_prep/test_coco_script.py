"""data_prep/coco.py: val2014's files to the reference of zero-shot COCO."""

import io
import json

import numpy as np
import pytest
from PIL import Image

NAME = "COCO_val2014_{:012d}.jpg"


def write_coco(folder, numbers, sizes, captions=5):
    """A folder in val2014's form: JPEGs and captions_val2014.json, annotations not in the order of the images."""
    rng = np.random.default_rng(0)
    (folder / "val2014").mkdir(parents=True)
    images, annotations = [], []
    for number, (width, height) in zip(numbers, sizes, strict=True):
        pixels = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)).resize((width, height), Image.Resampling.BICUBIC)
        pixels.save(folder / "val2014" / NAME.format(number), quality=95)
        images.append({"id": number, "file_name": NAME.format(number), "width": width, "height": height, "license": 1})
    for nth in range(captions):
        for number in numbers:
            annotations.append({"image_id": number, "id": 1000 * nth + number, "caption": f" picture {number},\n said {nth}. "})
    table = {"info": {"year": 2014}, "licenses": [], "images": images, "annotations": annotations}
    (folder / "captions.json").write_text(json.dumps(table))
    return ["--images", folder / "val2014", "--captions", folder / "captions.json"]


@pytest.fixture
def coco(tmp_path):
    return write_coco(tmp_path / "coco", [42, 7, 190], [(640, 480), (301, 500), (200, 240)])


def test_images_in_order_with_all_captions_and_pillows_pixels(coco, tmp_path, run_script, read_shards):
    done = run_script("coco.py", *coco, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "3 images of 256 px, 15 captions; 1 enlarged" in done.stdout
    found = read_shards(tmp_path / "out")
    assert [record["coco_id"] for _, _, record in found] == [7, 42, 190]
    assert found[0][2]["captions"] == [f"picture 7, said {nth}." for nth in range(5)]
    for data, _, record in found:
        photo = Image.open(coco[1] / record["file"])
        side = min(photo.size)
        left, top = (photo.width - side) // 2, (photo.height - side) // 2
        expected = photo.crop((left, top, left + side, top + side)).resize((256, 256), Image.Resampling.LANCZOS)
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(data))), np.asarray(expected))
    report = json.loads((tmp_path / "out/report.json").read_text())
    assert report["pictures"] == 3 and len(report["content_sha256"]) == 64


def test_equal_input_gives_equal_bytes(coco, tmp_path, run_script):
    for name in ("a", "b"):
        assert run_script("coco.py", *coco, "--out", tmp_path / name).returncode == 0
    assert (tmp_path / "a/00000.tar").read_bytes() == (tmp_path / "b/00000.tar").read_bytes()
    assert (tmp_path / "a/report.json").read_bytes() == (tmp_path / "b/report.json").read_bytes()
    table = json.loads(coco[3].read_text())
    table["annotations"][0]["caption"] = "another"
    coco[3].write_text(json.dumps(table))
    run_script("coco.py", *coco, "--out", tmp_path / "c")
    hashes = {json.loads((tmp_path / name / "report.json").read_text())["content_sha256"] for name in ("a", "c")}
    assert len(hashes) == 2


def test_bad_input_is_one_line_and_writes_nothing(coco, tmp_path, refused):
    out = ["--out", tmp_path / "out"]
    table = json.loads(coco[3].read_text())

    def with_table(change) -> list:
        path = tmp_path / "changed.json"
        path.write_text(json.dumps(change))
        return [*coco[:3], path, *out]

    assert "no captions at" in refused("coco.py", *coco[:3], tmp_path / "none.json", *out)
    assert "is not a folder" in refused("coco.py", "--images", tmp_path / "none", *coco[2:], *out)
    assert "form of captions_val2014.json (no 'images')" in refused("coco.py", *with_table({"annotations": []}))
    silent = table | {"annotations": [a for a in table["annotations"] if a["image_id"] != 42]}
    assert "1 of 3 images in changed.json have no caption (the first is COCO_val2014_000000000042.jpg)" in refused(
        "coco.py", *with_table(silent)
    )
    more = table | {"images": [*table["images"], {"id": 500, "file_name": NAME.format(500)}]}
    more["annotations"] = [*table["annotations"], {"image_id": 500, "id": 1, "caption": "a cat"}]
    assert "1 of the 4 images in changed.json are not in" in refused("coco.py", *with_table(more))
    (coco[1] / NAME.format(42)).write_bytes(b"no picture")
    assert "unpack val2014.zip again" in refused("coco.py", *coco, *out)
    assert not (tmp_path / "out").exists()
