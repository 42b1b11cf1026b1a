"""StyleGAN3's release: a pickle becomes a model, whose images equal those of a reference in loops and float64.

The reference is written from the equations alone, designs its filters with scipy, and shares no code with the library.
"""

import json
import math
import pickle

import numpy as np
import pytest
import torch
from PIL import Image
from releases import W, Z, add_mapping, as_network, fc, imported, lrelu, mapped
from scipy.signal import firwin, kaiser_atten, kaiser_beta
from scipy.signal.windows import kaiser
from scipy.special import j1

from t2igan.cli import main

pytest_plugins = ["releases"]
pytestmark = pytest.mark.usefixtures("releases_modules")
SIDE, LAYERS, CHANNELS = 16, 4, (4, 4, 3, 3, 3)
CUTOFF = (2.0, 4.0, 8.0, 8.0, 8.0)
RATE = (16, 16, 16, 16, 16)  # 2^2.1 = 4.29 cycles round up to 16 samples, and the image has no more
SIZE = (36, 36, 36, 16, 16)
STOP = (2**2.1, math.sqrt(2**2.1 * 2**0.3 * 8), 2**0.3 * 8, 2**0.3 * 8, 2**0.3 * 8)
HALF = [max(stop, rate / 2) - cutoff for stop, rate, cutoff in zip(STOP, RATE, CUTOFF, strict=True)]


def taps(i: int, radial: bool = False) -> np.ndarray:
    """The filter at the band of layer i, in the plane; rates inside are twice those outside."""
    line = firwin(12, CUTOFF[i], width=2 * HALF[i], fs=32)
    if not radial:
        return np.outer(line, line)
    place = (np.arange(12) - 5.5) / 32
    radius = np.hypot(place[:, None], place)
    window = kaiser(12, kaiser_beta(kaiser_atten(12, 2 * HALF[i] / 16)))
    found = j1(2 * CUTOFF[i] * np.pi * radius) / (np.pi * radius) * np.outer(window, window)
    return found / found.sum()


def names() -> list[str]:
    return [f"L{i}_{SIZE[i]}_{CHANNELS[i]}" for i in range(LAYERS + 1)]


def random_state(kernel=3, labels=0) -> dict[str, np.ndarray]:
    """Arrays under the release's names (facts page, section 8)."""
    rng, state = np.random.default_rng(0), {}

    def add(name, *shape):
        state[name] = rng.normal(size=shape).astype(np.float32)

    add_mapping(add, labels)
    add("synthesis.input.weight", 4, 4), add("synthesis.input.affine.weight", 4, W), add("synthesis.input.affine.bias", 4)
    add("synthesis.input.freqs", 4, 2), add("synthesis.input.phases", 4)
    state["synthesis.input.transform"] = np.eye(3, dtype=np.float32)
    for i, name in enumerate(names()):
        before, k = CHANNELS[max(i - 1, 0)], kernel if i < LAYERS else 1
        add(f"synthesis.{name}.weight", CHANNELS[i], before, k, k), add(f"synthesis.{name}.bias", CHANNELS[i])
        add(f"synthesis.{name}.affine.weight", before, W), add(f"synthesis.{name}.affine.bias", before)
        state[f"synthesis.{name}.magnitude_ema"] = np.float32(0.5 + i)
        if i < LAYERS:
            state[f"synthesis.{name}.up_filter"] = firwin(12, CUTOFF[max(i - 1, 0)], width=2 * HALF[max(i - 1, 0)], fs=32).astype(
                np.float32
            )
            radial = kernel == 1 and i < LAYERS - 2
            down = taps(i, True) if radial else firwin(12, CUTOFF[i], width=2 * HALF[i], fs=32)
            state[f"synthesis.{name}.down_filter"] = down.astype(np.float32)
    return {name: np.asarray(value) for name, value in state.items()}


# ---------------------------------------------------------------------------------------------------- the reference


def waves(state, w):
    t = fc(state, "synthesis.input.affine", w)
    t = t / np.hypot(t[0], t[1])
    m = np.array([[t[0], -t[1], 0], [t[1], t[0], 0], [0, 0, 1]]) @ np.array([[1, 0, -t[2]], [0, 1, -t[3]], [0, 0, 1]])
    found = np.zeros((4, 36, 36))
    for c, (frequency, phase) in enumerate(zip(state["synthesis.input.freqs"], state["synthesis.input.phases"], strict=True)):
        phase, frequency = phase + frequency @ m[:2, 2], frequency @ m[:2, :2]
        amplitude = np.clip(1 - (np.hypot(*frequency) - CUTOFF[0]) / (RATE[0] / 2 - CUTOFF[0]), 0, 1)
        for i in range(36):
            for j in range(36):
                y, x = (((2 * p + 1) / 36 - 1) * 0.5 * 36 / 16 for p in (i, j))
                found[c, i, j] = amplitude * np.sin(2 * np.pi * (frequency @ (x, y) + phase))
    return np.einsum("oc,cij->oij", state["synthesis.input.weight"] / 2, found)


def convolved(state, name, x, w, demodulate):
    """The release's order: kernels and styles to mean square one, demodulation, the input's gain, a convolution that grows the map."""
    kernel, s = state[f"{name}.weight"].astype(np.float64), fc(state, f"{name}.affine", w)
    k = kernel.shape[-1]
    if demodulate:
        kernel = kernel / np.sqrt((kernel**2).mean((1, 2, 3), keepdims=True))
        s = s / np.sqrt((s**2).mean())
        kernel = kernel * s[None, :, None, None]
        kernel = kernel / np.sqrt((kernel**2).sum((1, 2, 3), keepdims=True) + 1e-8)
    else:
        kernel = kernel * s[None, :, None, None] / np.sqrt(len(x) * k * k)
    kernel = kernel / np.sqrt(state[f"{name}.magnitude_ema"])
    padded = np.pad(x, ((0, 0), (k - 1, k - 1), (k - 1, k - 1)))
    side = x.shape[1] + k - 1
    y = np.zeros((len(kernel), side, side))
    for a in range(k):
        for b in range(k):
            y += np.einsum("oi,ihw->ohw", kernel[:, :, a, b], padded[:, a : a + side, b : b + side])
    return y + state[f"{name}.bias"][:, None, None]


def filtered(x, plane):
    side, y = x.shape[1] - len(plane) + 1, 0
    for a in range(len(plane)):
        for b in range(len(plane)):
            y = y + plane[a, b] * x[:, a : a + side, b : b + side]
    return y


def nonlinearity(x, i, side, radial, clamp):
    y = np.zeros((len(x), 2 * x.shape[1], 2 * x.shape[1]))
    y[:, ::2, ::2] = x
    total = (side - 1) * 2 + 1 - 2 * x.shape[1] + 12 + 12 - 2
    low = (total + 2) // 2
    high = total - low
    y = np.pad(y, ((0, 0), (max(low, 0), max(high, 0)), (max(low, 0), max(high, 0))))
    y = y[:, -min(low, 0) : y.shape[1] + min(high, 0), -min(low, 0) : y.shape[2] + min(high, 0)]
    y = lrelu(4 * filtered(y, taps(max(i - 1, 0))))
    y = y if clamp is None else np.clip(y, -clamp, clamp)
    return filtered(y, taps(i, radial))[:, ::2, ::2]


def reference(state, w, clamp=None):
    x = waves(state, w)
    for i, name in enumerate(names()):
        x = convolved(state, f"synthesis.{name}", x, w, demodulate=i < LAYERS)
        if i < LAYERS:
            rotation = state[f"synthesis.{names()[0]}.weight"].shape[-1] == 1
            x = nonlinearity(x, i, SIZE[i], rotation and i < LAYERS - 2, clamp)
    x = x if clamp is None else np.clip(x, -clamp, clamp)
    return x * 0.25


# ---------------------------------------------------------------------------------------------------- tests


@pytest.mark.parametrize(("kernel", "equivariance"), [(3, "translation"), (1, "rotation")])
@pytest.mark.parametrize("clamp", [None, 0.5])
def test_an_imported_generator_is_the_equations(kernel, equivariance, clamp, tmp_path):
    state = random_state(kernel)
    generator, encode, config = imported(tmp_path, state, clamp=clamp)
    assert (config.resolution, config.generator.synthesis.equivariance, config.generator.synthesis.clamp) == (SIDE, equivariance, clamp)
    z = np.random.default_rng(1).normal(size=(2, Z))
    images = generator(torch.tensor(z, dtype=torch.float32), encode(["", ""])).pyramid.finest.numpy()
    for one, image in zip(z, images, strict=True):
        expected = reference(state, mapped(state, one), clamp)
        assert image.shape == expected.shape and np.abs(image - expected).max() < 1e-4 * max(1, np.abs(expected).max())
    truncated = generator(torch.tensor(z[:1], dtype=torch.float32), encode([""]), truncation=0.6).pyramid.finest[0].numpy()
    pulled = state["mapping.w_avg"] + 0.6 * (mapped(state, z[0]) - state["mapping.w_avg"])
    assert np.abs(truncated - reference(state, pulled, clamp)).max() < 1e-4 * max(1, np.abs(truncated).max())


def test_it_is_sampled_and_moved_as_any_other(tmp_path):
    imported(tmp_path, random_state())
    main(["sample", str(tmp_path / "run"), "--seeds", "0-1", "--out", str(tmp_path / "x.png")])
    movement = ["--translate", "0.25", "-0.1", "--rotate", "90", "--zoom", "2", "--steps", "2"]
    for name in ("film.webp", "grid.png"):
        main(["edit", "move", str(tmp_path / "run"), *movement, "--out", str(tmp_path / name)])
    assert (tmp_path / "x.png").is_file() and (tmp_path / "film.webp").is_file()
    assert Image.open(tmp_path / "grid.png").width >= 3 * 64, "an image of each step, and the first"
    config = json.loads((tmp_path / "run/model/config.json").read_text())["generator"]
    assert config["synthesis"]["kind"] == "stylegan3" and config["synthesis"]["channel_base"] == 48 and config["style"]["mixing"] == 0


def other_filter(state):
    state["synthesis.L1_36_4.down_filter"] = state["synthesis.L1_36_4.down_filter"][::-1] + 0.01


def other_channels(state):
    other_name(state)
    after = next(name for name in state if name.startswith("synthesis.L3_") and name.endswith(".weight") and "affine" not in name)
    for name, axis in (("synthesis.L2_36_4.weight", 0), (after, 1)):
        state[name] = np.concatenate([state[name], state[name].take([0], axis)], axis)


def other_name(state):
    for name in [name for name in state if "L2_36_3" in name]:
        state[name.replace("L2_36_3", "L2_36_4")] = state.pop(name)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (other_filter, "its down_filter of layer L1_36_4 is not the one of StyleGAN3's rule"),
        (other_name, "its layer L2_36_4 has other channels than its name says"),
        (other_channels, "its layers have other sides or channels than StyleGAN3's rule"),
        (lambda state: state.pop("synthesis.L1_36_4.bias"), "is not the StyleGAN3 that it looks like: it has no synthesis.L1_36_4.bias"),
    ],
)
def test_what_differs_from_the_release_is_one_clear_line(change, message, tmp_path, capsys):
    state = random_state()
    change(state)
    (tmp_path / "x.pkl").write_bytes(pickle.dumps({"G_ema": as_network(state)}))
    with pytest.raises(SystemExit) as end:
        main(["import", str(tmp_path / "x.pkl"), "--out", str(tmp_path / "run")])
    error = capsys.readouterr().err
    assert end.value.code == 2 and error.count("\n") == 1 and message in error, error
