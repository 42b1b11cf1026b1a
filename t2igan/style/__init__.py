"""Latents and descriptors to styles."""

from t2igan.style.mapping import MappingConfig

KINDS = {"mapping": MappingConfig}
