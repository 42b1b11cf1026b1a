"""Styles to images: one file per system."""

from t2igan.synthesis.gigagan import GigaGANSynthesisConfig
from t2igan.synthesis.gigagan_upsampler import GigaGANUpsamplerConfig

KINDS = {"gigagan": GigaGANSynthesisConfig, "gigagan_upsampler": GigaGANUpsamplerConfig}
