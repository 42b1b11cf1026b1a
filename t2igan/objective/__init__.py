"""Verdicts to losses: every term has a name, a weight and a place in one of the recipe's two lists."""

from dataclasses import dataclass

from t2igan.objective.adversarial import NonSaturating
from t2igan.objective.gradient_penalty import R1, R1Config
from t2igan.objective.guidance import ClipConfig, ClipContrastive, ClipSpherical
from t2igan.objective.latent import ModeInformation
from t2igan.objective.matching import Matching, MatchingConfig
from t2igan.objective.reconstruction import Reconstruction, ReconstructionConfig


@dataclass(frozen=True)
class NoOptions:
    """A term without options of its own."""


DISCRIMINATOR_KINDS = {
    "nonsaturating": (NoOptions, NonSaturating),
    "matching": (MatchingConfig, Matching),
    "r1": (R1Config, R1),
    "mode_information": (NoOptions, ModeInformation),
}
GENERATOR_KINDS = {
    "nonsaturating": (NoOptions, NonSaturating),
    "matching": (MatchingConfig, Matching),
    "clip_contrastive": (ClipConfig, ClipContrastive),
    "clip_spherical": (ClipConfig, ClipSpherical),
    "reconstruction": (ReconstructionConfig, Reconstruction),
    "mode_information": (NoOptions, ModeInformation),
}
