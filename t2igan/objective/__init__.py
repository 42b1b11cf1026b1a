"""Verdicts to losses: every term has a name, a weight and a place in one of the recipe's two lists."""

from dataclasses import dataclass

from t2igan.objective.adversarial import NonSaturating
from t2igan.objective.gradient_penalty import R1, FiniteR1, FiniteR1Config, R1Config
from t2igan.objective.guidance import ClipConfig, ClipContrastive, ClipSpherical, ContrastiveConfig
from t2igan.objective.matching import Matching, MatchingConfig
from t2igan.objective.perceptual import LpipsConfig, LpipsTerm
from t2igan.objective.reconstruction import Reconstruction, ReconstructionConfig
from t2igan.types import PartConfig


@dataclass(frozen=True)
class NoOptions(PartConfig):
    """A term without options of its own."""


DISCRIMINATOR_KINDS = {
    "nonsaturating": (NoOptions, NonSaturating),
    "matching": (MatchingConfig, Matching),
    "r1": (R1Config, R1),
    "r1_finite": (FiniteR1Config, FiniteR1),
}
GENERATOR_KINDS = {
    "nonsaturating": (NoOptions, NonSaturating),
    "matching": (NoOptions, Matching),
    "clip_contrastive": (ContrastiveConfig, ClipContrastive),
    "clip_spherical": (ClipConfig, ClipSpherical),
    "lpips": (LpipsConfig, LpipsTerm),
    "reconstruction": (ReconstructionConfig, Reconstruction),
}
