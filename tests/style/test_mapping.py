"""Latents and descriptors to styles; truncation; the choice of a mode."""

import pytest
import torch

from t2igan.style.mapping import MappingConfig, MappingNetwork, latent_mode


def mapper(**options) -> MappingNetwork:
    return MappingNetwork(MappingConfig(z_dim=8, style_dim=16, depth=3, lr_multiplier=0.1, **options), text_dim=10)


@pytest.mark.parametrize("modes", [0, 4])
def test_styles_depend_on_the_latent_and_on_the_prompt(modes, descriptors):
    network, text, z = mapper(modes=modes), descriptors([6, 2, 3]), torch.randn(3, 8)
    w = network(z, text)
    assert w.shape == (3, 16)
    assert not torch.allclose(network(torch.randn(3, 8), text), w, atol=1e-2)
    assert not torch.allclose(network(z, descriptors([6, 2, 3])), w, atol=1e-2)


def test_each_sample_stands_alone(descriptors):
    network, text, z = mapper(modes=4).double(), descriptors([6, 2, 3], dtype=torch.float64), torch.randn(3, 8, dtype=torch.float64)
    for truncation in (1.0, 0.6):
        together = network(z, text, truncation)
        alone = torch.cat([network(z[i : i + 1], text[i : i + 1], truncation) for i in range(3)])
        assert (together - alone).abs().max() < 1e-12


def test_lengths_of_latent_and_descriptor_do_not_matter(descriptors):
    network, text, z = mapper(), descriptors([6, 2]), torch.randn(2, 8)
    longer = type(text)(text.local, 9 * text.pooled, text.source)
    assert torch.allclose(network(3 * z, longer), network(z, text), atol=1e-5)


@pytest.mark.parametrize("modes", [0, 4])
def test_truncation_zero_is_the_conditional_mean(modes, descriptors):
    network, text = mapper(modes=modes), descriptors([6, 2, 3])
    means = network.conditional_mean(text)
    assert torch.equal(network(torch.randn(3, 8), text, 0.0), means)
    assert not torch.allclose(means[0], means[1], atol=1e-2), "each prompt has a mean of its own"
    drawn = network.map(torch.randn(20_000, 8), text[:1].repeat(20_000))
    assert (means[0] - drawn.mean(0)).norm() < 0.1 * drawn.std(0).norm() + 0.05 * drawn.mean(0).norm()


def test_truncation_goes_straight_from_the_mean_to_the_style(descriptors):
    network, text, z = mapper(), descriptors([6, 2]), torch.randn(2, 8)
    w, mean = network(z, text), network.conditional_mean(text)
    assert torch.equal(network(z, text, 1.0), w)
    assert torch.allclose(network(z, text, 0.25), mean + 0.25 * (w - mean), atol=1e-6)


def test_the_conditional_mean_is_a_function_of_the_prompt_alone(descriptors):
    network, text = mapper(), descriptors([6, 2, 3])
    first = network.conditional_mean(text)
    torch.manual_seed(99)
    assert torch.equal(network.conditional_mean(text), first)
    assert torch.allclose(network.conditional_mean(text[1:]), first[1:], atol=1e-6)


def test_modes_are_uniform_for_normal_latents():
    counts = latent_mode(torch.randn(80_000, 12), 8).bincount(minlength=8)
    assert len(counts) == 8
    chi_squared = ((counts - 10_000) ** 2 / 10_000).sum()
    assert chi_squared < 24.3  # 7 degrees of freedom, one in a thousand


def test_a_mode_adds_its_own_vector(descriptors):
    network, text, z = mapper(modes=3), descriptors([4]), torch.randn(1, 8)
    z[:, :3] = torch.tensor([0.1, 0.9, 0.2])
    assert latent_mode(z, 3).item() == 1
    before = network(z, text)
    with torch.no_grad():
        network.mode.weight[[0, 2]] += 1
    assert torch.equal(network(z, text), before)
    with torch.no_grad():
        network.mode.weight[1] += 1
    assert not torch.allclose(network(z, text), before, atol=1e-2)
