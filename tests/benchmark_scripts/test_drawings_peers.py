"""benchmarks/drawings_peers.py: what a user would take instead, on the drawings."""

import json
from itertools import islice

import pytest
import torch
from tiny import ROOT

from t2igan.types import Batch


@pytest.fixture
def peers(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    from benchmarks import drawings_peers

    return drawings_peers


def test_the_table_begins_with_ours_and_has_a_row_for_each_way_to_draw(peers, tmp_path):
    ours = tmp_path / "ours.json"
    ours.write_text(json.dumps({"images_seen": 900, "minutes": 2.0, "frechet": {"generated": 0.25, "real": 0.1}}))
    for label, frechet in (("flow, 4 steps", 0.5), ("gigagan-pytorch", 0.75)):
        file = peers.scores_file(tmp_path, label)
        file.parent.mkdir(exist_ok=True)
        scores = {"label": label, "images_seen": 1200, "minutes": 2.0, "parameters": 5, "frechet": {"generated": frechet}}
        file.write_text(json.dumps(scores))
    peers.write(tmp_path, ours)
    assert (tmp_path / "table.md").read_text().splitlines() == [
        "| variant | images | minutes | Fréchet |",
        "|---|---|---|---|",
        "| ours | 900 | 2.0 | 0.250 |",
        "| flow, 4 steps | 1,200 | 2.0 | 0.500 |",
        "| gigagan-pytorch | 1,200 | 2.0 | 0.750 |",
    ]
    assert set(json.loads((tmp_path / "result.json").read_text())) == {"ours", "flow, 4 steps", "gigagan-pytorch"}


def test_own_captions_are_asked_for_by_the_mended_peer_alone(peers, tmp_path):
    commands = {name: peers.train_command(name, tmp_path, 3.0, 2, tmp_path / "run") for name in (peers.FLOW, peers.RELEASED, peers.MENDED)}
    assert {name for name, command in commands.items() if "--own-captions" in command} == {peers.MENDED}
    assert commands[peers.FLOW][commands[peers.FLOW].index("--nproc_per_node") + 1] == "2"
    assert all(str(tmp_path / "run") in command and "3.0" in command for command in commands.values())


def test_the_peers_images_lie_between_0_and_1_and_keep_their_captions(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    from benchmarks.gigagan_peer_training import read

    def batch(position):
        captions, positions = [f"thing {position}", f"thing {position + 1}"], torch.arange(position, position + 2)
        return Batch(torch.full((2, 3, 4, 4), -1.0 + position), captions, captions, [0, 1], positions, 0, [])

    class Data:
        def __getitem__(self, position):
            return batch(position)

    taken = list(islice(read(Data(), 0, 3), 6))
    assert [captions[0] for _, captions in taken] == ["thing 0"] * 3 + ["thing 2"] * 3
    assert taken[0][0].unique().tolist() == [0.0] and taken[3][0].unique().tolist() == [1.0]
