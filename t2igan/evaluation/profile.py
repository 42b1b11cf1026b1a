"""A recipe to its parameters, FLOPs and memory, counted on the meta device: no weights, no download, any size."""

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from t2igan.config import Recipe
from t2igan.pyramid import build_pyramid
from t2igan.system import System, build_system
from t2igan.types import TextDescriptors, Tokens

FP32 = 4  # bytes
ADAM_COPIES = 4  # weight, gradient and two moments


def profile(recipe: Recipe) -> dict:
    """`{"recipe", "resolution", "parts": {name: {"params", "trainable", "gflops_per_image"}}, "memory_gb"}`.

    FLOPs are of one forward pass of one picture, two per multiply-add. Adapters count in their owner and stand on their own as well.
    """
    with torch.device("meta"):
        system = build_system(recipe)
        text = blank_text(system)
        z = torch.empty(1, system.generator.mapper.z_dim)
        images = torch.empty(1, 3, recipe.resolution, recipe.resolution)
        side = system.generator.synthesis.low
        low = None if side is None else torch.empty(1, 3, side, side)
    G, D = system.generator, system.discriminator
    pyramid = build_pyramid(images, recipe.discriminator.network.inputs)
    judge, vision = (D, None) if recipe.discriminator.vision_aided is None else (D.network, D.heads)
    parts = {"generator": part(G, z, text, low=low), "discriminator": part(judge, pyramid, text)}
    for name, owner in (("generator", G), ("discriminator", judge)):
        if owner.adapter is not None:
            parts[f"{name}.adapter"] = part(owner.adapter, text)
    if vision is not None:  # what the frozen tower takes is not known before it is read
        parts["discriminator.vision_aided"] = {"params": count(vision), "trainable": count(vision), "gflops_per_image": None}
    encoder = system.text_encoder.count_parameters()
    parts["text_encoder"] = {"params": encoder, "trainable": 0, "gflops_per_image": None}
    saved_g, saved_d = saved_bytes(G, z, text, low=low), saved_bytes(judge, pyramid, text)
    trained = count(G) + count(D)
    memory = {
        "weights_gradients_moments_average": FP32 * (ADAM_COPIES * trained + count(G)) / 1e9,
        "activations_per_picture": (saved_g + 2 * saved_d) / 1e9,  # D sees a real picture beside every generated one
    }
    return {"recipe": recipe.name, "resolution": recipe.resolution, "parts": parts, "memory_gb": memory}


def blank_text(system: System) -> TextDescriptors:
    """Descriptors of one prompt of full length, without content."""
    encoder = system.text_encoder
    source = Tokens(torch.zeros(1, encoder.max_tokens, dtype=torch.long), torch.ones(1, encoder.max_tokens, dtype=torch.bool))
    local, pooled = torch.empty(1, encoder.max_tokens, encoder.token_dim), torch.empty(1, encoder.text_dim)
    return TextDescriptors(local, pooled, source, torch.zeros(1, dtype=torch.long))


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def part(module: nn.Module, *inputs, **more) -> dict:
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        module(*inputs, **more)
    return {
        "params": count(module),
        "trainable": sum(p.numel() for p in module.parameters() if p.requires_grad),
        "gflops_per_image": counter.get_total_flops() / 1e9,
    }


def saved_bytes(module: nn.Module, *inputs, **more) -> int:
    """What autograd keeps for the backward pass of one picture besides the weights themselves."""
    weights = {p.untyped_storage()._cdata for p in module.parameters()}
    kept: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in weights:
            kept[storage._cdata] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        result = module(*inputs, **more)
    total = sum(kept.values())
    del result
    return total


def table(description: dict) -> str:
    lines = [f"{description['recipe']}, {description['resolution']} px", f"{'':24} {'parameters':>15} {'GFLOPs/image':>13}"]
    for name, row in description["parts"].items():
        params = "unknown" if row["params"] is None else f"{row['params']:,}"
        gflops = "" if row["gflops_per_image"] is None else f"{row['gflops_per_image']:.3f}"
        lines.append(f"{name:24} {params:>15} {gflops:>13}")
    memory = description["memory_gb"]
    lines.append(
        f"training, fp32: {memory['weights_gradients_moments_average']:.2f} GB, plus {memory['activations_per_picture']:.3f} GB per picture"
    )
    return "\n".join(lines)
