"""Cluster labels: the style of each image, and the latents that carry it."""

from dataclasses import replace

import pytest
import torch

from t2igan.data.shards import Shards
from t2igan.data.write import write_shards
from t2igan.errors import UserError
from t2igan.style.mapping import assign_clusters, latent_cluster
from t2igan.training.clusters import UNKNOWN, Clusters, cluster_samples, find_clusters, k_means

pytest_plugins = ["kit"]
THINGS = 40


@pytest.fixture
def two_styles():
    """(features, captions, style): 40 things far apart, each in two styles that differ the same way, and one thing in one style."""
    things, direction = torch.randn(THINGS + 1, 12) * 10, torch.randn(12)
    style = torch.tensor([0, 1] * THINGS + [0])
    thing = torch.arange(THINGS + 1).repeat_interleave(2)[:-1]
    features = things[thing] + style[:, None] * direction + 0.1 * torch.randn(len(style), 12)
    captions = [[f"thing {t}", f"thing {t} in style {h}"] for t, h in zip(thing.tolist(), style.tolist(), strict=True)]
    return features, captions, style


def test_the_style_is_found_although_things_differ_more(two_styles):
    features, captions, style = two_styles
    modes = torch.tensor(cluster_samples(features, captions, 2).of_sample)
    same = modes[:-1] == style[:-1]
    assert same.all() or not same.any()
    assert modes[-1] == UNKNOWN, "the only image with its first caption"


def test_a_caption_is_ambiguous_when_it_fits_images_of_several_clusters(two_styles):
    features, captions, _ = two_styles
    assert cluster_samples(features, captions, 2).ambiguous == {f"thing {t}" for t in range(THINGS)}


def test_too_few_images_are_refused(two_styles):
    features, captions, _ = two_styles
    with pytest.raises(ValueError, match="2 images share a first caption with another one, too few for 3 clusters"):
        cluster_samples(features[[0, 1, 2]], [captions[i] for i in (0, 1, 2)], 3)


def test_more_images_than_one_process_embeds_are_refused(kit, monkeypatch):
    monkeypatch.setattr("t2igan.training.clusters.MAX_IMAGES", 22)
    with pytest.raises(UserError, match="clusters up to 22 images, the shards hold 23; leave it out"):
        find_clusters(Shards(str(kit.shards)), 16, f"local-dir:{kit.clip}", 2, "cpu")


def test_k_means_finds_separate_clouds_whatever_their_order():
    centres = torch.tensor([[0.0, 0.0], [9.0, 0.0], [0.0, 9.0], [9.0, 9.0]])
    truth = torch.arange(4).repeat(25)[torch.randperm(100)]
    found = k_means(centres[truth] + torch.randn(100, 2), 4)
    assert all(len(found[truth == j].unique()) == 1 for j in range(4)) and len(found.unique()) == 4
    assert torch.equal(k_means(centres[truth], 4), k_means(centres[truth], 4))


def test_a_batch_has_labels_where_its_captions_leave_the_cluster_open():
    clusters = Clusters((0, 1, UNKNOWN, 1), frozenset({"a", "c"}))
    assert clusters.labels(["a", "a", "c", "a in style", "a"], [0, 1, 2, 3, 3]).tolist() == [1, 2, 0, 0, 2]


def test_latents_take_the_wanted_cluster_and_keep_every_number():
    z, cluster = torch.randn(9000, 8), torch.randint(0, 4, (9000,))
    assigned = assign_clusters(z, cluster, 3)
    assert torch.equal(latent_cluster(assigned, 3)[cluster > 0] + 1, cluster[cluster > 0])
    assert torch.equal(assigned[cluster == 0], z[cluster == 0])
    assert torch.equal(assigned.sort(1).values, z.sort(1).values) and torch.equal(assigned[:, 3:], z[:, 3:])


def test_latents_of_evenly_distributed_clusters_stay_normal():
    """So what sampling draws is what training saw."""
    assigned = assign_clusters(torch.randn(40_000, 5), torch.randint(1, 4, (40_000,)), 3)
    assert assigned.mean(0).abs().max() < 0.02 and (torch.cov(assigned.T) - torch.eye(5)).abs().max() < 0.03


def test_shards_are_clustered_and_broken_images_left_out(kit, samples, tmp_path):
    broken = [replace(sample, image=b"no image") if i == 4 else sample for i, sample in enumerate(samples)]
    write_shards(broken, tmp_path / "train")
    found = find_clusters(Shards(str(tmp_path / "train")), 16, f"local-dir:{kit.clip}", 2, "cpu")
    assert len(found.of_sample) == len(samples) and found.of_sample[4] == UNKNOWN
    assert set(found.of_sample) == {UNKNOWN, 0, 1} and found.ambiguous <= {f"thing {i}" for i in range(8)}
    assert found == find_clusters(Shards(str(tmp_path / "train")), 16, f"local-dir:{kit.clip}", 2, "cpu")


def test_shards_without_two_images_of_a_thing_are_refused(kit, samples, tmp_path):
    write_shards(samples[::3], tmp_path / "train")
    with pytest.raises(UserError, match=r"training\.cluster_features: 0 images share a first caption"):
        find_clusters(Shards(str(tmp_path / "train")), 16, f"local-dir:{kit.clip}", 2, "cpu")
