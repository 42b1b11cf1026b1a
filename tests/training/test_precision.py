"""bf16 where it is a gain, float32 where the networks end."""

import os
from pathlib import Path

import pytest
import torch
from tiny import override, run_of, take_steps, tiny_recipe

from t2igan.layers.modulation import demodulation
from t2igan.training.precision import faster_in_bf16, use_deterministic_kernels

pytest_plugins = ["kit"]


@pytest.mark.parametrize(
    ("vendor", "flags", "expected"),
    [
        ("AuthenticAMD", "fpu sse2 avx512f", False),
        ("AuthenticAMD", "fpu avx512_bf16 sse2", True),
        ("AuthenticAMD", "avx512_bf16x", False),
        ("GenuineIntel", "avx512_bf16 avx512_fp16", False),  # half of fp32's rate
        ("GenuineIntel", "avx512_bf16 amx_bf16", True),
    ],
)
def test_a_cpu_counts_when_it_multiplies_faster_in_bf16(vendor, flags, expected, monkeypatch):
    monkeypatch.setattr(Path, "is_file", lambda self: True)
    monkeypatch.setattr(Path, "read_text", lambda self: f"vendor_id\t: {vendor}\nmodel name : x\nflags\t\t: {flags}\n")
    assert faster_in_bf16(torch.device("cpu")) is expected


@pytest.mark.parametrize(("capability", "expected"), [((7, 5), False), ((8, 0), True), ((9, 0), True)])
def test_a_gpu_counts_from_ampere_on(capability, expected, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert faster_in_bf16(torch.device("cuda")) is expected


def test_other_devices_do_not_count():
    assert not faster_in_bf16(torch.device("meta"))


def test_an_unreadable_cpu_does_not_count(monkeypatch):
    monkeypatch.setattr(Path, "is_file", lambda self: False)
    assert not faster_in_bf16(torch.device("cpu"))


@pytest.mark.parametrize(
    ("precision", "machine", "bf16"), [("auto", True, True), ("auto", False, False), ("bf16", False, True), ("fp32", True, False)]
)
def test_the_recipe_decides_and_auto_asks_the_machine(precision, machine, bf16, tiny, monkeypatch):
    monkeypatch.setattr("t2igan.training.trainer.faster_in_bf16", lambda device: machine)
    assert tiny(training__precision=precision, training__cluster_features=None).trainer.bf16 is bf16


@pytest.fixture(params=[False, True], ids=["anew", "reused"])
def one_step(request, kit, tmp_path):
    """one_step(precision, watch) -> the losses of a guided step; `watch(trainer)` is called before it."""

    def take(precision, watch=lambda trainer: None):
        recipe = override(tiny_recipe(kit), training__precision=precision, training__batch=4, training__reuse_fakes=request.param)
        run = run_of(recipe, tmp_path)
        run.begin()
        watch(run.trainer)
        (losses,) = take_steps(run, 1)
        assert run.trainer.g_optimizer.skipped == run.trainer.d_optimizer.skipped == 0
        return losses

    return take


def test_a_step_in_bf16_ends_in_float32_and_stays_near_the_step_in_fp32(one_step):
    norms = {}
    for precision in ("fp32", "bf16"):
        fakes, verdicts, convolutions, scales = [], [], [], []

        def watch(trainer, fakes=fakes, verdicts=verdicts, convolutions=convolutions, scales=scales):
            trainer.generator.register_forward_hook(lambda module, inputs, out: fakes.append(out))
            trainer.discriminator.register_forward_hook(lambda module, inputs, sets: verdicts.extend(v for found in sets for v in found))
            block = trainer.generator.synthesis.stages["8"].blocks[0]
            block.conv2.modulate.register_forward_hook(lambda module, inputs, out: scales.append(out.dtype))
            trainer.discriminator.stages["8"].down.skip.register_forward_hook(lambda module, inputs, out: convolutions.append(out.dtype))
            assert {p.dtype for p in trainer.generator.parameters()} == {torch.float32}

        losses = one_step(precision, watch)
        assert set(convolutions) == {torch.bfloat16 if precision == "bf16" else torch.float32}
        assert set(scales) == {torch.float32}
        assert {level.dtype for fake in fakes for level in fake.pyramid.levels} == {torch.float32}
        assert {logit.dtype for verdict in verdicts for logit in verdict.logits} == {torch.float32}
        assert {value.dtype for value in losses.values()} == {torch.float32}
        norms[precision] = float(losses["D/gradient_norm"])
    assert norms["bf16"] == pytest.approx(norms["fp32"], rel=0.1) and norms["bf16"] != norms["fp32"]


def test_gradients_are_computed_outside_autocast(one_step):
    """In both halves; the forward passes before them are inside."""
    forward, backward = [], []

    def watch(trainer):
        def note(module, inputs, output):
            forward.append(torch.is_autocast_enabled("cpu"))
            if output.requires_grad:
                output.register_hook(lambda gradient: backward.append(torch.is_autocast_enabled("cpu")))

        trainer.generator.synthesis.stages["8"].blocks[0].conv2.register_forward_hook(note)
        trainer.discriminator.stages["8"].down.register_forward_hook(note)

    one_step("bf16", watch)
    assert all(forward) and len(forward) >= 3
    assert len(backward) >= 3 and not any(backward)


def test_in_bf16_demodulation_has_the_gradient_of_float32(one_step, monkeypatch):
    """Its matrix products are an island in the forward pass, and so on the way back."""
    calls = []

    def recorded(*inputs):
        nodes = [x.view_as(x) for x in inputs]
        result = demodulation(*nodes)
        if result.requires_grad:
            gradients = {}
            for place, node in enumerate([*nodes, result]):
                if node.requires_grad:
                    node.register_hook(lambda gradient, place=place: gradients.update({place: gradient}))
            calls.append(([x.detach() for x in inputs], gradients))
        return result

    monkeypatch.setattr("t2igan.layers.modulation.demodulation", recorded)
    one_step("bf16")
    reached = [(inputs, gradients) for inputs, gradients in calls if 3 in gradients and 0 in gradients]
    assert len(reached) > 10
    parted = 0
    for inputs, gradients in reached:
        leaves = [x.requires_grad_() for x in inputs]
        wanted = [leaves[place] for place in range(3) if place in gradients]
        expected = torch.autograd.grad(demodulation(*leaves), wanted, gradients[3])
        with torch.autocast("cpu", torch.bfloat16):
            rough = torch.autograd.grad(demodulation(*leaves), wanted, gradients[3])
        for place, exact, coarse in zip([place for place in range(3) if place in gradients], expected, rough, strict=True):
            assert gradients[place].dtype == torch.float32
            assert torch.allclose(gradients[place], exact, rtol=1e-5, atol=1e-6 * exact.abs().max())
            parted += not torch.allclose(coarse, exact, rtol=1e-3, atol=1e-4 * exact.abs().max())
    assert parted > 10, "in bf16 the gradients would be others"


@pytest.fixture
def kernels(monkeypatch):
    """The process's choice of kernels, put back afterwards."""
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    benchmark = torch.backends.cudnn.benchmark
    yield
    torch.use_deterministic_algorithms(False)
    torch.backends.cudnn.benchmark = benchmark


@pytest.mark.parametrize("wanted", [False, True])
def test_a_recipe_may_ask_for_deterministic_kernels(wanted, kit, tmp_path, kernels):
    take_steps(run_of(override(tiny_recipe(kit), training__deterministic=wanted, training__cluster_features=None), tmp_path), 1)
    assert torch.are_deterministic_algorithms_enabled() is wanted
    assert os.environ.get("CUBLAS_WORKSPACE_CONFIG") == (":4096:8" if wanted else None)


def test_a_kernel_without_a_deterministic_form_is_a_warning(kernels):
    use_deterministic_kernels()
    assert torch.is_deterministic_algorithms_warn_only_enabled() and not torch.backends.cudnn.benchmark
