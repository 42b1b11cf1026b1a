"""Latents and descriptors to styles; truncation; the choice of a cluster."""

from dataclasses import replace

import pytest
import torch

from t2igan.draws import Draws
from t2igan.style.base import MEAN_STYLE_LATENTS, StyleNetwork
from t2igan.style.mapping import MappingConfig, MappingNetwork, assign_clusters, latent_cluster
from t2igan.types import CheckContext


def mapper(**options) -> MappingNetwork:
    return MappingConfig(z_dim=8, style_dim=16, depth=3, lr_multiplier=0.1, **options).build(text_dim=10)


@pytest.mark.parametrize("num_clusters", [0, 4])
def test_styles_depend_on_the_latent_and_on_the_prompt(num_clusters, descriptors):
    network, text, z = mapper(num_clusters=num_clusters), descriptors([6, 2, 3]), torch.randn(3, 8)
    w = network(z, text, 5)
    assert w.shape == (3, 5, 16)
    assert torch.equal(w, network.map(z, text)[:, None].expand(3, 5, 16)), "every stage gets the same style"
    assert not torch.allclose(network(torch.randn(3, 8), text, 5), w, atol=1e-2)
    assert not torch.allclose(network(z, descriptors([6, 2, 3]), 5), w, atol=1e-2)


def test_each_sample_stands_alone(descriptors):
    network, text, z = mapper(num_clusters=4).double(), descriptors([6, 2, 3], dtype=torch.float64), torch.randn(3, 8, dtype=torch.float64)
    network.measure_mean(text)
    for truncations in ((1.0, 1.0), (0.6, 1.0), (0.6, 0.7)):
        together = network(z, text, 2, *truncations)
        alone = torch.cat([network(z[i : i + 1], text[i : i + 1], 2, *truncations) for i in range(3)])
        assert (together - alone).abs().max() < 1e-12


def test_lengths_of_latent_and_descriptor_do_not_matter(descriptors):
    network, text, z = mapper(), descriptors([6, 2]), torch.randn(2, 8)
    longer = type(text)(text.local, 9 * text.pooled, text.source)
    assert torch.allclose(network.map(3 * z, longer), network.map(z, text), atol=1e-5)


@pytest.mark.parametrize("num_clusters", [0, 4])
def test_truncation_zero_is_the_conditional_mean(num_clusters, descriptors):
    network, text = mapper(num_clusters=num_clusters), descriptors([6, 2, 3])
    means = network.conditional_mean(text)
    assert torch.equal(network(torch.randn(3, 8), text, 2, 0.0), means[:, None].expand(3, 2, 16))
    assert not torch.allclose(means[0], means[1], atol=1e-2), "each prompt has a mean of its own"
    drawn = network.map(torch.randn(20_000, 8), text[:1].repeat(20_000))
    assert (means[0] - drawn.mean(0)).norm() < 0.1 * drawn.std(0).norm() + 0.05 * drawn.mean(0).norm()


def test_truncation_goes_straight_from_the_mean_to_the_style(descriptors):
    network, text, z = mapper(), descriptors([6, 2]), torch.randn(2, 8)
    w, mean = network.map(z, text), network.conditional_mean(text)
    assert torch.equal(network(z, text, 1, 1.0, 1.0)[:, 0], w)
    assert torch.allclose(network(z, text, 1, 0.25)[:, 0], mean + 0.25 * (w - mean), atol=1e-6)


def test_global_truncation_pulls_to_the_mean_over_prompts_after_the_prompts_own(descriptors):
    network, text, z = mapper(), descriptors([6, 2]), torch.randn(2, 8)
    assert not network.mean_style.any(), "zeros until it is measured"
    network.measure_mean(text)
    w, own = network.map(z, text), network.conditional_mean(text)
    overall = network.conditional_mean(text, latents=MEAN_STYLE_LATENTS).mean(0)
    assert torch.equal(network.mean_style, overall) and "mean_style" in network.state_dict()
    assert torch.allclose(network(z, text, 1, 1.0, 0.25)[:, 0], overall + 0.25 * (w - overall), atol=1e-6)
    both = overall + 0.5 * (own + 0.25 * (w - own) - overall)
    assert torch.allclose(network(z, text, 1, 0.25, 0.5)[:, 0], both, atol=1e-6)
    assert torch.allclose(network(z, text, 1, 1.0, 0.0)[:, 0], overall.expand(2, 16), atol=1e-6)


def test_the_conditional_mean_is_a_function_of_the_prompt_alone(descriptors):
    network, text = mapper(), descriptors([6, 2, 3])
    first = network.conditional_mean(text)
    torch.manual_seed(99)
    assert torch.equal(network.conditional_mean(text), first)
    assert torch.allclose(network.conditional_mean(text[1:]), first[1:], atol=1e-6)


def test_clusters_are_uniform_for_normal_latents():
    counts = latent_cluster(torch.randn(80_000, 12), 8).bincount(minlength=8)
    assert len(counts) == 8
    chi_squared = ((counts - 10_000) ** 2 / 10_000).sum()
    assert chi_squared < 24.3  # 7 degrees of freedom, one in a thousand


def test_a_cluster_adds_its_own_vector(descriptors):
    network, text, z = mapper(num_clusters=3), descriptors([4]), torch.randn(1, 8)
    z[:, :3] = torch.tensor([0.1, 0.9, 0.2])
    assert latent_cluster(z, 3).item() == 1
    before = network.map(z, text)
    with torch.no_grad():
        network.cluster.weight[[0, 2]] += 1
    assert torch.equal(network.map(z, text), before)
    with torch.no_grad():
        network.cluster.weight[1] += 1
    assert not torch.allclose(network.map(z, text), before, atol=1e-2)


def moments_are_normal(z) -> None:
    """Each entry has the moments of N(0, 1), each pair of entries no correlation, each image's norm its mean."""
    n, d = z.shape
    for power, moment, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert ((z.pow(power).mean(0) - moment).abs() < 5 * (variance / n) ** 0.5).all(), power
    correlations = z.T @ z / n - torch.eye(d)
    assert (correlations.abs() < 5 * (2 / n) ** 0.5).all()
    assert abs(z.square().sum(1).mean().item() - d) < 5 * (2 * d / n) ** 0.5


def test_assigned_latents_choose_their_cluster_and_are_normal():
    """Clusters that are equally frequent leave N(0, I); a latent keeps its entries, in another order; label 0 leaves it as it is."""
    n, clusters = 60_000, 4
    z = torch.randn(n, 6)
    labels = torch.arange(n) % clusters + 1
    assigned = assign_clusters(z, labels, clusters)
    assert torch.equal(latent_cluster(assigned, clusters), labels - 1)
    assert torch.equal(assigned.sort(1).values, z.sort(1).values)
    assert torch.equal(assigned[:, clusters:], z[:, clusters:])
    moments_are_normal(assigned)
    given = assigned[labels == 3]  # N(0, I) given the label: the greatest of four, and three below it
    expected = z[latent_cluster(z, clusters) == 2]
    assert (given.mean(0) - expected.mean(0)).abs().max() < 0.06 and (given.var(0) - expected.var(0)).abs().max() < 0.06
    assert torch.equal(assign_clusters(z, torch.zeros(n, dtype=torch.long), clusters), z)


@pytest.mark.parametrize("num_clusters", [0, 4])
def test_training_latents_are_a_function_of_the_draws(num_clusters, descriptors):
    """Not of the global generator, nor of how the batch is cut."""
    network, text = mapper(num_clusters=num_clusters), descriptors([6, 2, 3, 4])
    text = replace(text, cluster=torch.tensor([1, 0, 4, 2])) if num_clusters else text
    draws = Draws(3, torch.arange(4) + 2**41)
    z = network.sample_latents(draws, text)
    torch.manual_seed(99)
    assert z.shape == (4, network.z_dim) and torch.equal(network.sample_latents(draws, text), z)
    for rows in (slice(0, 1), slice(1, 4), torch.tensor([3, 0])):
        assert torch.equal(network.sample_latents(draws[rows], text[rows]), z[rows])
    assert (network.sample_latents(draws.scoped("G"), text) != z).all()
    plain = StyleNetwork.sample_latents(network, draws, text)
    if num_clusters:
        assert latent_cluster(z, 4)[[0, 2, 3]].tolist() == [0, 3, 1]
        assert torch.equal(z[1], plain[1]) and torch.equal(z, assign_clusters(plain, text.cluster, 4))
    else:
        assert torch.equal(z, plain)


def test_training_latents_are_normal(descriptors):
    network, n = mapper(num_clusters=4), 20_000
    text = replace(descriptors([1] * n, tokens=1), cluster=torch.arange(n) % 5)  # labels 1 to 4, and 0: none
    moments_are_normal(network.sample_latents(Draws(0, torch.arange(n)), text))


def test_more_clusters_than_entries_of_the_latent_are_refused():
    MappingConfig(z_dim=8, num_clusters=8).check(CheckContext(16, (16,)))
    with pytest.raises(ValueError, match="num_clusters is 9, needs 0 to z_dim 8"):
        MappingConfig(z_dim=8, num_clusters=9).check(CheckContext(16, (16,)))
