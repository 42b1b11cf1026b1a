"""Pickles in the layout of NVIDIA's releases: read without running them, and the network in them evaluated by an independent reference.

The reference is written in loops and float64 from the equations alone and shares no code with the library.
"""

import json
import pickle

import numpy as np
import pytest
import torch
from releases import W, Z, add_mapping, as_network, fc, imported, lrelu, mapped

from t2igan.cli import main

pytest_plugins = ["releases"]
pytestmark = pytest.mark.usefixtures("releases_modules")
SIDES, WIDTHS = (4, 8, 16), (4, 3, 2)


# ---------------------------------------------------------------------------------------------------- a release's file


def random_state(architecture="skip", labels=0) -> dict[str, np.ndarray]:
    """Arrays under the release's names (facts page, section 8)."""
    rng, state = np.random.default_rng(0), {}

    def add(name, *shape):
        state[name] = rng.normal(size=shape).astype(np.float32)

    add_mapping(add, labels)
    add("synthesis.b4.const", WIDTHS[0], 4, 4)
    for stage, (side, width) in enumerate(zip(SIDES, WIDTHS, strict=True)):
        before = WIDTHS[max(stage - 1, 0)]
        for conv, inputs in (("conv0", before), ("conv1", width)):
            if conv == "conv0" and side == 4:
                continue
            at = f"synthesis.b{side}.{conv}"
            add(f"{at}.weight", width, inputs, 3, 3), add(f"{at}.bias", width), add(f"{at}.noise_strength")
            add(f"{at}.affine.weight", inputs, W), add(f"{at}.affine.bias", inputs), add(f"{at}.noise_const", side, side)
        if architecture == "residual" and side > 4:
            add(f"synthesis.b{side}.skip.weight", width, before, 1, 1)
        if architecture == "skip" or side == SIDES[-1]:
            at = f"synthesis.b{side}.torgb"
            add(f"{at}.weight", 3, width, 1, 1), add(f"{at}.bias", 3), add(f"{at}.affine.weight", width, W), add(f"{at}.affine.bias", width)
    return {name: np.asarray(value) for name, value in state.items()}


# ---------------------------------------------------------------------------------------------------- the reference


def filtered(x):
    """Correlated with [1, 3, 3, 1] x [1, 3, 3, 1] / 64, without padding."""
    taps = np.outer([1, 3, 3, 1], [1, 3, 3, 1]) / 64
    c, h, w = x.shape
    y = np.zeros((c, h - 3, w - 3))
    for a in range(4):
        for b in range(4):
            y += taps[a, b] * x[:, a : a + h - 3, b : b + w - 3]
    return y


def twice(x):
    """The release's upsampling of images."""
    c, h, w = x.shape
    y = np.zeros((c, 2 * h, 2 * w))
    y[:, ::2, ::2] = x
    return 4 * filtered(np.pad(y, ((0, 0), (2, 1), (2, 1))))


def modulated(state, at, x, w, up, demodulate=True, gain=1.0):
    s = fc(state, f"{at}.affine", w) * gain
    kernel = state[f"{at}.weight"].astype(np.float64) * s[None, :, None, None]
    if demodulate:
        kernel = kernel / np.sqrt((kernel**2).sum((1, 2, 3), keepdims=True) + 1e-8)
    o, _, k, _ = kernel.shape
    _, h, width = x.shape
    if up:
        y = np.zeros((o, 2 * h + 1, 2 * width + 1))
        for row in range(h):
            for column in range(width):
                y[:, 2 * row : 2 * row + 3, 2 * column : 2 * column + 3] += np.einsum("oiab,i->oab", kernel, x[:, row, column])
        return 4 * filtered(np.pad(y, ((0, 0), (1, 1), (1, 1))))
    padded, y = np.pad(x, ((0, 0), (k // 2, k // 2), (k // 2, k // 2))), np.zeros((o, h, width))
    for row in range(h):
        for column in range(width):
            y[:, row, column] = np.einsum("oiab,iab->o", kernel, padded[:, row : row + k, column : column + k])
    return y


def reference(state, w, architecture, clamp=None):
    """The image of a style, by the equations of the paper's section 2 and the release's order."""

    def clamped(x, bound):
        return x if clamp is None else np.clip(x, -bound, bound)

    def layer(at, x, up, gain=1.0):
        y = modulated(state, at, x, w, up) + state[f"{at}.noise_const"] * state[f"{at}.noise_strength"]
        return clamped(lrelu(y + state[f"{at}.bias"][:, None, None]) * gain, (clamp or 0) * gain)

    x, image = state["synthesis.b4.const"].astype(np.float64), None
    for side in SIDES:
        at, skipped = f"synthesis.b{side}", None
        if side > 4:
            if architecture == "residual":
                weight = state[f"{at}.skip.weight"][:, :, 0, 0]
                skipped = twice(np.einsum("oi,ihw->ohw", weight / np.sqrt(weight.shape[1]), x)) * np.sqrt(0.5)
            x = layer(f"{at}.conv0", x, True)
        x = layer(f"{at}.conv1", x, False, 1.0 if skipped is None else np.sqrt(0.5))
        x = x if skipped is None else x + skipped
        image = None if image is None else twice(image)
        if f"{at}.torgb.weight" in state:
            rgb = modulated(state, f"{at}.torgb", x, w, False, demodulate=False, gain=1 / np.sqrt(len(x)))
            rgb = clamped(rgb + state[f"{at}.torgb.bias"][:, None, None], clamp)
            image = rgb if image is None else image + rgb
    return image


# ---------------------------------------------------------------------------------------------------- tests


@pytest.mark.parametrize(
    ("architecture", "clamp"), [("skip", None), ("residual", None), ("original", None), ("skip", 0.5), ("residual", 0.5)]
)
def test_an_imported_generator_is_the_equations(architecture, clamp, tmp_path):
    state = random_state(architecture)
    generator, encode, config = imported(tmp_path, state, clamp=clamp)
    assert (config.resolution, config.generator.synthesis.architecture, config.generator.synthesis.clamp) == (16, architecture, clamp)
    z = np.random.default_rng(1).normal(size=(3, Z))
    images = generator(torch.tensor(z, dtype=torch.float32), encode(["", "", ""])).pyramid.finest.numpy()
    for one, image in zip(z, images, strict=True):
        expected = reference(state, mapped(state, one), architecture, clamp)
        assert np.abs(image - expected).max() < 1e-4 * max(1, np.abs(expected).max())
    truncated = generator(torch.tensor(z[:1], dtype=torch.float32), encode([""]), truncation=0.6).pyramid.finest[0].numpy()
    pulled = state["mapping.w_avg"] + 0.6 * (mapped(state, z[0]) - state["mapping.w_avg"])
    expected = reference(state, pulled, architecture, clamp)
    assert np.abs(truncated - expected).max() < 1e-4 * max(1, np.abs(expected).max())


def test_class_labels_come_with_their_names(tmp_path):
    (tmp_path / "names.txt").write_text("cat\ndog\nbus\n")
    state = random_state(labels=3)
    generator, encode, config = imported(tmp_path, state, "--names", str(tmp_path / "names.txt"))
    z = np.random.default_rng(1).normal(size=(1, Z))
    image = generator(torch.tensor(z, dtype=torch.float32), encode(["dog"])).pyramid.finest[0].numpy()
    expected = reference(state, mapped(state, z[0], np.array([0, 1, 0])), "skip")
    assert np.abs(image - expected).max() < 1e-4 * max(1, np.abs(expected).max())
    assert config.text.names == ("cat", "dog", "bus")


def test_an_imported_model_is_sampled_as_any_other(tmp_path):
    imported(tmp_path, random_state())
    main(["sample", str(tmp_path / "run"), "--seeds", "0-1", "--out", str(tmp_path / "x.png")])
    assert (tmp_path / "x.png").is_file() and "SHA-256" in (tmp_path / "run/model/README.md").read_text()
    assert json.loads((tmp_path / "run/model/config.json").read_text())["generator"]["synthesis"]["kind"] == "stylegan2"


def test_an_import_replaces_no_run(tmp_path, capsys):
    (tmp_path / "run/checkpoints").mkdir(parents=True)
    with pytest.raises(SystemExit):
        imported(tmp_path, random_state())
    assert "holds a run or a model already (checkpoints)" in capsys.readouterr().err


def edited(**changes):
    state = random_state()
    for name, value in changes.items():
        name = name.replace("__", ".")
        if value is None:
            del state[name]
        else:
            state[name] = value
    return as_network(state)


GREY = np.zeros((1, WIDTHS[-1], 1, 1), np.float32)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lambda: b"not a pickle", "not a pickle of a StyleGAN release"),
        (lambda: pickle.dumps([1]), "holds a list, not the mapping"),
        (lambda: pickle.dumps({"G": as_network(random_state())}), "no network 'G_ema'; its networks: G"),
        (
            lambda: pickle.dumps({"G_ema": as_network({"synthesis.first.weight": np.zeros(2)})}),
            "of another system than StyleGAN2, StyleGAN3",
        ),
        (lambda: pickle.dumps({"G_ema": edited(synthesis__b16__torgb__weight=GREY)}), "images have 1 channels"),
        (
            lambda: pickle.dumps({"G_ema": edited(synthesis__b8__conv0__bias=None)}),
            "is not the StyleGAN2 that it looks like: it has no synthesis.b8.conv0.bias",
        ),
    ],
)
def test_other_files_are_one_clear_line(content, message, tmp_path, capsys):
    (tmp_path / "x.pkl").write_bytes(content())
    with pytest.raises(SystemExit) as end:
        main(["import", str(tmp_path / "x.pkl"), "--out", str(tmp_path / "run")])
    error = capsys.readouterr().err
    assert end.value.code == 2 and error.count("\n") == 1 and message in error, error
    assert not (tmp_path / "run").exists()
