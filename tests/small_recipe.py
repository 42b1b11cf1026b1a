"""A pytest plugin: a small recipe as text, as a file and as plain data, for tests that read and check recipes."""

import copy
from pathlib import Path

import pytest
import yaml

from t2igan.recipe import apply_override

TEXT = """
name: tiny
resolution: 32
data: {shards: nowhere}
text: {kind: transformers, model: nowhere, token_dim: 24, max_tokens: 16}
generator:
  adapter: {depth: 1, width: 8, head_dim: 4}
  style: {kind: mapping, z_dim: 6, style_dim: 10, depth: 2}
  synthesis:
    {kind: gigagan, channels: [16, 16, 8, 8], blocks: [1, 1, 1, 1], num_kernels: [1, 2, 1, 1], self_attention: [0, 1, 0, 0],
     cross_attention: [0, 1, 0, 0], head_dim: 8}
discriminator:
  adapter: {depth: 1, width: 8, head_dim: 4}
  network:
    {kind: gigagan, channels: [16, 8, 8, 8], blocks: [0, 1, 1, 0], self_attention: [0, 0, 0, 0], inputs: [32, 8], outputs: [8, 1],
     input_weights: [1.0, 0.3], output_weights: [0.5, 1.0], head_depth: 1}
objective:
  discriminator:
    - {kind: nonsaturating}
    - {kind: matching, weight: 0.5}
    - {kind: r1, gamma: 0.5, every: 8}
  generator:
    - {kind: nonsaturating}
training: {total_images: 6000, batch: 32, generator_optimizer: {lr: {linear: [0.002, 0.0, 6000]}}}
"""


@pytest.fixture(scope="session")
def base(tmp_path_factory) -> Path:
    """The recipe as a file."""
    path = tmp_path_factory.mktemp("recipe") / "tiny.yaml"
    path.write_text(TEXT)
    return path


@pytest.fixture
def data() -> dict:
    """The same as plain data, to be spoilt."""
    return yaml.safe_load(TEXT)


def changed(data, *overrides):
    data = copy.deepcopy(data)
    for override in overrides:
        apply_override(data, override)
    return data
