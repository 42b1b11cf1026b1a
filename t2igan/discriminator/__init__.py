"""Images and captions to verdicts: one file per system."""

from t2igan.discriminator.ensemble import VisionAidedConfig
from t2igan.discriminator.gigagan import GigaGANDiscriminatorConfig

KINDS = {"gigagan": GigaGANDiscriminatorConfig, "vision_aided": VisionAidedConfig}
