"""Pictures to verdicts: one file per system."""

from t2igan.discriminator.gigagan import GigaGANDiscriminator, GigaGANDiscriminatorConfig

KINDS = {"gigagan": (GigaGANDiscriminatorConfig, GigaGANDiscriminator)}
