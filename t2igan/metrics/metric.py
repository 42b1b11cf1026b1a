"""Every metric by name: which features it reads, and how it computes a number from them."""

import dataclasses
from collections.abc import Callable, Iterable

import numpy as np
import torch
from torch import Tensor

from t2igan.data.order import hashed
from t2igan.errors import UserError
from t2igan.metrics.frechet import Moments, frechet
from t2igan.metrics.inception_score import inception_score
from t2igan.metrics.kernel import clip_mmd, kernel_inception_distance
from t2igan.metrics.manifold import manifold

CANDIDATES, SEED = 100, 0  # of r_precision: the true caption and 99 others
BLOCK = 512  # images of r_precision at a time

FeatureReader = Callable[[str], Iterable[Tensor]]  # "generated", "real" or "captions" to features, chunk by chunk


@dataclasses.dataclass(frozen=True)
class Metric:
    """`compute(read)` returns {"value": ...} and, for some metrics, further numbers."""

    network: str
    layer: str
    compute: Callable[[FeatureReader], dict[str, float]]
    reference: bool = True  # whether the metric compares with real images
    gaussian: bool = False  # whether the metric needs a covariance of the features, and so more images than dimensions
    min_images: int = 2  # generated, and real ones where it reads them

    def check(self, name: str, images: int, dimensions: int, force: bool) -> None:
        """Raises UserError where there are too few images; `force` allows too few for an unbiased value."""
        if images < self.min_images:
            raise UserError(f"{name} needs {self.min_images} images or more, got {images}; raise --count")
        if self.gaussian and images <= dimensions and not force:
            raise UserError(
                f"{name} of {images} images, which cannot fill the {dimensions} dimensions of their features, is mostly bias; "
                "generate more, choose kid, or add --force"
            )


def frechet_of(read: FeatureReader) -> dict[str, float]:
    """Reads chunk by chunk and keeps only the moments in memory."""
    return {"value": frechet(_moments(read("generated")), _moments(read("real")))}


def _moments(parts: Iterable[Tensor]) -> Moments:
    parts = iter(parts)
    moments = Moments.of(next(parts))
    for part in parts:
        moments = moments + Moments.of(part)
    return moments


def kid_of(read: FeatureReader) -> dict[str, float]:
    value, deviation = kernel_inception_distance(_concatenated(read("generated")), _concatenated(read("real")))
    return {"value": value, "deviation": deviation}


def inception_score_of(read: FeatureReader) -> dict[str, float]:
    value, deviation = inception_score(_concatenated(read("generated")))
    return {"value": value, "deviation": deviation}


def manifold_of(read: FeatureReader) -> dict[str, float]:
    """All four; the value is the precision."""
    found = dataclasses.asdict(manifold(_concatenated(read("generated")), _concatenated(read("real"))))
    return {"value": found.pop("precision")} | found


def cmmd_of(read: FeatureReader) -> dict[str, float]:
    return {"value": clip_mmd(_concatenated(read("generated")), _concatenated(read("real")))}


def clip_score_of(read: FeatureReader) -> dict[str, float]:
    """Mean cosine similarity of an image and its caption. Hessel et al. 2021 (arXiv:2104.08718), without their factor and clipping."""
    pairs = zip(read("generated"), read("captions"), strict=True)
    return {"value": float(torch.cat([(images.double() * texts.double()).sum(1) for images, texts in pairs]).mean())}


def r_precision_of(read: FeatureReader) -> dict[str, float]:
    """Share of images that are closer to their caption than to 99 random ones; Xu et al. 2018 (arXiv:1711.10485), section 4.1.

    A random caption that equals the true one is not counted.
    """
    images, captions = _concatenated(read("generated")), _concatenated(read("captions"))
    hits = 0
    for rows in torch.arange(len(images)).split(BLOCK):
        random = hashed(SEED, rows.numpy()[:, None], np.arange(CANDIDATES - 1)[None]) % np.uint64(len(captions))
        others, true = captions[torch.from_numpy(random.astype(np.int64))], captions[rows]
        similarity = (others * images[rows, None]).sum(2).masked_fill((others == true[:, None]).all(2), -torch.inf)
        hits += int((similarity < (true * images[rows]).sum(1, keepdim=True)).all(1).sum())
    return {"value": hits / len(images), "candidates": CANDIDATES}


def _concatenated(parts: Iterable[Tensor]) -> Tensor:
    return torch.cat(list(parts))


METRICS = {
    "fid": Metric("inception", "pool", frechet_of, gaussian=True),
    "kid": Metric("inception", "pool", kid_of),
    "inception_score": Metric("inception", "logits", inception_score_of, reference=False, min_images=10),
    "sfid": Metric("inception", "spatial", frechet_of, gaussian=True),  # Nash et al. 2021 (arXiv:2103.03841)
    "rfid": Metric("random_inception", "pool", frechet_of, gaussian=True),  # Sauer et al. 2022 (arXiv:2202.00273), section 4
    "precision_recall": Metric("vgg16", "fc2", manifold_of, min_images=6),
    "fdd": Metric("dinov2", "class", frechet_of, gaussian=True),
    "cmmd": Metric("clip_336", "embedding", cmmd_of),
    "clip_score": Metric("clip", "embedding", clip_score_of, reference=False),
    "r_precision": Metric("clip", "embedding", r_precision_of, reference=False, min_images=CANDIDATES),
}
