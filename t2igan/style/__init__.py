"""Latents and descriptors to styles."""

from t2igan.style.latent import LatentConfig
from t2igan.style.mapping import MappingConfig
from t2igan.style.progan import ProGANLatentConfig
from t2igan.style.stylegan import StyleGANMappingConfig
from t2igan.style.stylegan2 import StyleGAN2MappingConfig
from t2igan.style.stylegan_t import StyleGANTMappingConfig
from t2igan.style.stylegan_xl import StyleGANXLMappingConfig

KINDS = {
    "mapping": MappingConfig,
    "latent": LatentConfig,
    "progan": ProGANLatentConfig,
    "stylegan": StyleGANMappingConfig,
    "stylegan2": StyleGAN2MappingConfig,
    "stylegan_t": StyleGANTMappingConfig,
    "stylegan_xl": StyleGANXLMappingConfig,
}
