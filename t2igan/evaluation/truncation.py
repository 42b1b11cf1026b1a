"""A model to its truncation curve: what quality gains and variety loses as styles are pulled to their mean.

Karras et al. 2019 (arXiv:1812.04948), appendix B; precision and recall beside the Fréchet distance as in Kynkäänniemi et al. 2019
(arXiv:1904.06991), section 4. All are of a CLIP's embeddings, or of another network's vectors.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image

from t2igan.data.images import to_pil
from t2igan.data.shards import Shards
from t2igan.errors import UserError
from t2igan.evaluation.curve import curve_svg
from t2igan.evaluation.nearest import embed_shards, sample_captions
from t2igan.features.open_clip import ClipScorer
from t2igan.grids import grid
from t2igan.inference.pipeline import NO_PROMPT, Pipeline
from t2igan.metrics.chunks import CHUNK_SIZE, DistributedState
from t2igan.metrics.frechet import frechet_distance
from t2igan.metrics.images import ImageSet
from t2igan.metrics.manifold import manifold

SHOWN = 6  # images at each truncation, as rows
LEAST = 6  # images of each set, for precision and recall


@dataclass(frozen=True)
class TruncationCurve:
    result: dict
    image: Image.Image  # the same prompts and seeds at every truncation
    curve: str  # recall to the right, precision upwards; SVG


def truncation_curve(
    pipeline: Pipeline,
    clip: ClipScorer,
    state: DistributedState,
    data: str,
    values: Sequence[float],
    cache: Path,
    count: int,
    towards_all: bool = False,
) -> TruncationCurve:
    """The metrics at each truncation, of the same `count` prompts and seeds.

    Args:
        data: shards of real images; of a model with text, their captions are the prompts.
        values: truncations, 0 (every image is the mean) to 1 (as trained).
        cache: folder that keeps the embeddings of shards, by content.
        towards_all: whether styles are pulled to the mean of all prompts instead of their own prompt's.

    Raises:
        UserError: a value is outside 0 to 1, or there are too few images.
    """
    if not values or not all(0 <= value <= 1 for value in values):
        raise UserError(f"--values is {', '.join(map(str, values))}, needs numbers from 0 (the mean) to 1 (as trained)")
    shards = Shards(data, captioned=pipeline.conditional)
    if min(count, len(shards)) < LEAST:
        raise UserError(f"{count} generated and {len(shards)} real images; precision and recall need {LEAST} of each")
    real = embed_shards(ImageSet(shards, pipeline.resolution, one_size=False), clip, state, cache)
    prompts = sample_captions(shards, count) if pipeline.conditional else [NO_PROMPT] * count
    captions = clip.text(prompts).cpu() if pipeline.conditional else None
    points, columns = [], []
    for value in values:
        truncations = {"truncation": 1.0, "global_truncation": value} if towards_all else {"truncation": value}
        found, shown = [], []
        for rows in torch.arange(count).split(CHUNK_SIZE):
            images = pipeline.sample_pairs([prompts[i] for i in rows.tolist()], rows.tolist(), **truncations)
            shown += images[: SHOWN - len(shown)]
            with torch.no_grad():
                found.append(clip(images.to(state.device))["embedding"].float().cpu())
        features = torch.cat(found)
        near = manifold(features, real)
        point = {"truncation": value, "frechet": frechet_distance(features, real), "precision": near.precision, "recall": near.recall}
        if captions is not None:
            point["clip_score"] = float((features * captions).sum(1).mean())
        points.append(point)
        columns.append([to_pil(image) for image in shown])
    names = [f"{prompts[i]} at {', '.join(map(str, values))}".strip() for i in range(len(columns[0]))]
    result = {"points": points, "pictures": count, "real_pictures": len(shards), "network": clip.provenance()}
    result["towards"] = "all prompts" if towards_all else "own prompt"
    curve = curve_svg([(p["recall"], p["precision"], str(p["truncation"])) for p in points], "recall", "precision")
    return TruncationCurve(result, grid([list(row) for row in zip(*columns, strict=True)], names), curve)
