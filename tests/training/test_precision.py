"""bf16 where it is a gain, float32 where the networks end."""

from pathlib import Path

import pytest
import torch
from tiny import override, tiny_recipe, trainer_of

from t2igan.training.precision import faster_in_bf16

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
def test_the_recipe_decides_and_auto_asks_the_machine(precision, machine, bf16, kit, tmp_path, monkeypatch):
    monkeypatch.setattr("t2igan.training.trainer.faster_in_bf16", lambda device: machine)
    recipe = override(tiny_recipe(kit, guided=False), training__precision=precision)
    assert trainer_of(recipe, tmp_path).bf16 is bf16


def test_a_step_in_bf16_ends_in_float32_and_stays_near_the_step_in_fp32(kit, tmp_path):
    gradients = {}
    for precision in ("fp32", "bf16"):
        recipe = override(tiny_recipe(kit), training__precision=precision, training__batch=4)
        trainer = trainer_of(recipe, tmp_path)
        fakes, verdicts, convolutions = [], [], []
        trainer.generator.register_forward_hook(lambda module, inputs, fake, seen=fakes: seen.append(fake))
        trainer.discriminator.register_forward_hook(lambda module, inputs, out, seen=verdicts: seen.extend(out))
        stage = trainer.generator.synthesis.stages["8"].blocks[0].conv2
        stage.register_forward_hook(lambda module, inputs, out, seen=convolutions: seen.append(out.dtype))
        losses = trainer.step(trainer.dataset[0])
        assert convolutions[0] == (torch.bfloat16 if precision == "bf16" else torch.float32)
        assert {level.dtype for fake in fakes for level in fake.pyramid.levels} == {torch.float32}
        assert {logit.dtype for verdict in verdicts for logit in verdict.logits} == {torch.float32}
        assert {value.dtype for value in losses.values()} == {torch.float32} and trainer.skipped == 0
        assert {p.dtype for p in trainer.generator.parameters()} == {torch.float32}
        gradients[precision] = float(losses["D/gradient_norm"])
    assert gradients["bf16"] == pytest.approx(gradients["fp32"], rel=0.1) and gradients["bf16"] != gradients["fp32"]
