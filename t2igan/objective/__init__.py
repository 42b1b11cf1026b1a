"""Verdicts to losses: every term has a name, a weight and a place in one of the recipe's two lists."""

from t2igan.objective.adversarial import HingeConfig, NonSaturatingConfig
from t2igan.objective.classifier_guidance import ClassifierGuidanceConfig
from t2igan.objective.diversity import DiversityConfig
from t2igan.objective.gradient_penalty import FiniteDifferenceR1Config, R1Config
from t2igan.objective.guidance import ClipContrastiveConfig, ClipSphericalConfig
from t2igan.objective.matching import GeneratorMatchingConfig, MatchingConfig
from t2igan.objective.path_length import PathLengthConfig
from t2igan.objective.perceptual import LpipsConfig
from t2igan.objective.reconstruction import ReconstructionConfig
from t2igan.objective.relativistic import R2Config, RelativisticConfig
from t2igan.objective.routing import RoutingConfig
from t2igan.objective.wasserstein import ClassificationConfig, GradientPenaltyConfig, LeastSquaresConfig, WassersteinConfig

DISCRIMINATOR_KINDS = {
    "nonsaturating": NonSaturatingConfig,
    "hinge": HingeConfig,
    "matching": MatchingConfig,
    "r1": R1Config,
    "r1_finite": FiniteDifferenceR1Config,
    "relativistic": RelativisticConfig,
    "r2": R2Config,
    "wasserstein": WassersteinConfig,
    "gradient_penalty": GradientPenaltyConfig,
    "least_squares": LeastSquaresConfig,
    "classification": ClassificationConfig,
}
GENERATOR_KINDS = {
    "nonsaturating": NonSaturatingConfig,
    "hinge": HingeConfig,
    "matching": GeneratorMatchingConfig,
    "clip_contrastive": ClipContrastiveConfig,
    "clip_spherical": ClipSphericalConfig,
    "classifier_guidance": ClassifierGuidanceConfig,
    "lpips": LpipsConfig,
    "path_length": PathLengthConfig,
    "reconstruction": ReconstructionConfig,
    "diversity": DiversityConfig,
    "relativistic": RelativisticConfig,
    "wasserstein": WassersteinConfig,
    "least_squares": LeastSquaresConfig,
    "classification": ClassificationConfig,
    "routing": RoutingConfig,
}
