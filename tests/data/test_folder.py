"""A folder of captioned images to shards: captions, framing, counting, splits."""

import io
import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from t2igan.data.folder import import_folder
from t2igan.data.images import open_image
from t2igan.data.shards import Shards
from t2igan.data.tables import read_table
from t2igan.errors import UserError


def save(path: Path, colour="red", size=(40, 30), mode="RGB", **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, colour).save(path, **options)
    return path


@pytest.fixture
def images(tmp_path) -> Path:
    """Twelve captioned squares of different greys."""
    for n in range(12):
        save(tmp_path / "in" / f"p{n:02d}.png", (20 * n, 20 * n, 20 * n)).with_suffix(".txt").write_text(f"grey {n}\n")
    return tmp_path / "in"


@pytest.fixture
def made(tmp_path):
    """made(folder, ...) -> ({file: (pixels, record)} over all splits, report)."""

    def make(folder: Path, size: int = 16, table: Path | str | None = None, held_out: float = 0.0):
        report = import_folder(folder, tmp_path / "out", size, table, held_out)
        found = {}
        for split in (split for split in ("train", "held_out") if (tmp_path / "out" / split).is_dir()):
            shards = Shards(str(tmp_path / "out" / split))
            for record in map(shards.read, range(len(shards))):
                assert record.captions == record.meta["captions"] and record.meta["split"] == split
                found[record.meta["file"]] = (np.asarray(Image.open(io.BytesIO(record.image))), record.meta)
        return found, report

    return make


def test_every_line_of_the_txt_is_a_caption(images, made):
    (images / "p00.txt").write_text("a dark  square\n\n  black\nblack\n", encoding="utf-8-sig")
    found, report = made(images)
    assert found["p00.png"][1]["captions"] == ["a dark square", "black"]
    assert report["splits"] == {"train": 12, "held_out": 0} and report["captions"] == 13
    assert all(pixels.shape == (16, 16, 3) for pixels, _ in found.values())


def test_the_centre_of_the_longer_side_is_kept(tmp_path, made):
    wide = np.zeros((20, 60, 3), np.uint8)
    wide[:, 20:40] = 255
    (tmp_path / "in").mkdir()
    Image.fromarray(wide).save(tmp_path / "in" / "wide.png")
    (tmp_path / "in" / "wide.txt").write_text("wide")
    found, _ = made(tmp_path / "in", 20)
    assert found["wide.png"][0].min() == 255


def test_transparency_becomes_white(tmp_path, made):
    save(tmp_path / "in" / "clear.png", (0, 0, 0, 0), mode="RGBA").with_suffix(".txt").write_text("nothing")
    found, _ = made(tmp_path / "in")
    assert (found["clear.png"][0] == 255).all()


def test_exif_orientation_is_honoured(tmp_path, made):
    """Orientation 6: the camera was turned; what is stored on the left belongs at the top."""
    stored = np.zeros((32, 32, 3), np.uint8)
    stored[:, :16] = 255
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "in").mkdir()
    Image.fromarray(stored).save(tmp_path / "in" / "turned.jpg", exif=exif, quality=95)
    (tmp_path / "in" / "turned.txt").write_text("turned")
    upright = made(tmp_path / "in")[0]["turned.jpg"][0]
    assert upright[:6].min() > 200 and upright[10:].max() < 55


def test_sixteen_bit_and_cmyk_pictures_keep_their_brightness(tmp_path, made):
    Image.fromarray(np.full((20, 20), 32896, np.uint16)).save(save(tmp_path / "in" / "deep.png"))
    save(tmp_path / "in" / "ink.jpg", (0, 0, 0, 127), mode="CMYK", quality=95)
    for name in ("deep", "ink"):
        (tmp_path / "in" / f"{name}.txt").write_text(name)
    found, _ = made(tmp_path / "in")
    for pixels, _ in found.values():
        assert np.abs(pixels.astype(int) - 128).max() <= 2


def test_broken_and_captionless_pictures_are_counted_not_fatal(images, made):
    data = (images / "p01.png").read_bytes()
    (images / "p01.png").write_bytes(data[: len(data) // 2])
    (images / "p02.png").write_bytes(b"not a picture")
    (images / "p03.txt").unlink()
    (images / "p04.txt").write_text(" \n")
    found, report = made(images)
    assert len(found) == 8
    assert report["broken"] == 2 and sorted(line.split(":")[0] for line in report["broken_files"]) == ["p01.png", "p02.png"]
    assert report["without_caption_files"] == ["p03.png", "p04.png"]


def test_small_pictures_are_enlarged_and_counted(images, made):
    assert made(images, 64)[1]["smaller_than_size"] == 12


@pytest.mark.parametrize(("file", "caption"), [("file", "caption"), ("file_name", "text"), ("image", "caption")])
def test_captions_from_a_csv(images, made, tmp_path, file, caption):
    table = tmp_path / "captions.csv"
    table.write_text(f'{file},{caption}\np00.png,"black, quite"\np00.png,dark\nelsewhere.png,lost\n')
    (images / "p01.txt").unlink()
    found, report = made(images, table=table)
    assert found["p00.png"][1]["captions"] == ["black, quite", "dark"]
    assert found["p02.png"][1]["captions"] == ["grey 2"]  # not in the table: the .txt beside it
    assert report["captions_without_picture"] == 1 and report["without_caption"] == 1


def test_captions_from_a_jsonl_for_pictures_in_folders(tmp_path, made):
    save(tmp_path / "in" / "a" / "x.png", "blue")
    save(tmp_path / "in" / "b" / "x.png", "red")
    table = tmp_path / "captions.jsonl"
    rows = [{"file": "a/x.png", "captions": ["blue", "azure"]}, {"file": "b/x.png", "text": "red"}]
    table.write_text("\n".join(map(json.dumps, rows)) + "\n\n")
    found, _ = made(tmp_path / "in", table=table)
    assert found["a/x.png"][1]["captions"] == ["blue", "azure"] and found["b/x.png"][1]["captions"] == ["red"]


def test_held_out_pictures_are_apart_and_stay_when_others_join(images, made):
    def held(found: dict) -> set[str]:
        return {file for file, (_, record) in found.items() if record["split"] == "held_out"}

    before, report = made(images, held_out=0.4)
    assert 0 < report["splits"]["held_out"] < 12 and sum(report["splits"].values()) == 12
    save(images / "aaa.png").with_suffix(".txt").write_text("red")
    after, _ = made(images, held_out=0.4)
    assert held(after) - {"aaa.png"} == held(before)


def test_same_folder_gives_the_same_bytes(images, tmp_path):
    for out in ("one", "two"):
        import_folder(images, tmp_path / out, 16, None, 0.2)
    files = [path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*") if path.is_file()]
    assert files and all((tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes() for file in files)


def test_a_second_run_into_the_same_folder_does_not_read_its_own_output(images):
    out = images / "shards"
    first, second = (import_folder(images, out, 16, None, 0.0) for _ in range(2))
    assert first == second and first["pictures_found"] == 12


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("c.csv", b"picture,words\np00.png,hello\n", "'picture', 'words'"),
        ("c.csv", b"file,caption\na.jpg,a red, round ball, on grass\n", "line 2 has 4 values, its header 2; a caption that holds a comma"),
        ("c.csv", b'file,caption\na.jpg,"a\nred ball"\nb.jpg\n', "line 4 has 1 values"),
        ("c.csv", b'file,caption\na.jpg,"a" red\n', "line 2 is not comma-separated"),
        ("c.csv", b"file,caption,caption\na.jpg,a,b\n", "names a column twice"),
        ("c.jsonl", b'{"file": 7, "caption": "a"}\n', "line 1: file needs text"),
        ("c.jsonl", b'{"file": "a.jpg", "caption": {"en": "a"}}\n', "caption text or a list of texts"),
        ("c.jsonl", b'{"file": "a.jpg", "caption": "a \\ud83d"}\n', "line 1: caption holds half a character"),
        ("c.jsonl", b"[" * 100_000, "nested too deeply"),
        ("c.jsonl", b'{"file": "p00.png"\n', "line 1 is not JSON"),
        ("c.jsonl", b'["p00.png"]\n', "not a JSON object"),
        ("c.csv", b"file,caption\np00.png,caf\xe9\n", "not UTF-8"),
        ("c.xlsx", b"PK", "neither .csv nor .jsonl"),
    ],
)
def test_a_bad_caption_file_is_refused(tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=said):
        read_table(tmp_path / name)


# ------------------------------------------------------------------------------------------------ text that is none


def test_captions_of_powershell_are_read(images, made):
    """`echo > cat.txt` writes UTF-16 with a byte order mark."""
    (images / "p00.txt").write_text("un café\r\n", encoding="utf-16")
    assert made(images)[0]["p00.png"][1]["captions"] == ["un café"]


def test_captions_that_are_not_text_are_counted_and_named(images, made):
    (images / "p00.txt").write_bytes("a café".encode("latin-1"))
    (images / "p01.txt").write_bytes("a cat".encode("utf-16-le"))
    found, report = made(images)
    assert len(found) == 10 and report["unreadable_captions"] == 2
    assert report["unreadable_captions_files"][0].startswith("p00.txt is not UTF-8 text (byte 5)")
    for text in images.glob("*.txt"):
        text.write_bytes(b"\xff")
    with pytest.raises(UserError, match=r"but no caption: p00\.txt is not UTF-8 text \(byte 0\); save it as UTF-8"):
        made(images)


def test_invisible_captions_are_none(images, made):
    (images / "p00.txt").write_text("\u200b\n\ufeff\n \u3164")
    assert made(images)[1]["without_caption_files"] == ["p00.png"]


def test_a_file_name_that_is_not_utf_8(images, made):
    name = os.fsdecode(b"caf\xe9.png")
    try:
        save(images / name).with_suffix(".txt").write_text("a café")
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    found, report = made(images)
    assert found["caf\ufffd.png"][1]["captions"] == ["a café"] and report["splits"]["train"] == 13


# ------------------------------------------------------------------------------------------------ which row is whose


def test_a_row_by_file_name_alone_comes_last_and_only_where_one_image_has_it(tmp_path, made):
    save(tmp_path / "in/blue/0001.png", "blue").with_suffix(".txt").write_text("its own caption")
    save(tmp_path / "in/blue/0002.png", "navy")
    save(tmp_path / "in/red/0003.png", "red")
    save(tmp_path / "in/green/0003.png", "green").with_suffix(".txt").write_text("green")
    table = tmp_path / "captions.csv"
    table.write_text("file,caption\n0001.png,from the table\n0002.png,found\n0003.png,of which\nblue\\0002.png,exact\n")
    found, report = made(tmp_path / "in", table=table)
    assert {file: record["captions"] for file, (_, record) in found.items()} == {
        "blue/0001.png": ["its own caption"], "blue/0002.png": ["exact"], "green/0003.png": ["green"],
    }  # fmt: skip
    assert report["captions_without_picture_files"] == ["0002.png", "0003.png"]
    assert report["without_caption_files"] == ["red/0003.png"]


def test_a_table_of_other_names_shows_one_from_each_side(images, tmp_path, made):
    for text in images.glob("*.txt"):
        text.unlink()
    (tmp_path / "c.csv").write_text("file,caption\nP00.PNG,a\n")
    with pytest.raises(UserError, match=r"c\.csv names none of them \(it has 'P00.PNG', the folder has 'p00.png'\)"):
        made(images, table=tmp_path / "c.csv")


# ------------------------------------------------------------------------------------------------ what is passed over


def test_what_nobody_reads_is_counted(images, made, tmp_path):
    (images / "phone.heic").write_bytes(b"x")
    (images / "phone2.HEIC").write_bytes(b"x")
    (images / "drawing.svg").write_bytes(b"x")
    (images / "notes.md").write_text("x")
    (images / ".hidden.png").write_bytes(b"x")
    save(tmp_path / "elsewhere" / "x.png")
    (images / "link").symlink_to(tmp_path / "elsewhere")
    found, report = made(images)
    assert len(found) == 12 and report["passed_over"] == {".heic": 2, ".svg": 1, "linked folder": 1}
    (tmp_path / "only").mkdir()
    (tmp_path / "only" / "a.avif").write_bytes(b"x")
    with pytest.raises(UserError, match=r"only 1 \.avif; it needs files that end in \.png"):
        made(tmp_path / "only")


def test_a_folder_that_is_all_held_out_says_so(tmp_path, made):
    save(tmp_path / "in" / "a.png").with_suffix(".txt").write_text("a")
    with pytest.raises(UserError, match="all 1 are held out; lower --held-out"):
        made(tmp_path / "in", held_out=0.999)


# ------------------------------------------------------------------------------------------------ values of unknown range


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_an_image_whose_values_have_no_range_is_broken_not_black(images, made, dtype):
    Image.fromarray(np.ones((20, 20), dtype)).save(images / "p00.tif")
    (images / "p00.png").unlink()
    found, report = made(images)
    assert "p00.tif" not in found and "unknown range" in report["broken_files"][0]


def test_sixteen_bit_grey_keeps_its_transparent_value(images, made):
    values = np.full((20, 20), 1000, np.uint16)
    values[:, 10:] = 40_000
    Image.fromarray(values).save(images / "p00.png", transparency=1000)
    pixels = made(images, 20)[0]["p00.png"][0]
    assert (pixels[:, :10] == 255).all() and (pixels[:, 10:] == 40_000 >> 8).all()


def test_pillows_own_warnings_are_not_a_users_news(images, recwarn):
    """An EXIF block that is cut off, and a palette whose transparency is given as bytes."""
    broken = save(images / "p00.jpg")
    data = broken.read_bytes()
    broken.write_bytes(data[:2] + b"\xff\xe1\x00\x10Exif\x00\x00II*\x00\x08\x00\x00\x00" + data[2:])
    Image.new("P", (20, 20)).save(images / "p01.png", transparency=bytes(range(256)))
    for name in ("p00.jpg", "p01.png"):
        open_image(images / name)
    assert not [warning for warning in recwarn if "PIL" in str(warning.filename)]


def test_a_class_is_the_name_of_its_folder(tmp_path, made):
    for name in ("cat", "sea  lion"):
        save(tmp_path / "in" / "more" / name / "a.png")
    save(tmp_path / "in" / "loose.png").with_suffix(".txt").write_text("not a class")
    found, report = made(tmp_path / "in", table="folders")
    assert {file: record["captions"] for file, (_, record) in found.items()} == {
        "more/cat/a.png": ["cat"],
        "more/sea  lion/a.png": ["sea lion"],
    }
    assert report["without_caption_files"] == ["loose.png"]
    assert report["classes"] == {"cat": 1, "sea lion": 1} and report["merged"] == []


def test_folders_of_one_name_are_one_class(tmp_path, made):
    for name in ("a/cat", "b/Cat", "b/\u200b"):
        save(tmp_path / "in" / name / "a.png", "red")
    _, report = made(tmp_path / "in", table="folders")
    assert report["merged"] == ["'cat': a/cat, b/Cat"]
    assert report["without_caption_files"] == ["b/\u200b/a.png"], "a name that shows nothing is none"


def test_classes_need_folders(images, made):
    with pytest.raises(UserError, match=r"lie in .* itself; --captions folders needs below it a folder for each class"):
        made(images, table="folders")


def test_systems_without_text_need_no_captions(tmp_path):
    save(tmp_path / "in" / "a.png").with_suffix(".txt").write_text("left aside")
    save(tmp_path / "in" / "b.png")
    import_folder(tmp_path / "in", tmp_path / "out", 16, "none")
    shards = Shards(str(tmp_path / "out" / "train"), captioned=False)
    records = [shards.read(number) for number in range(len(shards))]
    assert sorted(record.meta["file"] for record in records) == ["a.png", "b.png"]
    assert all(record.captions == [""] and record.meta["captions"] == [] for record in records)
    with pytest.raises(ValueError, match="has no caption"):
        Shards(str(tmp_path / "out" / "train")).read(0)
