"""A recipe to its parameters and FLOPs, counted on the meta device: no weights, no download, any size."""

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from t2igan.config import Recipe
from t2igan.draws import Draws
from t2igan.pyramid import build_pyramid
from t2igan.system import System, build_system
from t2igan.types import ImageSet, TextDescriptors, Tokens


def meta_system(recipe: Recipe) -> System:
    """A recipe's system without numbers."""
    with torch.device("meta"):
        return build_system(recipe)


def profile(recipe: Recipe, system: System) -> dict:
    """`{"recipe", "resolution", "parts": {name: {"params", "trainable", "gflops_per_image"}}}`.

    FLOPs are of one forward pass of one image, two per multiply-add. Sub-networks that a paper counts (`generator.adapter`,
    `discriminator.heads`) count in their owner and are listed on their own as well.

    Args:
        system: of the recipe, from `meta_system`; what a training freezes is frozen in it.
    """
    with torch.device("meta"):
        G, D, text = system.generator, system.discriminator, blank_text(system)
        z = torch.empty(1, G.mapper.z_dim)
        images = torch.empty(1, 3, recipe.resolution, recipe.resolution)
        condition = G.synthesis.condition(images, Draws(0, torch.zeros(1, dtype=torch.long)))
        sets = [ImageSet(build_pyramid(images, D.levels), (torch.zeros(1, dtype=torch.long),))]
    without_tower = D.without_frozen()  # what a frozen tower takes is not known before it is loaded
    counted = count_only(D) if without_tower is None else count_part(without_tower, sets, text)
    parts = {"generator": count_part(G, z, text, condition=condition), "discriminator": counted}
    for name, owner in (("generator", G), ("discriminator", D)):
        for sub_name, module in owner.parts().items():
            parts[f"{name}.{sub_name}"] = count_part(module, text) if sub_name == "adapter" else count_only(module)
    encoder = system.text_encoder.count_parameters()
    parts["text_encoder"] = {"params": encoder, "trainable": 0, "gflops_per_image": None}
    return {"recipe": recipe.name, "resolution": recipe.resolution, "parts": parts}


def blank_text(system: System) -> TextDescriptors:
    """Descriptors of one prompt of full length, without content."""
    encoder = system.text_encoder
    source = Tokens(torch.zeros(1, encoder.max_tokens, dtype=torch.long), torch.ones(1, encoder.max_tokens, dtype=torch.bool))
    local, pooled = torch.empty(1, encoder.max_tokens, encoder.token_dim), torch.empty(1, encoder.text_dim)
    return TextDescriptors(local, pooled, source, torch.zeros(1, dtype=torch.long))


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def count_only(module: nn.Module) -> dict:
    """A part without its FLOPs."""
    trainable = sum(p.numel() for p in module.parameters() if p.requires_grad)
    return {"params": count(module), "trainable": trainable, "gflops_per_image": None}


def count_part(module: nn.Module, *inputs, **more) -> dict:
    """A part with its FLOPs."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(*inputs, **more)
    return count_only(module) | {"gflops_per_image": counter.get_total_flops() / 1e9}


def table(profiled: dict) -> str:
    lines = [f"{profiled['recipe']}, {profiled['resolution']} px", f"{'':28} {'parameters':>15} {'GFLOPs/image':>13}"]
    for name, row in profiled["parts"].items():
        params = "unknown" if row["params"] is None else f"{row['params']:,}"
        gflops = "" if row["gflops_per_image"] is None else f"{row['gflops_per_image']:.3f}"
        frozen = (row["params"] or 0) - row["trainable"]
        note = "" if not frozen or name == "text_encoder" else f"  {frozen:,} of them frozen"
        lines.append(f"{name:28} {params:>15} {gflops:>13}{note}")
    if memory := profiled.get("memory"):
        lines.append(
            f"a training step in fp32: {memory['gb']:.2f} GB with {memory['images']} images in a pass, "
            f"{memory['fixed_gb']:.2f} GB and {memory['gb_per_image']:.3f} GB per image"
        )
    return "\n".join(lines)
