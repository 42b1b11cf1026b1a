"""Results of one protocol are set beside each other, those of two are refused by the field that differs."""

import copy
import json
import sys

import pytest
from tiny import ROOT

from t2igan.errors import UserError

sys.path.insert(0, str(ROOT))  # eval is a folder of scripts, not an installed package

from eval.compare import read_result, table

RESULT = {
    "protocol": {
        "name": "gigagan", "extractor": "clean_fid", "pictures": 30000, "side": 256,
        "captions_sha256": "a" * 64, "reference": {"pictures": 40504, "content_sha256": "b" * 64},
    },
    "model": {"sha256": "c" * 64, "truncation": 1.0},
    "metrics": {
        "fid": {"value": 9.09, "network": {"weights": "d" * 64, "resize": "clean"}},
        "clip_score": {"value": 0.33, "network": {"weights": "e" * 64}},
    },
    "run": {"seconds": {}},
}  # fmt: skip


def changed(path: str, value) -> dict:
    other = copy.deepcopy(RESULT)
    *parents, last = path.split(".")
    target = other
    for parent in parents:
        target = target[parent]
    target[last] = value
    return other


def test_one_protocol_is_compared():
    other = changed("metrics.fid.value", 9.62) | {"model": {"sha256": "f" * 64}}
    lines = table(RESULT, other).splitlines()
    assert lines[0] == "gigagan with clean_fid, 30000 pictures at 256 px"
    assert lines[2].split() == ["fid", "9.0900", "9.6200", "+0.5300"] and lines[3].split() == [
        "clip",
        "score",
        "0.3300",
        "0.3300",
        "+0.0000",
    ]


def test_pictures_drawn_elsewhere_are_compared_with_a_models():
    assert "fid" in table(RESULT, changed("model", {"pictures": "other/*.tar"}))


def test_metrics_of_one_result_alone_are_left_out():
    other = copy.deepcopy(RESULT)
    del other["metrics"]["fid"]
    assert "fid" not in table(RESULT, other).replace("clean_fid", "")


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("protocol.name", "stylegan_t", "protocol.name: gigagan, stylegan_t"),
        ("protocol.extractor", "torch_fidelity", "protocol.extractor: clean_fid, torch_fidelity"),
        ("protocol.pictures", 10000, "protocol.pictures: 30000, 10000"),
        ("model.truncation", 0.7, "model.truncation: 1.0, 0.7"),
        ("protocol.captions_sha256", "1" * 64, "protocol.captions_sha256: aaaaaaaaaaaa..., 111111111111..."),
        ("protocol.reference.pictures", 30000, "protocol.reference.pictures: 40504, 30000"),
        ("metrics.fid.network.weights", "1" * 64, "fid.network.weights: dddddddddddd..., 111111111111..."),
    ],
)
def test_another_protocol_is_refused_by_its_field(path, value, said):
    with pytest.raises(UserError, match="not comparable") as caught:
        table(RESULT, changed(path, value))
    assert str(caught.value).endswith(said)


def test_what_is_no_result(tmp_path):
    with pytest.raises(UserError, match="no result at"):
        read_result(tmp_path / "none.json")
    (tmp_path / "emoji.json").write_text(json.dumps({"train": {}}))
    with pytest.raises(UserError, match="is no result of eval/zero_shot_coco"):
        read_result(tmp_path / "emoji.json")
    with pytest.raises(UserError, match="no metric in common"):
        table(RESULT, changed("metrics", {"kid": {"value": 1}}))
