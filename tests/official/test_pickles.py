"""Pickles that carry something else than a release: nothing of them runs, and a small file takes no memory and no foreign bytes."""

import io
import os
import pickle

import numpy as np
import pytest
import torch
from releases import Persistent, W, as_network
from test_import_stylegan2 import SIDES, edited, random_state

from t2igan.cli import main
from t2igan.official.pickles import read_pickle

pytest_plugins = ["releases"]
pytestmark = pytest.mark.usefixtures("releases_modules")


class Payload:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    ("what", "named"),
    [
        (lambda path: Payload(os.system, f"touch {path}"), "system"),
        (lambda path: Payload(eval, f"open({str(path)!r}, 'w')"), "builtins.eval"),
        (lambda path: Payload(open, str(path), "w"), "open"),
        (lambda path: Payload(getattr, "text", "upper"), "getattr"),
    ],
)
def test_a_payload_is_refused_and_nothing_runs(what, named, tmp_path, capsys):
    ran = tmp_path / "ran"
    for content in ({"G_ema": what(ran)}, {"G_ema": as_network(random_state()), "more": [what(ran)]}):
        (tmp_path / "bad.pkl").write_bytes(pickle.dumps(content))
        with pytest.raises(SystemExit) as end:
            main(["import", str(tmp_path / "bad.pkl"), "--out", str(tmp_path / "run")])
        error = capsys.readouterr().err
        assert end.value.code == 2 and error.count("\n") == 1 and named in error and "nothing of it was run" in error
        assert not ran.exists() and not (tmp_path / "run").exists()


def test_a_payload_in_the_archive_of_a_tensor_is_refused_too(tmp_path):
    ran, archive = tmp_path / "ran", io.BytesIO()
    torch.save(Payload(os.system, f"touch {ran}"), archive)
    (tmp_path / "bad.pkl").write_bytes(pickle.dumps({"G_ema": Payload(torch.storage._load_from_bytes, archive.getvalue())}))
    with pytest.raises(Exception, match="nothing of it was run"):
        read_pickle(tmp_path / "bad.pkl")
    assert not ran.exists()


def doubled(content, times=60):
    for _ in range(times):
        content = [content, content]
    return content


class Inside:
    """A network inside itself, by the way pickles change what they have made."""

    def __reduce__(self):
        network = Persistent("Part")
        return (*network.__reduce__(), {"parts": {"again": self}})


def deep(network, times=60):
    for _ in range(times):
        network = Persistent("Part", modules={"a": network, "b": network})
    return network


class Bits:
    """numpy's dtype with a state of the pickle's choice: numpy's own would take any address from it."""

    def __reduce__(self):
        return np.dtype, ("V8", False, True), (3, "|", None, ("a",), {"a": (np.dtype("O"), 0)}, 8, 1, 0)


def scalar(content, kind):
    return Payload(np.float64(0).__reduce__()[0], kind, content)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lambda: Persistent(doubled("x")), "a name that is none"),
        (Inside, "it changes what it has made"),
        (lambda: deep(as_network(random_state())), "its parts lie inside each other"),
        (lambda: Persistent("Part", bias_gain=scalar(b"\x10" * 8, Bits())), "a number of unknown kind"),
        (lambda: Persistent("Part", bias_gain=scalar(b"\x10", np.dtype("f8"))), "not a pickle of a StyleGAN release"),
        (lambda: Persistent("Part", {"weight": torch.zeros(1, dtype=torch.half).expand(10**6)}), "a tensor larger than its numbers"),
        (lambda: Persistent("Part", {"weight": beyond(10**5)}), "a tensor larger than its numbers"),
        (lambda: Persistent("Part", all=[Payload(torch.storage._load_from_bytes, ARCHIVE) for _ in range(400)]), "larger than the file"),
        (lambda: Persistent("Part", {"weight": Payload(torch.storage._load_from_bytes, b"PK" + ARCHIVE)}), "in another archive"),
        (lambda: Persistent("Part", {1: torch.zeros(2)}), "a name that is none"),
        (lambda: edited(mapping__w_avg=np.zeros(10**5, np.float32)), "another width than its average style, 100000"),
        (lambda: edited(mapping__fc1__weight=np.zeros((W, 9), np.float32)), "mapper.layers.1.weight is missing or has another shape"),
        (lambda: wide(400), "its tensors are larger than the file"),
    ],
)
def test_a_small_file_takes_no_memory_and_no_foreign_bytes(content, message, tmp_path, capsys):
    (tmp_path / "bad.pkl").write_bytes(pickle.dumps({"G_ema": content()}))
    with pytest.raises(SystemExit) as end:
        main(["import", str(tmp_path / "bad.pkl"), "--out", str(tmp_path / "run")])
    error = capsys.readouterr().err
    assert end.value.code == 2 and error.count("\n") == 1 and message in error, error


BIG = torch.zeros(1000, dtype=torch.half)
ARCHIVE = torch.zeros(1000).storage().__reduce__()[1][0]


def beyond(size):
    """A tensor of more numbers than its storage has, which torch would grow."""
    return Payload(torch._utils._rebuild_tensor_v2, torch.zeros(1).storage(), 0, (size,), (1,), False, {})


def wide(times):
    """A network that has one tensor under many names."""
    network = as_network(random_state())
    network.fields["_modules"]["more"] = Persistent("Part", {f"w{i}": BIG for i in range(times)})
    return network


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_old_protocols_are_read_with_sets_arrays_and_numbers_of_numpy(protocol, tmp_path):
    network = as_network(random_state())
    network.numbers |= {"_non_persistent_buffers_set": set(), "size": np.array([4, 4]), "bias_gain": np.float32(0.25), "clamp": np.int64(3)}
    (tmp_path / "x.pkl").write_bytes(pickle.dumps({"G_ema": network}, protocol=protocol))
    read = read_pickle(tmp_path / "x.pkl")["G_ema"]
    assert read.numbers["bias_gain"] == 0.25 and read.numbers["clamp"] == 3 and "size" not in read.numbers
    assert set(read.state()) == set(random_state()) | {f"synthesis.b{side}.resample_filter" for side in SIDES}
