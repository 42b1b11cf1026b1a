"""Cluster labels: in which of a few styles each real image of a thing is made, found without labels.

Where a caption fits several images, a GAN with guidance settles on one of them and ignores its latent. Here the real images are clustered
by what distinguishes them from the other images with the same first caption; a latent carries its image's label (style/mapping.py), and D
is conditioned on it. Clustering real images and conditioning on the cluster is Liu et al. 2020 (arXiv:2006.10728), section 3. Ours:
clusters of the difference from the mean over the first caption, so that they are styles, not things.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from tqdm import tqdm

from t2igan.data.images import decode, to_signed
from t2igan.data.shards import Shards
from t2igan.errors import UserError
from t2igan.features.open_clip import ClipScorer

UNKNOWN = -1  # the cluster of an image that is the only one with its first caption: nothing shows its style
RESTARTS = 10
ROUNDS = 100
EMBED_BATCH = 64
MAX_IMAGES = 1_000_000  # whose embeddings one process holds: 2 GB at 512 numbers each, and a number each in every checkpoint


@dataclass(frozen=True)
class Clusters:
    """The cluster of each sample of a data set, and the captions that fit images of several clusters."""

    of_sample: tuple[int, ...]  # from 0 on; UNKNOWN where it is not known
    ambiguous: frozenset[str]

    def labels(self, captions: Sequence[str], sample_ids: Sequence[int]) -> Int[Tensor, " b"]:
        """For `TextDescriptors.cluster`: the cluster + 1 of images whose caption fits several clusters, 0 of the others.

        0 as well where the caption determines it ("a heart, flat style") and where nothing is known.
        """
        pairs = zip(sample_ids, captions, strict=True)
        return torch.tensor([self.of_sample[sample] + 1 if caption in self.ambiguous else 0 for sample, caption in pairs])

    def to_json(self) -> dict:
        return {"of_sample": self.of_sample, "ambiguous": sorted(self.ambiguous)}

    @classmethod
    def from_json(cls, data: dict) -> "Clusters":
        return cls(tuple(data["of_sample"]), frozenset(data["ambiguous"]))


@torch.no_grad()
def find_clusters(shards: Shards, size: int, clip: str, num_clusters: int, device) -> Clusters:
    """Clusters every image of the shards, at `size` px, by a CLIP's embeddings; broken samples are left out.

    Raises:
        UserError: no such CLIP, too few images that share a first caption, or more than MAX_IMAGES.
    """
    if len(shards) > MAX_IMAGES:
        raise UserError(f"training.cluster_features clusters up to {MAX_IMAGES:,} images, the shards hold {len(shards):,}; leave it out")
    scorer = ClipScorer(clip)
    scorer.load_pretrained()
    scorer.to(device)
    numbers, captions, embeddings = [], [], []
    for first in tqdm(range(0, len(shards), EMBED_BATCH), "clustering images", delay=5, disable=None, leave=False):
        images = []
        for number in range(first, min(first + EMBED_BATCH, len(shards))):
            try:
                record = shards.read(number)
                images.append(decode(record.image, size))
            except (OSError, ValueError):
                continue
            numbers.append(number)
            captions.append(record.captions)
        if images:
            embeddings.append(scorer.images(to_signed(torch.stack(images)).to(device)).cpu())
    try:
        found = cluster_samples(torch.cat(embeddings), captions, num_clusters)
    except ValueError as error:
        raise UserError(f"training.cluster_features: {error}; leave it out") from None
    of_sample = dict(zip(numbers, found.of_sample, strict=True))
    return Clusters(tuple(of_sample.get(number, UNKNOWN) for number in range(len(shards))), found.ambiguous)


def cluster_samples(features: Float[Tensor, "n d"], captions: list[list[str]], num_clusters: int) -> Clusters:
    """Clusters samples by their features, relative to the mean over their first caption.

    Args:
        features: a row per sample that shows its style, such as a CLIP's embedding.
        captions: each sample's own, the first one first.

    Raises:
        ValueError: fewer images that share a first caption with another one than clusters.
    """
    of_name = defaultdict(list)
    for sample, (name, *_) in enumerate(captions):
        of_name[name].append(sample)
    several = [samples for samples in of_name.values() if len(samples) > 1]
    found = torch.full((len(captions),), UNKNOWN)
    rows = torch.tensor([sample for samples in several for sample in samples], dtype=torch.long)
    if len(rows) < num_clusters:
        raise ValueError(f"{len(rows)} images share a first caption with another one, too few for {num_clusters} clusters")
    differences = torch.cat([features[samples] - features[samples].mean(0) for samples in several]).double()
    found[rows] = k_means(differences, num_clusters)
    fits = defaultdict(set)
    for own, cluster in zip(captions, found.tolist(), strict=True):
        for caption in own:
            fits[caption].add(cluster)
    return Clusters(tuple(found.tolist()), frozenset(caption for caption, of in fits.items() if len(of - {UNKNOWN}) > 1))


def k_means(points: Float[Tensor, "n d"], k: int) -> Int[Tensor, " n"]:
    """The cluster of each point: of RESTARTS seeded starts (k-means++, Arthur and Vassilvitskii 2007) the tightest clustering."""
    best, least = None, float("inf")
    for seed in range(RESTARTS):
        random = torch.Generator().manual_seed(seed)
        centers = points[torch.randint(len(points), (1,), generator=random)]
        for _ in range(k - 1):
            squared = torch.cdist(points, centers).amin(1).square()
            centers = torch.cat([centers, points[torch.multinomial(squared + 1e-12, 1, generator=random)]])
        for _ in range(ROUNDS):
            cluster = torch.cdist(points, centers).argmin(1)
            moved = torch.stack([points[cluster == j].mean(0) if (cluster == j).any() else centers[j] for j in range(k)])
            if torch.equal(moved, centers):
                break
            centers = moved
        squared = float(torch.cdist(points, centers).amin(1).square().sum())
        if squared < least:
            best, least = torch.cdist(points, centers).argmin(1), squared
    return best
