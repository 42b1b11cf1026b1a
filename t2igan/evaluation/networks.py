"""Metrics to the frozen networks whose features they read."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch

from t2igan.errors import UserError
from t2igan.features.base import FeatureNetwork
from t2igan.features.inception import Inception
from t2igan.features.open_clip import ClipScorer
from t2igan.features.vgg import Vgg16
from t2igan.features.vision_transformer import VisionTransformer
from t2igan.metrics.metric import Metric
from t2igan.metrics.protocol import EXTRACTORS, Protocol
from t2igan.text.cache import default_cache

RANDOM_SEED = 0  # of the weights of random_inception
CLIP_336 = ("ViT-L-14-336-quickgelu", "openai")  # of CMMD as published

Builder = Callable[[Protocol, tuple[str, ...], str | None], FeatureNetwork]  # from protocol, layers and weights


def build_networks(metrics: Mapping[str, Metric], protocol: Protocol, weights: Mapping[str, str]) -> dict[str, FeatureNetwork]:
    """The network of each metric, by name, without weights: `load_pretrained()` reads them.

    Args:
        weights: network to a weight file; for a CLIP also a tag of open_clip, `local-dir:FOLDER` or `hf-hub:ORG/REPO`.

    Raises:
        UserError: a CLIP is needed and `weights` does not name it.
    """
    networks = {}
    for name in dict.fromkeys(metric.network for metric in metrics.values()):
        layers = tuple(sorted({metric.layer for metric in metrics.values() if metric.network == name}))
        networks[name] = NETWORKS[name](protocol, layers, weights.get(name))
    return networks


def weight_file(weights: str | None) -> Path | None:
    return Path(weights).expanduser() if weights else None


def clip(name: str, model: str, tag: str, antialias: bool, weights: str | None) -> ClipScorer:
    """The CLIP that a protocol names, or the one that `weights` names in its place."""
    if weights is None:
        raise UserError(
            f"{name} is {model} {tag}: add --weights {name}={tag} to have open_clip load it (and download it if necessary), "
            f"{name}=FILE for weights of that model, or {name}=local-dir:FOLDER for another CLIP"
        )
    if weights.startswith(("local-dir:", "hf-hub:")):
        return ClipScorer(weights, None, default_cache(), antialias)
    return ClipScorer(model, weights, default_cache(), antialias)


def load_clip(named: str, device: torch.device, cache: Path | None) -> ClipScorer:
    """The CLIP that --clip names, loaded: `local-dir:FOLDER`, `hf-hub:ORG/REPO` or an open_clip name with its tag, NAME=TAG.

    Raises:
        UserError: there is no such CLIP.
    """
    name, _, tag = named.partition("=")
    scorer = ClipScorer(name, tag or None, cache)
    scorer.load_pretrained()
    scorer.to(device)
    return scorer


NETWORKS: dict[str, Builder] = {
    "inception": lambda protocol, layers, weights: Inception(EXTRACTORS[protocol.extractor], layers, weight_file(weights)),
    "random_inception": lambda protocol, layers, weights: Inception("tensorflow", seed=RANDOM_SEED),
    "vgg16": lambda protocol, layers, weights: Vgg16(weight_file(weights)),
    "dinov2": lambda protocol, layers, weights: VisionTransformer(weight_file(weights)),
    "clip": lambda protocol, layers, weights: clip("clip", protocol.clip, protocol.clip_pretrained, protocol.clip_antialias, weights),
    "clip_336": lambda protocol, layers, weights: clip("clip_336", *CLIP_336, True, weights),
}
WEIGHTED = tuple(name for name in NETWORKS if name != "random_inception")  # networks whose weights the user may name


def parse_weights(given: Sequence[str]) -> dict[str, str]:
    """`inception=FILE` and so on to a dictionary. Raises UserError for a network that no metric reads."""
    weights = dict(text.partition("=")[::2] for text in given)
    for name, value in weights.items():
        if name not in WEIGHTED or not value:
            raise UserError(f"--weights {name}={value}: needs NETWORK=WHAT with a network of {', '.join(WEIGHTED)}")
    return weights
