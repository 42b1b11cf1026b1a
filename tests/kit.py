"""A pytest plugin with one fixture: what a tiny recipe reads, made once per session."""

import pytest
from tiny import Kit, write_bert, write_clip, write_lpips


@pytest.fixture(scope="session")
def kit(shards, tmp_path_factory) -> Kit:
    folder = tmp_path_factory.mktemp("kit")
    return Kit(shards, write_bert(folder / "bert"), write_clip(folder / "clip"), *write_lpips(folder / "lpips"))
