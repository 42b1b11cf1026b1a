"""GigaGAN at the size of the paper's ablation: a step of its generator on the meta device, every tensor of it watched."""

import math

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from t2igan.evaluation.profile import blank_text
from t2igan.layers import modulation
from t2igan.recipe import load_recipe
from t2igan.system import build_system

BATCH = 7  # a prime that no other dimension has


class Shapes(TorchDispatchMode):
    """The shapes of all tensors that operations make, forward and backward."""

    def __init__(self):
        super().__init__()
        self.seen: set[tuple[int, ...]] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, tuple | list) else [result]:
            if isinstance(tensor, torch.Tensor):
                self.seen.add(tuple(tensor.shape))
        return result


def step(root) -> tuple[torch.nn.Module, set[tuple[int, ...]]]:
    """The generator, and the shapes of a step: images, gradients, an update of AdamW."""
    with torch.device("meta"):
        system = build_system(load_recipe(root / "configs" / "gigagan_64_ablation.yaml"))
        G, text, z = system.generator, blank_text(system).repeat(BATCH), torch.empty(BATCH, system.generator.mapper.z_dim)
        optimizer = torch.optim.AdamW(G.parameters())
        with Shapes() as shapes:
            G(z, text).pyramid.finest.square().mean().backward()
            optimizer.step()
    assert all(p.grad is not None for p in G.synthesis.parameters())
    return G, shapes.seen


def expanded(G: torch.nn.Module, shapes: set[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """Shapes of B x N x O x I elements, or of taps as many times, for any layer with a bank.

    With taps by the number of elements, however dimensions are joined; without, a feature map may have as many, and B, N, O and I are
    looked for as dimensions.
    """
    found = []
    for layer in G.modules():
        if isinstance(layer, modulation.AdaptiveConv2d) and layer.num_kernels > 1:
            n, (rows, i, k, _) = layer.num_kernels, layer.weight.shape
            o = rows // n
            for shape in shapes:
                tall = math.prod(shape) == BATCH * n * o * i * k * k
                flat = sorted(d for d in shape if d > 1) == sorted((BATCH, n, o, i))
                if tall or flat:
                    found.append(shape)
    return found


def test_no_tensor_of_batch_kernels_out_and_in_in_a_step_of_the_ablation(root):
    G, shapes = step(root)
    assert sum(isinstance(m, modulation.AdaptiveConv2d) and m.num_kernels > 1 for m in G.modules()) == 14
    assert len(shapes) > 200 and not expanded(G, shapes)


@pytest.mark.parametrize("taps", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_the_watch_catches_an_expanded_bank(root, monkeypatch, taps):
    """With the taps, as other implementations do; or a sum over them, as a demodulation sample by sample would."""

    def naive(x, bank, kernel_weights, strategy, conv):
        if taps:
            summed = (bank[None] * kernel_weights[:, :, None, None, None, None]).sum(1)
        else:
            summed = (bank.sum((3, 4))[None] * kernel_weights[:, :, None, None]).sum(1)
            summed = summed[..., None, None].expand(-1, -1, -1, *bank.shape[3:])
        return modulation.conv_per_sample(x, summed)

    monkeypatch.setattr(modulation, "mixed_conv", naive)
    assert expanded(*step(root))
