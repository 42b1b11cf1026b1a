"""benchmarks/stylegan_t.py: two formulations of StyleGAN-T."""

import io
import json
import sys

import pytest
import torch
from tiny import ROOT

SMALL = ["--channel-base", "128", "--channel-max", "8", "--blocks", "1", "--resolution", "16", "--batch", "2", "--rounds", "1"]


def test_the_grouped_formulation_draws_the_same_images(monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(ROOT))
    from benchmarks import stylegan_t

    monkeypatch.setattr(sys, "argv", ["x", *SMALL, "--tower", "test_vit", "--serve", "grouped"])
    monkeypatch.setattr(sys, "stdin", io.StringIO("G forward\nstep\n"))
    monkeypatch.setattr("t2igan.memory.reuse_freed_memory", lambda: None)
    threads = torch.get_num_threads()
    try:
        stylegan_t.main()
    finally:
        torch.set_num_threads(threads)
    facts, *seconds = map(json.loads, capsys.readouterr().out.splitlines())
    assert facts[0] < 1e-4 and facts[1] > 10_000 and len(seconds) == 2 and min(seconds) > 0


@pytest.mark.slow
def test_both_formulations_are_timed_in_turn(monkeypatch, tmp_path, capsys):
    monkeypatch.syspath_prepend(str(ROOT))
    from benchmarks import stylegan_t

    monkeypatch.setattr(sys, "argv", ["x", *SMALL, "--tower", "test_vit", "--out", str(tmp_path / "result.json")])
    stylegan_t.main()
    result = json.loads((tmp_path / "result.json").read_text())
    assert set(result["rows"]) == {"G forward", "step"} and all(row["ours"] > 0 and row["ratio"] > 0 for row in result["rows"].values())
    assert result["difference"] < 1e-4 and "G forward" in capsys.readouterr().out
