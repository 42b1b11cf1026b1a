"""Styles to pictures: one file per system."""

from t2igan.synthesis.gigagan import GigaGANSynthesis, GigaGANSynthesisConfig
from t2igan.synthesis.gigagan_upsampler import GigaGANUpsampler, GigaGANUpsamplerConfig

KINDS = {
    "gigagan": (GigaGANSynthesisConfig, GigaGANSynthesis),
    "gigagan_upsampler": (GigaGANUpsamplerConfig, GigaGANUpsampler),
}
