"""A model and its training images to each generated image's nearest training image: does the model copy?

A distance alone means little. Images of the same kind that the model was not trained on show what distance to expect.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from t2igan.data.images import to_bytes, to_signed
from t2igan.data.order import hashed, shuffled
from t2igan.data.shards import Shards
from t2igan.evaluation.reference import naming_broken
from t2igan.features.base import FeatureNetwork
from t2igan.grids import sheet
from t2igan.inference.pipeline import NO_PROMPT, Pipeline
from t2igan.metrics.chunks import CHUNK_SIZE, DistributedState, read_features
from t2igan.metrics.diversity import nearest
from t2igan.metrics.images import ImageSet

SHOWN = 12  # pairs in the image
SEED = 0


@dataclass(frozen=True)
class NearestNeighbors:
    """Distances, and the generated images that come closest to training, each with its nearest training image."""

    result: dict
    image: Image.Image


def nearest_neighbors(
    pipeline: Pipeline,
    network: FeatureNetwork,
    state: DistributedState,
    training: str,
    cache: Path,
    held_out: str | None = None,
    count: int = 500,
    truncation: float = 1.0,
) -> NearestNeighbors:
    """Generates `count` images, of captions of the training images where the model has text, and finds the nearest of those to each.

    Args:
        network: gives the embeddings, of unit length, between which distances are measured.
        training: shards that the model was trained on.
        cache: folder that keeps the embeddings of shards, by content.
        held_out: shards of the same kind that the model was not trained on.
        count: at least `SHOWN`.
    """
    images = ImageSet(Shards(training, captioned=pipeline.conditional), pipeline.resolution, one_size=False)
    embeddings = embed_shards(images, network, state, cache)
    captions = sample_captions(images.shards, count) if pipeline.conditional else [NO_PROMPT] * count
    generated = to_bytes(pipeline.sample_pairs(captions, range(count), truncation))
    chunks = (to_signed(chunk.to(state.device)) for chunk in generated.split(CHUNK_SIZE))
    generated_embeddings = torch.cat([network(chunk)["embedding"].cpu() for chunk in chunks])
    distances, neighbors = nearest(generated_embeddings, embeddings)
    distance = {"generated_to_training_mean": float(distances.mean()), "generated_to_training_least": float(distances.min())}
    if held_out:
        shards = Shards(held_out, captioned=pipeline.conditional)
        unseen = embed_shards(ImageSet(shards, pipeline.resolution, one_size=False), network, state, cache)
        unseen_distances = nearest(unseen, embeddings)[0]
        distance["held_out_to_training_mean"] = float(unseen_distances.mean())
        distance["held_out_to_training_least"] = float(unseen_distances.min())
        distance["share_of_generated_nearer_than_any_held_out"] = float((distances < unseen_distances.min()).float().mean())
    closest = distances.argsort()[:SHOWN].tolist()
    result = {"distance": distance, "pictures": count, "training_pictures": len(images), "network": network.provenance()}
    result["closest"] = [
        {"caption": captions[i], "seed": i, "training_picture": int(neighbors[i]), "distance": float(distances[i])} for i in closest
    ]
    shown = pair_sheet(generated[closest], images, neighbors[closest].tolist(), [captions[i] for i in closest])
    return NearestNeighbors(result, shown)


def sample_captions(shards: Shards, count: int) -> list[str]:
    """A random caption of each of `count` images, which do not repeat before all have been used."""
    positions = shuffled(torch.arange(count).numpy(), len(shards), SEED)
    picks = hashed(SEED, positions, 1)
    found = []
    for number, pick in zip(positions.tolist(), picks.tolist(), strict=True):
        with naming_broken(shards, number):
            captions = shards.captions(number)
        found.append(captions[pick % len(captions)])
    return found


def embed_shards(images: ImageSet, network: FeatureNetwork, state: DistributedState, cache: Path) -> Float[Tensor, "n d"]:
    """The embeddings of all images, computed or read from the cache."""
    folder = cache / "reference" / images.key(network)
    images.extract(network, folder, state, "embedding")
    return torch.cat(list(read_features(folder, "embedding", len(images))))


def pair_sheet(images: UInt8[Tensor, "b 3 r r"], training: ImageSet, neighbors: list[int], captions: list[str]) -> Image.Image:
    """Generated images, each with its nearest training image to the right."""
    shown, labels = [], []
    for image, neighbor, caption in zip(images, neighbors, captions, strict=True):
        real = training.read(range(neighbor, neighbor + 1))[0]
        shown += [Image.fromarray(pixels.permute(1, 2, 0).numpy()) for pixels in (image, real)]
        labels += [caption, "nearest in training"]
    return sheet(shown, labels, columns=8, scale=max(1, 96 // shown[0].width))
