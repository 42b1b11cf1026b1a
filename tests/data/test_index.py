"""Byte ranges by reading headers, against the standard library's reader."""

import io
import tarfile

import numpy as np
import pytest

from t2igan.data.index import BLOCK, BrokenShard, _members, _number, _pax_path, index_path, index_tar

FORMATS = {"ustar": tarfile.USTAR_FORMAT, "pax": tarfile.PAX_FORMAT, "gnu": tarfile.GNU_FORMAT}


def write(path, members, format="pax"):
    with tarfile.open(path, "w", format=FORMATS[format]) as archive:
        for name, data in members:
            if data is None:
                info = tarfile.TarInfo(name)
                info.type = tarfile.DIRTYPE
                archive.addfile(info)
                continue
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


LONG = "folder/" + "long" * 40  # beyond the 100 bytes of a plain header
MEMBERS = [
    ("a.png", b"picture a"),
    ("a.txt", b""),
    ("a.json", b"{}" * 600),
    ("some/folder", None),
    ("some/folder/b.JPG", b"x" * 512),
    ("some/folder/b.txt", b"y" * 513),
]


def contents(path, offset, size) -> bytes:
    return path.read_bytes()[offset : offset + size]


@pytest.mark.parametrize("format", FORMATS)
def test_members_are_those_of_tarfile(format, tmp_path):
    members = [*MEMBERS, (f"{'d' * 60}/{'e' * 60}.png", b"split between prefix and name")]
    if format != "ustar":
        members += [(f"{LONG}.png", b"long name"), ("ünï/cödé.png", b"other letters"), ("after.png", b"a short name after a long one")]
    path = write(tmp_path / "x.tar", members, format)
    with tarfile.open(path) as archive:
        expected = [(m.name, m.offset_data, m.size) for m in archive if m.isfile()]
    assert list(_members(path)) == expected
    assert len(expected) == len(members) - 1


@pytest.mark.parametrize("format", FORMATS)
def test_rows_hold_what_belongs_together(format, tmp_path):
    path = write(tmp_path / "x.tar", MEMBERS, format)
    index = index_tar(path)
    assert index.dtype == np.int64
    found = [[contents(path, row[i], row[i + 1]) for i in (0, 2, 4)] for row in index]
    assert found == [[b"picture a", b"", b"{}" * 600], [b"x" * 512, b"y" * 513, b""]]


def test_a_sample_may_be_scattered_and_stands_where_it_began(tmp_path):
    members = [("b.txt", b"B"), ("a.png", b"1"), ("b.png", b"2"), ("a.txt", b"A")]
    path = write(tmp_path / "x.tar", members)
    assert [[contents(path, row[0], row[1]), contents(path, row[2], row[3])] for row in index_tar(path)] == [[b"2", b"B"], [b"1", b"A"]]


def test_equal_names_in_two_folders_are_two_samples(tmp_path):
    path = write(tmp_path / "x.tar", [("p/1.png", b"1"), ("q/1.png", b"2"), ("q/1.txt", b"Q")])
    assert [[contents(path, row[0], row[1]), contents(path, row[2], row[3])] for row in index_tar(path)] == [[b"1", b""], [b"2", b"Q"]]


def test_what_has_no_picture_is_left_out(tmp_path):
    path = write(tmp_path / "x.tar", [("a.txt", b"A"), ("b.mp3", b"B"), ("c.webp", b"C"), ("d.seg.png", b"a mask of d")])
    assert [contents(path, row[0], row[1]) for row in index_tar(path)] == [b"C"]
    assert index_tar(write(tmp_path / "empty.tar", [])).shape == (0, 6)


def test_sizes_beyond_the_octal_field():
    assert _number(b"00000001750\0") == 1000
    assert _number(b"\0" * 12) == 0
    assert _number(bytes([0x80]) + (9 << 30).to_bytes(11, "big")) == 9 << 30


@pytest.mark.parametrize("keep", ["half a member", "a whole member", "half a header", "nothing"])
def test_a_truncated_tar_is_refused_with_the_place(keep, tmp_path):
    whole = write(tmp_path / "x.tar", [("a.png", b"1" * 2000), ("b.png", b"2" * 2000)]).read_bytes()
    at = {"half a member": BLOCK + 900, "a whole member": BLOCK + 2048, "half a header": BLOCK + 2048 + 100, "nothing": 0}[keep]
    cut = tmp_path / "cut.tar"
    cut.write_bytes(whole[:at])
    with pytest.raises(BrokenShard, match=r"cut\.tar is cut off.*byte \d+.*download it again"):
        index_tar(cut)


def test_what_is_no_tar_is_refused(tmp_path):
    path = tmp_path / "x.tar"
    path.write_bytes(b"not a tar at all" * 100)
    with pytest.raises(BrokenShard, match="not a tar"):
        index_tar(path)


@pytest.mark.parametrize("field", [b"no number...", b"-1000\0\0\0\0\0\0\0"])
def test_a_header_without_a_readable_size_is_refused(field, tmp_path):
    whole = bytearray(write(tmp_path / "x.tar", [("a.png", b"1" * 100)]).read_bytes())
    whole[124:136] = field
    (tmp_path / "x.tar").write_bytes(whole)
    with pytest.raises(BrokenShard, match="no readable size at byte 0"):
        index_tar(tmp_path / "x.tar")


@pytest.mark.parametrize("data", [b"0 path=x\n", b"x", b"1 ", b"-5 path=x\n"])
def test_a_pax_record_without_a_length_ends_the_search(data):
    assert _pax_path(data) is None


def test_where_an_index_lies(tmp_path):
    assert index_path(tmp_path / "00000.tar") == tmp_path / "00000.tar.idx.npy"
