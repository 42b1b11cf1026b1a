"""Every metric by name: whose features it reads, and what it makes of them."""

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

CANDIDATES, SEED = 100, 0  # of r_precision: the caption itself and 99 others
BLOCK = 512  # pictures of r_precision at a time

Read = Callable[[str], Iterable[Tensor]]  # "generated", "real" or "captions" to features, part by part


@dataclasses.dataclass(frozen=True)
class Measure:
    """`compute(read)` gives {"value": ..., perhaps more}."""

    network: str
    layer: str
    compute: Callable[[Read], dict[str, float]]
    reference: bool = True  # whether real pictures are read
    gaussian: bool = False  # whether a covariance of the features is taken, for which there must be more pictures than dimensions
    least: int = 2  # pictures on either side

    def check(self, metric: str, pictures: int, dimensions: int, force: bool) -> None:
        """Raises UserError where there are too few pictures; where that only makes the figure a bad one, `force` lets it pass."""
        if pictures < self.least:
            raise UserError(f"{metric} needs {self.least} pictures or more, got {pictures}")
        if self.gaussian and pictures <= dimensions and not force:
            raise UserError(
                f"{metric} of {pictures} pictures, which cannot fill the {dimensions} dimensions of their features, is mostly bias; "
                "draw more, choose kid, or say --force"
            )


def frechet_of(read: Read) -> dict[str, float]:
    """Part by part, so that no more than the moments is held."""
    return {"value": frechet(_moments(read("generated")), _moments(read("real")))}


def _moments(parts: Iterable[Tensor]) -> Moments:
    parts = iter(parts)
    moments = Moments.of(next(parts))
    for part in parts:
        moments = moments + Moments.of(part)
    return moments


def kid_of(read: Read) -> dict[str, float]:
    value, deviation = kernel_inception_distance(_stacked(read("generated")), _stacked(read("real")))
    return {"value": value, "deviation": deviation}


def inception_score_of(read: Read) -> dict[str, float]:
    value, deviation = inception_score(_stacked(read("generated")))
    return {"value": value, "deviation": deviation}


def manifold_of(read: Read) -> dict[str, float]:
    """All four; the value is the precision."""
    found = dataclasses.asdict(manifold(_stacked(read("generated")), _stacked(read("real"))))
    return {"value": found.pop("precision")} | found


def cmmd_of(read: Read) -> dict[str, float]:
    return {"value": clip_mmd(_stacked(read("generated")), _stacked(read("real")))}


def clip_score_of(read: Read) -> dict[str, float]:
    """Mean cosine of a picture and its caption. Hessel et al. 2021 (arXiv:2104.08718), without their factor 2.5 and cut at zero."""
    pairs = zip(read("generated"), read("captions"), strict=True)
    return {"value": float(torch.cat([(images.double() * texts.double()).sum(1) for images, texts in pairs]).mean())}


def r_precision_of(read: Read) -> dict[str, float]:
    """Share of pictures whose own caption is nearer than 99 drawn ones; Xu et al. 2018 (arXiv:1711.10485), section 4.1.

    Where a drawn caption says the same as the picture's own, it does not count against it.
    """
    images, captions = _stacked(read("generated")), _stacked(read("captions"))
    hits = 0
    for rows in torch.arange(len(images)).split(BLOCK):
        drawn = hashed(SEED, rows.numpy()[:, None], np.arange(CANDIDATES - 1)[None]) % np.uint64(len(captions))
        others, own = captions[torch.from_numpy(drawn.astype(np.int64))], captions[rows]
        nearness = (others * images[rows, None]).sum(2).masked_fill((others == own[:, None]).all(2), -torch.inf)
        hits += int((nearness < (own * images[rows]).sum(1, keepdim=True)).all(1).sum())
    return {"value": hits / len(images), "candidates": CANDIDATES}


def _stacked(parts: Iterable[Tensor]) -> Tensor:
    return torch.cat(list(parts))


MEASURES = {
    "fid": Measure("inception", "pool", frechet_of, gaussian=True),
    "kid": Measure("inception", "pool", kid_of),
    "inception_score": Measure("inception", "logits", inception_score_of, reference=False, least=10),
    "sfid": Measure("inception", "spatial", frechet_of, gaussian=True),  # Nash et al. 2021 (arXiv:2103.03841)
    "rfid": Measure("random_inception", "pool", frechet_of, gaussian=True),  # Sauer et al. 2022 (arXiv:2202.00273), section 4
    "precision_recall": Measure("vgg16", "fc2", manifold_of, least=6),
    "fdd": Measure("dinov2", "class", frechet_of, gaussian=True),
    "cmmd": Measure("clip_336", "embedding", cmmd_of),
    "clip_score": Measure("clip", "embedding", clip_score_of, reference=False),
    "r_precision": Measure("clip", "embedding", r_precision_of, reference=False, least=CANDIDATES),
}
