"""Pickles in the layout of NVIDIA's releases for tests, and their mapping network in loops and float64; a pytest plugin.

The reference is written from the equations alone and shares no code with the library.
"""

import pickle
import sys
import types
from collections import OrderedDict

import numpy as np
import pytest
import torch

from t2igan.cli import main
from t2igan.inference.model_folder import load_generator, model_folder, read_config

Z, W, DEPTH = 5, 6, 3


# ---------------------------------------------------------------------------------------------------- a release's file


class Persistent:
    """An object as the releases pickle it: by a function, with its source code and its attributes."""

    def __init__(self, class_name, parameters=(), buffers=(), modules=(), **numbers):
        self.class_name, self.numbers = class_name, numbers
        self.fields = {"_parameters": OrderedDict(parameters), "_buffers": OrderedDict(buffers), "_modules": OrderedDict(modules)}

    def __reduce__(self):
        state = {"training": False, **self.fields, "_backward_hooks": OrderedDict(), **self.numbers}
        source = "raise AssertionError('the source code of a pickle was run')"
        meta = dict(type="class", version=6, module_src=source, class_name=self.class_name, state=state)
        return sys.modules["torch_utils.persistence"]._reconstruct_persistent_obj, (meta,)


@pytest.fixture
def releases_modules(monkeypatch):
    """The modules whose names stand in such pickles, for writing them; reading must not touch them."""

    def _reconstruct_persistent_obj(meta):
        raise AssertionError("a pickle's own function was called")

    class EasyDict(dict):
        pass

    for name, function in (("torch_utils.persistence", _reconstruct_persistent_obj), ("dnnlib.util", EasyDict)):
        module = types.ModuleType(name)
        function.__module__, function.__qualname__ = name, function.__name__
        setattr(module, function.__name__, function)
        monkeypatch.setitem(sys.modules, name, module)
        monkeypatch.setitem(sys.modules, name.partition(".")[0], types.ModuleType(name.partition(".")[0]))


def add_mapping(add, labels: int) -> None:
    """Calls add(name, *shape) for every array of a mapping network (facts page, section 8)."""
    if labels:
        add("mapping.embed.weight", W, labels), add("mapping.embed.bias", W)
    for i in range(DEPTH):
        add(f"mapping.fc{i}.weight", W, (Z + (W if labels else 0)) if i == 0 else W), add(f"mapping.fc{i}.bias", W)
    add("mapping.w_avg", W)


BUFFERS = ("w_avg", "noise_const", "resample_filter", "freqs", "phases", "transform", "magnitude_ema", "up_filter", "down_filter")


def as_network(state: dict, clamp=None):
    """The tree of networks with these arrays, as a release's Generator is pickled."""

    def build(prefix, class_name):
        here = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
        own = {name: torch.tensor(value) for name, value in here.items() if "." not in name}
        children = dict.fromkeys(name.partition(".")[0] for name in here if "." in name)
        parameters = {name: torch.nn.Parameter(value) for name, value in own.items() if name not in BUFFERS}
        buffers = {name: value for name, value in own.items() if name in BUFFERS}
        if class_name.startswith("b") and class_name[1:].isdigit():
            taps = torch.tensor([1.0, 3, 3, 1])
            buffers["resample_filter"] = torch.outer(taps, taps) / 64
        parts = {name: build(f"{prefix}{name}.", name) for name in children}
        return Persistent(class_name, parameters, buffers, parts, bias_gain=0.01, conv_clamp=clamp)

    return build("", "Generator")


def write_pickle(path, network, **more):
    easy = sys.modules["dnnlib.util"].EasyDict
    with path.open("wb") as file:
        pickle.dump(easy(G_ema=network, augment_pipe=None, training_set_kwargs=easy(resolution=16, use_labels=False), **more), file)
    return path


# ---------------------------------------------------------------------------------------------------- the reference


def lrelu(x):
    return np.where(x > 0, x, 0.2 * x) * np.sqrt(2)


def fc(state, name, x, lr=1.0):
    weight, bias = state[f"{name}.weight"], state[f"{name}.bias"]
    return np.array([sum(weight[o, i] * lr / np.sqrt(len(x)) * x[i] for i in range(len(x))) + bias[o] * lr for o in range(len(bias))])


def unit(x):
    return x / np.sqrt((x**2).mean() + 1e-8)


def mapped(state, z, label=None):
    x = unit(z)
    if label is not None:
        x = np.concatenate([x, unit(fc(state, "mapping.embed", label))])
    for i in range(DEPTH):
        x = lrelu(fc(state, f"mapping.fc{i}", x, 0.01))
    return x


# ---------------------------------------------------------------------------------------------------- importing


def imported(tmp_path, state, *words, clamp=None):
    path = write_pickle(tmp_path / "official.pkl", as_network(state, clamp))
    main(["import", str(path), "--out", str(tmp_path / "run"), *words])
    folder = model_folder(tmp_path / "run")
    return *load_generator(folder, read_config(folder), "cpu", None), read_config(folder)
