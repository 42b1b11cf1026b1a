"""Weight files are found, checked, and never executed."""

import hashlib
import pickle

import pytest
import torch
from safetensors.torch import save_file

from t2igan.errors import UserError
from t2igan.features.weights import WeightFile, load_into, read_weights

STATE = {"a": torch.arange(6.0).view(2, 3), "b": torch.ones(1)}


def test_both_kinds_of_file_are_read(tmp_path):
    torch.save(STATE, tmp_path / "w.pth")
    save_file(STATE, tmp_path / "w.safetensors")
    for name in ("w.pth", "w.safetensors"):
        state, digest = read_weights(tmp_path / name)
        assert set(state) == {"a", "b"} and torch.equal(state["a"], STATE["a"])
        assert digest == hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()


def test_a_name_with_a_hash_holds_the_file_to_it(tmp_path):
    torch.save(STATE, tmp_path / "w.pth")
    digest = hashlib.sha256((tmp_path / "w.pth").read_bytes()).hexdigest()
    right = (tmp_path / "w.pth").rename(tmp_path / f"w-{digest[:8]}.pth")
    read_weights(right)
    wrong = right.rename(tmp_path / "w-01234567.pth")
    with pytest.raises(UserError, match=f"SHA-256 {digest[:8]}.*its name says 01234567.*get it again"):
        read_weights(wrong)


class Malicious:
    def __reduce__(self):
        return eval, ("1/0",)


@pytest.mark.parametrize("content", [b"", b"no weights", pickle.dumps({"a": Malicious()})])
def test_what_is_no_weights_is_refused_and_not_run(tmp_path, content):
    (tmp_path / "w.pth").write_bytes(content)
    with pytest.raises(UserError, match="is not a weight file"):
        read_weights(tmp_path / "w.pth")


def test_anything_else_than_tensors_is_refused(tmp_path):
    torch.save({"epoch": 3}, tmp_path / "w.pth")
    with pytest.raises(UserError, match="does not hold tensors by name"):
        read_weights(tmp_path / "w.pth")


def test_a_published_file_is_looked_for_in_torch_hubs_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    published = WeightFile("net-01234567.pth", "https://example.org/")
    with pytest.raises(UserError, match=r"net-01234567.pth is not in .*checkpoints; get https://example.org/net-01234567.pth"):
        published.find()
    with pytest.raises(UserError, match=r"no weights at .*elsewhere"):
        published.find(tmp_path / "elsewhere")
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints/net-01234567.pth").touch()
    assert published.find() == tmp_path / "checkpoints/net-01234567.pth"


def test_another_networks_weights_are_named(tmp_path):
    with pytest.raises(UserError, match=r"weights of another network .*Missing key"):
        load_into(torch.nn.Linear(2, 2), STATE, tmp_path / "w.pth")
