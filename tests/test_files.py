"""A JSON file appears whole or not at all."""

import json

import pytest

from t2igan.files import write_json


def test_a_file_in_new_folders(tmp_path):
    write_json(tmp_path / "a/b/result.json", {"value": [1, 2], "name": "é"})
    text = (tmp_path / "a/b/result.json").read_text(encoding="utf-8")
    assert json.loads(text) == {"value": [1, 2], "name": "é"} and text.startswith('{\n  "value"') and text.endswith("}\n")


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    write_json(tmp_path / "result.json", 1)

    def fail(*names):
        raise OSError("killed")

    monkeypatch.setattr("t2igan.files.os.replace", fail)
    with pytest.raises(OSError, match="killed"):
        write_json(tmp_path / "result.json", 2)
    with pytest.raises(TypeError):
        write_json(tmp_path / "result.json", {"not JSON": object()})
    assert json.loads((tmp_path / "result.json").read_text()) == 1
