"""Real images as eval/drawings.py scores them: embeddings, captions and what data_prep/drawings.py says of each."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jaxtyping import Float
from torch import Tensor

from t2igan.data.shards import Shards
from t2igan.evaluation.nearest import embed_shards
from t2igan.evaluation.reference import read_records
from t2igan.features.open_clip import ClipScorer
from t2igan.metrics.chunks import DistributedState
from t2igan.metrics.images import ImageSet

SPLITS = ("train", "held_out_pairs", "held_out_concepts", "held_out_compositions", "held_out_combinations", "held_out_style")
KINDS = DRAWN, COLOURED, BUILT = ("drawn", "coloured", "built")  # by hand; silhouettes in colours; by generators, which have options


@dataclass(frozen=True)
class Pictures:
    """Real pictures of a split: embeddings of unit length, and for each its captions and metadata."""

    features: Float[Tensor, "n d"]
    captions: list[list[str]]
    metas: list[dict]

    @property
    def names(self) -> list[str]:
        return [meta["name"] for meta in self.metas]

    def rows(self, keep: Sequence[int]) -> "Pictures":
        return Pictures(self.features[list(keep)], [self.captions[i] for i in keep], [self.metas[i] for i in keep])


def read(folder: Path, size: int, clip: ClipScorer, state: DistributedState, cache: Path) -> Pictures:
    """A split at `size` px. Raises UserError where a sample is broken."""
    shards = Shards(str(folder))
    features = embed_shards(ImageSet(shards, size, one_size=False), clip, state, cache)
    samples = [(record.captions, record.meta) for record in read_records(shards)]
    return Pictures(features, [captions for captions, _ in samples], [meta for _, meta in samples])


def of_source(pictures: Pictures, source: str) -> Pictures:
    return pictures.rows([i for i, meta in enumerate(pictures.metas) if meta["source"] == source])


def styled(captions: list[str], meta: dict) -> str | None:
    """Of a picture's captions the first one that names its style."""
    return next((caption for caption in captions if meta["style"] and f", {meta['style']}" in caption), None)


def kind_of(meta: dict) -> str:
    return DRAWN if not meta["options"] else COLOURED if "thing" in meta["options"] else BUILT
