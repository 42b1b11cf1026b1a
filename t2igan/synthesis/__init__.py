"""Styles to pictures: one file per system."""

from t2igan.synthesis.gigagan import GigaGANSynthesis, GigaGANSynthesisConfig

KINDS = {"gigagan": (GigaGANSynthesisConfig, GigaGANSynthesis)}
