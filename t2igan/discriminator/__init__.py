"""Images and captions to verdicts: one file per system."""

from t2igan.discriminator.ensemble import VisionAidedConfig
from t2igan.discriminator.gigagan import GigaGANDiscriminatorConfig
from t2igan.discriminator.progan import ProGANDiscriminatorConfig
from t2igan.discriminator.r3gan import R3GANDiscriminatorConfig
from t2igan.discriminator.stylegan import StyleGANDiscriminatorConfig
from t2igan.discriminator.stylegan2 import StyleGAN2DiscriminatorConfig
from t2igan.discriminator.stylegan_t import StyleGANTDiscriminatorConfig
from t2igan.discriminator.stylegan_xl import StyleGANXLDiscriminatorConfig

KINDS = {
    "gigagan": GigaGANDiscriminatorConfig,
    "progan": ProGANDiscriminatorConfig,
    "r3gan": R3GANDiscriminatorConfig,
    "stylegan": StyleGANDiscriminatorConfig,
    "stylegan2": StyleGAN2DiscriminatorConfig,
    "stylegan_t": StyleGANTDiscriminatorConfig,
    "stylegan_xl": StyleGANXLDiscriminatorConfig,
    "vision_aided": VisionAidedConfig,
}
