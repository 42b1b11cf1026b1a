"""Styles to images: one file per system."""

from t2igan.synthesis.aurora import AuroraSynthesisConfig
from t2igan.synthesis.gigagan import GigaGANSynthesisConfig
from t2igan.synthesis.gigagan_upsampler import GigaGANUpsamplerConfig
from t2igan.synthesis.progan import ProGANSynthesisConfig
from t2igan.synthesis.r3gan import R3GANSynthesisConfig
from t2igan.synthesis.stylegan import StyleGANSynthesisConfig
from t2igan.synthesis.stylegan2 import StyleGAN2SynthesisConfig
from t2igan.synthesis.stylegan3 import StyleGAN3SynthesisConfig
from t2igan.synthesis.stylegan_t import StyleGANTSynthesisConfig
from t2igan.synthesis.stylegan_xl import StyleGANXLSynthesisConfig

KINDS = {
    "gigagan": GigaGANSynthesisConfig,
    "gigagan_upsampler": GigaGANUpsamplerConfig,
    "progan": ProGANSynthesisConfig,
    "r3gan": R3GANSynthesisConfig,
    "stylegan": StyleGANSynthesisConfig,
    "stylegan2": StyleGAN2SynthesisConfig,
    "stylegan3": StyleGAN3SynthesisConfig,
    "stylegan_t": StyleGANTSynthesisConfig,
    "stylegan_xl": StyleGANXLSynthesisConfig,
    "aurora": AuroraSynthesisConfig,
}
