"""Checks the shapes in every signature of t2igan while tests run, and makes the small inputs that many tests share."""

import contextlib
import io
import json
import os
import resource
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock
from jaxtyping import install_import_hook
from PIL import Image

os.environ["HF_HUB_OFFLINE"] = "1"  # no test waits for the network
install_import_hook("t2igan", "beartype.beartype")  # before anything of t2igan is imported
pytest.register_assert_rewrite("small_recipe", "releases")  # plugins that test modules import as well

from t2igan.data.write import Sample, write_shards  # noqa: E402
from t2igan.types import TextDescriptors, Tokens  # noqa: E402

torch.set_num_threads(1)  # for what modules and sessions set up before their first test: sums over threads end in other bits

ROOT = Path(__file__).resolve().parents[1]
# Each takes half a minute or more on one core, and one process runs the tests of a file: begun last, it would keep the other one waiting.
LONGEST_FILES = (
    "test_readme.py",
    "test_zero_shot_coco.py",
    "test_recipes.py",
    "test_fake_cuda.py",
    "test_distributed.py",
    "test_gpu_script.py",
    "test_run.py",
    "test_hub.py",
    "test_resume.py",
)


def pytest_collection_modifyitems(items):
    """The longest files first, the others as they were."""
    place = {name: number for number, name in enumerate(LONGEST_FILES)}
    items.sort(key=lambda item: place.get(item.path.name, len(place)))


@pytest.fixture(autouse=True)
def reproducible():
    """One thread and the same random numbers in every test; nothing that a test sets leaks into the next one."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    with warnings.catch_warnings():
        yield
    assert torch.get_default_dtype() == torch.float32
    assert torch.is_grad_enabled()


@pytest.fixture
def full_disk():
    """full_disk(bytes): inside, the system refuses to write a file beyond that size, as a full disk does (EFBIG in place of ENOSPC)."""

    @contextlib.contextmanager
    def limited(size: int):
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    return limited


@pytest.fixture(scope="session")
def root() -> Path:
    """The clone's root."""
    return ROOT


@pytest.fixture(scope="session")
def randomised():
    """randomised(module) -> the module with every parameter drawn anew, so that nothing is zero as it is at initialisation."""

    def draw(module, seed: int = 1):
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.add_(torch.randn(parameter.shape, generator=generator).to(parameter))
        return module

    return draw


@pytest.fixture
def descriptors():
    """descriptors(lengths, tokens=, token_dim=, text_dim=) -> random TextDescriptors whose texts have these true lengths."""

    def make(lengths, tokens=6, token_dim=12, text_dim=10, dtype=torch.float32) -> TextDescriptors:
        lengths = torch.as_tensor(lengths)
        mask = torch.arange(tokens) < lengths[:, None]
        local = torch.randn(len(lengths), tokens, token_dim, dtype=dtype)
        source = Tokens(torch.zeros(mask.shape, dtype=torch.long), mask)
        return TextDescriptors(local, torch.randn(len(lengths), text_dim, dtype=dtype), source)

    return make


@pytest.fixture(scope="session")
def png():
    """png(colour or array, size) -> PNG bytes."""

    def encode(content, size: int = 16) -> bytes:
        image = Image.fromarray(content) if isinstance(content, np.ndarray) else Image.new("RGB", (size, size), content)
        stream = io.BytesIO()
        image.save(stream, "PNG")
        return stream.getvalue()

    return encode


def noise_samples(count: int, size: int, png) -> list[Sample]:
    """Images of noise, no two alike, each with three captions; three neighbours share the first caption."""
    rng = np.random.default_rng(0)
    images = [png(rng.integers(0, 256, (size, size, 3), dtype=np.uint8)) for _ in range(count)]
    captions = [[f"thing {i // 3}", f"thing {i // 3} in style {i % 3}", f"number {i}"] for i in range(count)]
    return [Sample(f"{i:05d}", image, captions[i], {"style": f"style {i % 3}"}) for i, image in enumerate(images)]


@pytest.fixture(scope="session")
def samples(png) -> list[Sample]:
    """23 captioned images of 16 px."""
    return noise_samples(23, 16, png)


@pytest.fixture(scope="session")
def shards(samples, tmp_path_factory) -> Path:
    """A folder with the samples in three shards (of 8, 8 and 7), for reading only."""
    out = tmp_path_factory.mktemp("shards") / "train"
    write_shards(samples, out, per_shard=8)
    return out


@pytest.fixture(scope="session")
def emoji_32(tmp_path_factory) -> Path:
    """The emoji at 32 px, made by the README's command, once for all of pytest's processes; for reading only."""
    shared = tmp_path_factory.getbasetemp()
    shared = shared.parent if "PYTEST_XDIST_WORKER" in os.environ else shared
    data = shared / "emoji_32"
    with FileLock(shared / "emoji_32.lock"):
        if not data.is_dir():
            command = [sys.executable, ROOT / "data_prep/emoji.py", "--out", data, "--size", "32"]
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
            assert done.returncode == 0, done.stderr
    return data


@pytest.fixture(scope="session")
def open_clip_folder(tmp_path_factory):
    """A random CLIP with a text tower of width 32, embedding 24 and 16 tokens, in open_clip's local-dir layout."""
    import open_clip
    from safetensors.torch import save_file

    folder = tmp_path_factory.mktemp("open_clip")
    vision = {"image_size": 32, "layers": 1, "width": 32, "patch_size": 16, "head_width": 16}
    text = {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 3}
    model = {"embed_dim": 24, "vision_cfg": vision, "text_cfg": text}
    preprocess = {"mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bicubic", "resize_mode": "squash"}
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": model, "preprocess_cfg": preprocess}))
    torch.manual_seed(0)
    clip = open_clip.CLIP(**model)
    save_file({name: weight.contiguous() for name, weight in clip.state_dict().items()}, folder / "open_clip_model.safetensors")
    return folder
