"""The published sizes, counted without weights."""

import time

import pytest

from t2igan.commands.show import describe
from t2igan.evaluation.profile import table
from t2igan.recipe import load_recipe


@pytest.fixture(scope="module")
def paper(root):
    started = time.perf_counter()
    description = describe(load_recipe(root / "configs" / "gigagan_64.yaml"))
    return description | {"seconds": time.perf_counter() - started}


def test_the_papers_generator_has_652_million_parameters(paper):
    """Kang et al. 2023, Table A2 counts G without the text layers, which are listed apart here."""
    parts = paper["parts"]
    assert parts["generator"]["params"] - parts["generator.adapter"]["params"] == pytest.approx(652.5e6, rel=0.005)


def test_the_papers_discriminator_has_381_million_parameters(paper):
    assert paper["parts"]["discriminator"]["params"] == pytest.approx(381.4e6, rel=0.02)


def test_the_ablations_generator_has_164_million_parameters(root):
    """Kang et al. 2023, Table 1, the row with multi-scale training."""
    parts = describe(load_recipe(root / "configs" / "gigagan_64_ablation.yaml"))["parts"]
    assert parts["generator"]["params"] - parts["generator.adapter"]["params"] == pytest.approx(164.0e6, rel=0.05)


@pytest.mark.parametrize(
    ("name", "millions", "within"), [("64_512", 359.1, 0.02), pytest.param("128_1024", 693.0, 0.05, marks=pytest.mark.slow)]
)
def test_the_papers_upsamplers(name, millions, within, root):
    """Kang et al. 2023, section 4.1 and Table 4."""
    parts = describe(load_recipe(root / "configs" / f"gigagan_upsampler_{name}.yaml"))["parts"]
    assert parts["generator"]["params"] - parts["generator.adapter"]["params"] == pytest.approx(millions * 1e6, rel=within)


def test_heads_on_a_frozen_network_stand_on_their_own(paper):
    affine, convolution = 768 * 256 + 256, 256 * 256 * 9 + 256
    assert paper["parts"]["discriminator.vision_aided"]["params"] == 3 * (affine + convolution + 256 + 1)


def test_text_tower_and_adapters_stand_on_their_own(paper):
    parts = paper["parts"]
    assert parts["text_encoder"] == {"params": 123_650_304, "trainable": 0, "gflops_per_image": None}
    width = 768
    layers = 4 * (4 * width**2 + 2 * 4 * width**2 + 5 * width + 2 * width)  # attention, pointwise network, biases, norms
    assert parts["generator.adapter"]["params"] == parts["discriminator.adapter"]["params"] == layers + width
    assert parts["generator"]["trainable"] == parts["generator"]["params"]


def test_convolutions_are_the_greater_part_of_the_arithmetic(paper):
    """101.5 GFLOPs without mixing; with activations mixed at 32 px as well as at 16 px it would be 213."""
    assert 101.5 < paper["parts"]["generator"]["gflops_per_image"] < 185


def test_a_laptop_does_it_in_seconds(paper):
    assert paper["seconds"] < 30  # alone on a core 5 s


def test_the_table_names_every_part(paper):
    text = table(paper)
    for name in ("gigagan_64, 64 px", "generator.adapter", "discriminator", "123,650,304"):
        assert name in text
