"""The mapping network that StyleGAN2-ADA's and StyleGAN3's releases share, under this project's names."""

import re

from torch import Tensor

from t2igan.errors import UserError
from t2igan.official.pickles import Inert
from t2igan.style.stylegan2 import StyleGAN2MappingConfig


def converted_mapping(network: Inert, theirs: dict[str, Tensor]) -> tuple[StyleGAN2MappingConfig, int]:
    """(its section of a recipe, the number of class labels)."""
    labels = theirs["mapping.embed.weight"].shape[1] if "mapping.embed.weight" in theirs else 0
    style_dim = theirs["mapping.w_avg"].numel()
    depth = sum(re.fullmatch(r"mapping\.fc\d+\.weight", name) is not None for name in theirs)
    if any(len(theirs[f"mapping.fc{i}.weight"]) != style_dim for i in range(depth)):
        raise UserError(f"its mapping network's layers have another width than its average style, {style_dim}")
    config = StyleGAN2MappingConfig(
        z_dim=theirs["mapping.fc0.weight"].shape[1] - (style_dim if labels else 0),
        style_dim=style_dim,
        depth=depth,
        lr_multiplier=float(network.parts["mapping"].parts["fc0"].numbers["bias_gain"]),
    )
    return config, labels


def renamed_mapping(theirs: dict[str, Tensor]) -> dict[str, Tensor]:
    ours = {"mapper.mean_style": theirs["mapping.w_avg"]}
    for name, value in theirs.items():
        if found := re.fullmatch(r"mapping\.(embed|fc(\d+))\.(weight|bias)", name):
            ours[f"mapper.embed.{found[3]}" if found[1] == "embed" else f"mapper.layers.{found[2]}.{found[3]}"] = value
    return ours
