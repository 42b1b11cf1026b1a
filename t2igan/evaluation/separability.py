"""A model and labelled images to the linear separability of its latent spaces.

Karras et al. 2019 (arXiv:1812.04948), section 4.2: a classifier labels generated images; the more confident half is kept; how much the side
of a hyperplane, fitted in z or in w, tells about the label is the score. Ours: the classifier is a logistic regression on a CLIP's
embeddings of the user's labelled images (theirs are networks of the discriminator's shape, trained on 40 attributes of CelebA).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Bool, Float
from PIL import Image
from torch import Tensor

from t2igan.data.images import to_pil
from t2igan.data.shards import Record, Shards
from t2igan.errors import UserError
from t2igan.evaluation.nearest import embed_shards, sample_captions
from t2igan.evaluation.reference import read_records
from t2igan.features.base import FeatureNetwork
from t2igan.grids import grid
from t2igan.inference.pipeline import NO_PROMPT, Pipeline, draw_latent
from t2igan.metrics.chunks import DistributedState
from t2igan.metrics.images import ImageSet
from t2igan.metrics.separability import AttributeClassifier, Separation, score, separate

BATCH = 50  # images at a time
SHOWN = 10  # images of each attribute, from one side of the hyperplane to the other
SPACES = ("z", "w")


@dataclass(frozen=True)
class Separability:
    result: dict
    image: Image.Image  # of each attribute: generated images in the order of their distance from the hyperplane in w


def has_attribute(record: Record, attribute: str) -> bool:
    """`FIELD=VALUE`: a field of the image's metadata has this value; `WORD`: a caption has this word."""
    field, equals, value = attribute.partition("=")
    if equals:
        return str(record.meta.get(field)).lower() == value.lower()
    return any(attribute.lower() in caption.lower().split() for caption in record.captions)


def measure_separability(
    pipeline: Pipeline,
    network: FeatureNetwork,
    state: DistributedState,
    data: str,
    attributes: Sequence[str],
    cache: Path,
    count: int,
) -> Separability:
    """Scores of z and of w over these attributes, and of each attribute alone.

    Args:
        network: gives the embeddings that the classifiers read.
        data: labelled shards; of a model with text, their captions are the prompts.
        attributes: see `has_attribute`.
        cache: folder that keeps the embeddings of shards, by content.
        count: images to generate; half of them are kept for each attribute.

    Raises:
        UserError: an attribute is that of nearly all images, or of nearly none, of the data or of the generated ones; or `count` is too
            small for the width of w.
    """
    shards = Shards(data, captioned=pipeline.conditional)
    labels = torch.tensor([[has_attribute(record, name) for name in attributes] for record in read_records(shards)])
    features = embed_shards(ImageSet(shards, pipeline.resolution, one_size=False), network, state, cache)
    classifiers = {name: fitted(name, features, column) for name, column in zip(attributes, labels.unbind(1), strict=True)}
    prompts = sample_captions(shards, count) if pipeline.conditional else [NO_PROMPT] * count
    latents, embeddings = generated_latents(pipeline, network, prompts)
    result, rows, captions = {"spaces": {}, "attributes": {}, "pictures": count, "network": network.provenance()}, [], []
    entropies: dict[str, list[float]] = {space: [] for space in SPACES}
    for name, classifier in classifiers.items():
        logits = classifier(embeddings)
        kept = logits.abs().argsort(descending=True)[: count // 2]
        found = {space: separated(name, latents[space][kept], logits[kept] > 0) for space in SPACES}
        for space, separation in found.items():
            entropies[space].append(separation.entropy)
        result["attributes"][name] = {f"entropy_{space}": separation.entropy for space, separation in found.items()} | {
            "share": float((logits[kept] > 0).float().mean()),
            "classifier_accuracy": classifier.accuracy,
        }
        order = kept[found["w"].decision.argsort()][torch.linspace(0, len(kept) - 1, SHOWN).long()].tolist()
        rows.append([to_pil(image) for image in pipeline.sample_pairs([prompts[i] for i in order], order)])
        captions.append(f"without to with: {name}")
    result["spaces"] = {space: score(found) for space, found in entropies.items()}
    return Separability(result, grid(rows, captions))


def fitted(name: str, features: Float[Tensor, "n d"], labels: Bool[Tensor, " n"]) -> AttributeClassifier:
    try:
        return AttributeClassifier.fit(features, labels)
    except ValueError as error:
        raise UserError(f"attribute {name!r}: {error}") from None


def separated(name: str, latents: Float[Tensor, "n d"], labels: Bool[Tensor, " n"]) -> Separation:
    try:
        return separate(latents, labels)
    except ValueError as error:
        raise UserError(f"attribute {name!r} of the generated images: {error}; raise --count, or choose another") from None


@torch.no_grad()
def generated_latents(
    pipeline: Pipeline, network: FeatureNetwork, prompts: list[str]
) -> tuple[dict[str, Float[Tensor, "n _"]], Float[Tensor, "n d"]]:
    """z and w of an image for each prompt, whose seed is its number, and the embeddings of the images; on the CPU."""
    latents: dict[str, list[Tensor]] = {space: [] for space in SPACES}
    embeddings = []
    for rows in torch.arange(len(prompts)).split(BATCH):
        seeds = rows.tolist()
        codes = pipeline.map_prompts([prompts[i] for i in seeds], seeds)
        latents["z"].append(torch.stack([draw_latent(seed, pipeline.generator.mapper.z_dim) for seed in seeds]))
        latents["w"].append(codes.styles[:, 0].float().cpu())
        embeddings.append(network(pipeline.synthesize(codes).to(pipeline.device))["embedding"].float().cpu())
    return {space: torch.cat(found) for space, found in latents.items()}, torch.cat(embeddings)
