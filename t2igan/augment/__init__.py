"""What D receives: images after random transforms that gradients pass through."""

from t2igan.augment.ada import ADAConfig
from t2igan.augment.base import NoAugmentConfig
from t2igan.augment.blur import BlurConfig
from t2igan.augment.crop import CropConfig
from t2igan.augment.diffaugment import DiffAugmentConfig

KINDS = {"none": NoAugmentConfig, "diffaugment": DiffAugmentConfig, "ada": ADAConfig, "blur": BlurConfig, "crop": CropConfig}
