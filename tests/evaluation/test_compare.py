"""Results of one protocol are compared; those of two are refused, and the error names the field that differs."""

import copy
import json

import pytest

from t2igan.errors import UserError
from t2igan.evaluation.compare import compare, read_result

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
    lines = compare(RESULT, other).splitlines()
    assert lines[0] == "gigagan with clean_fid, 30000 images at 256 px"
    assert lines[2].split() == ["fid", "9.0900", "9.6200", "+0.5300"] and lines[3].split() == [
        "clip",
        "score",
        "0.3300",
        "0.3300",
        "+0.0000",
    ]


def test_images_generated_elsewhere_are_compared_with_those_of_a_model():
    assert "fid" in compare(RESULT, changed("model", {"pictures": "other/*.tar"}))


def test_metrics_of_one_result_alone_are_left_out():
    other = copy.deepcopy(RESULT)
    del other["metrics"]["fid"]
    assert "fid" not in compare(RESULT, other).replace("clean_fid", "")


@pytest.mark.parametrize(
    ("path", "value", "message"),
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
def test_another_protocol_is_refused_by_its_field(path, value, message):
    with pytest.raises(UserError, match="not comparable") as caught:
        compare(RESULT, changed(path, value))
    assert str(caught.value).endswith(message)


def test_what_is_no_result(tmp_path):
    with pytest.raises(UserError, match="no result at"):
        read_result(tmp_path / "none.json")
    (tmp_path / "emoji.json").write_text(json.dumps({"train": {}}))
    with pytest.raises(UserError, match="is no result of eval/zero_shot_coco"):
        read_result(tmp_path / "emoji.json")
    with pytest.raises(UserError, match="no metric in common"):
        compare(RESULT, changed("metrics", {"kid": {"value": 1}}))


def test_the_script(script, tmp_path, capsys):
    for name in ("a", "b"):
        (tmp_path / f"{name}.json").write_text(json.dumps(RESULT))
    (tmp_path / "c.json").write_text(json.dumps(changed("protocol.name", "stylegan_t")))
    assert script("compare", tmp_path / "a.json", tmp_path / "b.json") == 0
    assert "30000 images at 256 px" in capsys.readouterr().out
    assert script("compare", tmp_path / "a.json", tmp_path / "c.json") == 2
    assert capsys.readouterr().err == "error: these results are not comparable: protocol.name: gigagan, stylegan_t\n"
