"""Work in chunks: whole, resumed, and shared by processes."""

from types import SimpleNamespace

import pytest
import torch

from t2igan import files
from t2igan.errors import UserError
from t2igan.metrics.chunks import chunk_ranges, feature_file, read_features, run_in_chunks, write_features


def state(rank: int = 0, world: int = 1):
    """A process as accelerate describes it, which does not wait for others."""
    place = {"process_index": rank, "num_processes": world, "is_main_process": rank == 0}
    return SimpleNamespace(device=torch.device("cpu"), wait_for_everyone=lambda: None, **place)


@pytest.fixture
def work(tmp_path):
    made = []

    def make(chunk, file):
        made.append(chunk)
        write_features({"number": torch.tensor(chunk, dtype=torch.float32)[:, None]}, file)

    return made, lambda number: feature_file(tmp_path / "features", number), make


def test_chunks_cover_every_image_once():
    assert [len(chunk) for chunk in chunk_ranges(120)] == [50, 50, 20]
    assert [number for chunk in chunk_ranges(120) for number in chunk] == list(range(120))
    assert chunk_ranges(50) == [range(50)]


def test_one_process_makes_them_in_order_and_only_once(work, tmp_path):
    made, file, make = work
    assert run_in_chunks(120, file, make, state(), "test") == 120
    assert made == chunk_ranges(120)
    assert run_in_chunks(120, file, make, state(), "test") == 0
    assert len(made) == 3
    file(1).unlink()
    assert run_in_chunks(120, file, make, state(), "test") == 50
    assert made[3:] == [range(50, 100)]
    assert torch.cat(list(read_features(tmp_path / "features", "number", 120)))[:, 0].tolist() == list(range(120))


def test_a_file_of_another_length_is_refused(work, tmp_path):
    _, file, make = work
    run_in_chunks(120, file, make, state(), "test")
    with pytest.raises(UserError, match=r"00002.safetensors holds 20 images, not 10; remove"):
        list(read_features(tmp_path / "features", "number", 110))


def test_processes_share_the_chunks(work):
    made, file, make = work
    run_in_chunks(220, file, make, state(1, 2), "test")
    assert made == chunk_ranges(220)[1::2]
    run_in_chunks(220, file, make, state(0, 2), "test")
    assert sorted(made, key=lambda chunk: chunk.start) == chunk_ranges(220)


def test_a_chunk_that_fails_leaves_no_file(work, monkeypatch):
    _, file, _ = work

    def make(chunk, path):
        monkeypatch.setattr(files.os, "replace", lambda *names: (_ for _ in ()).throw(OSError("killed")))
        write_features({"number": torch.zeros(len(chunk), 1)}, path)

    with pytest.raises(OSError, match="killed"):
        run_in_chunks(10, file, make, state(), "test")
    assert not file(0).exists()
