"""Inception score: how confident a classifier is about each image, and how its predictions vary over images, by torch-fidelity."""

from jaxtyping import Float
from torch import Tensor
from torch_fidelity.metric_isc import KEY_METRIC_ISC_MEAN, KEY_METRIC_ISC_STD, isc_features_to_metric


def inception_score(logits: Float[Tensor, "n c"], splits: int = 10) -> tuple[float, float]:
    """(mean, deviation) over splits of exp E KL(p(y|x) || p(y)). Salimans et al. 2016 (arXiv:1606.03498), section 4."""
    found = isc_features_to_metric(logits.cpu(), splits)
    return found[KEY_METRIC_ISC_MEAN], found[KEY_METRIC_ISC_STD]
