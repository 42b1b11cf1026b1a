"""Latents and descriptors to styles."""

from t2igan.style.latent import LatentConfig
from t2igan.style.mapping import MappingConfig

KINDS = {"mapping": MappingConfig, "latent": LatentConfig}
