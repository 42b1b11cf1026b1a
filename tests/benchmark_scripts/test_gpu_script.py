"""benchmarks/gpu.py: the first minutes on a GPU."""

import json
import subprocess
import sys

import pytest
import torch
from tiny import ROOT

from t2igan.errors import UserError

STEPS = ["layers", "training", "resume", "processes", "small", "base", "upsampler", "prompt", "demo", "peer"]


@pytest.mark.parametrize("steps", [["layers", "prompt"], pytest.param(STEPS, marks=pytest.mark.slow)], ids=["some", "all"])
def test_the_gpu_script_rehearses_on_a_cpu(steps, tmp_path):
    """What the demo and the peer need may be missing; nothing may fail."""
    command = [sys.executable, ROOT / "benchmarks/gpu.py", "--rehearse", "--out", tmp_path, "--only", *steps]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900)
    found = {row["step"]: row for row in json.loads((tmp_path / "result.json").read_text())["steps"]}
    assert done.returncode == 0 and list(found) == steps, done.stderr
    assert all(row["outcome"] == "PASS" for name, row in found.items() if name not in ("demo", "peer"))
    assert (tmp_path / "table.md").read_text().count("PASS") == sum(row["outcome"] == "PASS" for row in found.values())


@pytest.fixture
def gpu(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    from benchmarks import gpu

    return gpu


def test_a_step_that_hangs_or_dies_fails_alone(gpu, tmp_path, monkeypatch):
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks/gpu_steps.py").write_text(
        "import json, sys, time\n"
        "ends = {'resume': lambda: time.sleep(60), 'base': lambda: sys.exit(3)}\n"
        "ends.get(sys.argv[1], lambda: print(json.dumps(['PASS', '1'])))()\n"
    )
    monkeypatch.setattr(gpu, "ROOT", tmp_path)
    monkeypatch.setitem(gpu.STEPS, "resume", ("", 1))
    end = gpu.time.monotonic() + 60
    found = [gpu.play(name, True, end) for name in ("resume", "base", "small")]
    assert [row["outcome"] for row in found] == ["FAIL", "FAIL", "PASS"]
    assert [row["detail"] for row in found] == ["not done after 1 s", "ended with code 3 and no result", "1"]
    assert gpu.play("small", True, gpu.time.monotonic())["outcome"] == "SKIP"


def test_without_a_gpu_it_says_how_to_rehearse(gpu, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["gpu.py"])
    with pytest.raises(UserError, match="no GPU that torch can use; --rehearse"):
        gpu.main()
