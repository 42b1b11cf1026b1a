"""Results to a page that stands alone."""

import copy
import json
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from t2igan.data.images import png_bytes
from t2igan.data.write import Sample, write_shards
from t2igan.errors import UserError
from t2igan.evaluation.page import build_page, curves

PROTOCOL = {
    "name": "stylegan_t", "extractor": "torch_fidelity", "pictures": 30000, "side": 64,
    "captions_sha256": "a" * 64, "reference": {"pictures": 40504, "content_sha256": "b" * 64},
}  # fmt: skip


def result(fid: float, clip: float, truncation: float = 1.0, model: str = "c", **protocol) -> dict:
    metrics = {name: {"value": value, "network": {"weights": name}} for name, value in (("fid", fid), ("clip_score", clip))}
    made = {"sha256": model, "truncation": truncation} if model else {"pictures": "other/*.tar"}
    return {"protocol": PROTOCOL | protocol, "model": made, "metrics": metrics, "run": {}}


@pytest.fixture
def saved(tmp_path):
    """save(name, result) -> its path, with three images beside it."""

    def save(name: str, content: dict):
        path = tmp_path / name
        path.write_text(json.dumps(content))
        images = [Sample(f"{i}", png_bytes(Image.new("RGB", (16, 16), (80 * i, 0, 0))), [f"<thing {i}>"]) for i in range(3)]
        write_shards(images, path.with_suffix("") / "pictures")
        return path

    return save


class Tags(HTMLParser):
    """Every tag that opens, and that what opens closes."""

    def __init__(self, page: str):
        super().__init__()
        self.open, self.seen = [], []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.seen.append((tag, dict(attributes)))
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_startendtag(self, tag, attributes):
        self.seen.append((tag, dict(attributes)))


def test_metrics_curve_and_images_in_one_file(saved):
    paths = [saved(f"{t}.json", result(fid, clip, t)) for t, fid, clip in ((1.0, 7.3, 0.20), (0.7, 9.1, 0.24), (0.5, 12.0, 0.26))]
    page = build_page(paths)
    tags = Tags(page)
    assert not tags.open
    names = [tag for tag, _ in tags.seen]
    assert names.count("circle") == 3 and names.count("img") == 3 and names.count("tr") == 4
    assert all(attributes["src"].startswith("data:image/png;base64,") for tag, attributes in tags.seen if tag == "img")
    assert "7.3000" in page and "a" * 64 in page and "http" not in page.replace('xmlns="http://www.w3.org/2000/svg"', "")


def test_the_curve_goes_through_the_points_in_order_of_truncation(saved):
    page = build_page(
        [saved(f"{t}.json", result(fid, clip, t)) for t, fid, clip in ((1.0, 8.0, 0.20), (0.5, 12.0, 0.30), (0.7, 10.0, 0.25))]
    )
    line = next(attributes["points"] for tag, attributes in Tags(page).seen if tag == "polyline")
    points = np.array([point.split(",") for point in line.split()], dtype=float)
    assert (np.diff(points[:, 0]) < 0).all() and (np.diff(points[:, 1]) > 0).all()  # towards 1: less like the caption, a lower FID
    assert np.allclose(points[1], (points[0] + points[2]) / 2, atol=0.1)  # 0.7 lies in the middle of both figures


def test_other_models_and_protocols_are_not_on_one_curve():
    same = {"a": result(7, 0.2), "b": result(9, 0.3, 0.5)}
    assert [len(curve) for curve in curves(same)] == [2]
    assert curves({"a": result(7, 0.2), "b": result(9, 0.3, 0.5, model="d")}) == []
    assert curves({"a": result(7, 0.2), "b": result(9, 0.3, 0.5, captions_sha256="z" * 64)}) == []
    assert curves({"a": result(7, 0.2, model=None), "b": result(9, 0.3, model=None)}) == []  # no hash shows which model generated them


def test_results_of_two_protocols_stand_apart(saved):
    page = build_page([saved("a.json", result(7, 0.2)), saved("b.json", result(9, 0.3, extractor="clean_fid"))])
    assert page.count("<table>") == 2
    other = copy.deepcopy(result(7, 0.2))
    other["metrics"]["fid"]["network"]["weights"] = "others"
    assert build_page([saved("a.json", result(7, 0.2)), saved("c.json", other)]).count("<table>") == 2


def test_neighbors_need_their_image(saved, tmp_path):
    path = saved("a.json", result(7, 0.2))
    with pytest.raises(UserError, match=r"eval/nearest_neighbors.py makes both"):
        build_page([path], tmp_path / "near.json")
    (tmp_path / "near.json").write_text(json.dumps({"distance": {"generated_to_training_mean": 0.5}}))
    Image.new("RGB", (8, 8)).save(tmp_path / "near.png")
    assert "generated to training mean 0.5000" in build_page([path], tmp_path / "near.json")


def test_a_table_never_mixes_two_networks(saved):
    """The third agrees with the first, which lacks the metric, but not with the second."""
    first, second, third = (result(7, 0.2) for _ in range(3))
    del first["metrics"]["clip_score"]
    third["metrics"]["clip_score"]["network"]["weights"] = "others"
    assert build_page([saved("a.json", first), saved("b.json", second), saved("c.json", third)]).count("<table>") == 2


def test_the_script(saved, script, tmp_path, capsys):
    paths = [saved("a.json", result(7.1, 0.2)), saved("b.json", result(9.1, 0.3, 0.5))]
    assert script("report", *paths, "--out", tmp_path / "new/page.html") == 0
    assert "page.html: 2 results" in capsys.readouterr().out
    assert (tmp_path / "new/page.html").read_text(encoding="utf-8") == build_page(paths)
    assert script("report", tmp_path / "none.json", "--out", tmp_path / "other.html") == 2 and not (tmp_path / "other.html").exists()
