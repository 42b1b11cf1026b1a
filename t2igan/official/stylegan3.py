"""The generator of StyleGAN3's release, configurations T and R, under this project's names."""

import dataclasses
import re

import torch
from torch import Tensor

from t2igan.config import GeneratorConfig
from t2igan.errors import UserError
from t2igan.official.mapping import converted_mapping, renamed_mapping
from t2igan.official.pickles import Inert
from t2igan.synthesis.stylegan3 import StyleGAN3SynthesisConfig, layer_table

LAYER = re.compile(r"synthesis\.(L(\d+)_(\d+)_(\d+))\.weight")  # its number, side and channels


def is_stylegan3(theirs: dict[str, Tensor]) -> bool:
    return "synthesis.input.freqs" in theirs


def convert_stylegan3(network: Inert, theirs: dict[str, Tensor]) -> tuple[GeneratorConfig, int, int, dict[str, Tensor]]:
    """(the generator's section of a recipe, its resolution, the number of class labels, its state dict).

    Raises:
        UserError: it is a StyleGAN3 that this project's cannot be, such as one with other cutoffs.
    """
    found = sorted((int(m[2]), int(m[3]), int(m[4]), m[1]) for name in theirs if (m := LAYER.fullmatch(name)))
    if not found:
        raise UserError("it has no layers that are named as those of StyleGAN3's release")
    names, sides, channels = [row[3] for row in found], [row[1] for row in found], [row[2] for row in found]
    resolution, last, inputs = sides[-1], len(found) - 1, len(theirs["synthesis.input.freqs"])
    for name, out in zip(names, channels, strict=True):  # what the names say must be there, before it is built
        if theirs[f"synthesis.{name}.weight"].shape[:2] != (out, inputs):
            raise UserError(f"its layer {name} has other channels than its name says")
        inputs = out
    style, labels = converted_mapping(network, theirs)
    clamp = network.parts["synthesis"].parts[names[0]].numbers.get("conv_clamp")
    config = StyleGAN3SynthesisConfig(
        layers=last,
        channel_base=channels[last - 1] * resolution,
        channel_max=max(channels),
        equivariance="rotation" if theirs[f"synthesis.{names[0]}.weight"].shape[-1] == 1 else "translation",
        clamp=None if clamp is None else float(clamp),
    )
    table = layer_table(config, resolution)
    if [(row.side, row.channels) for row in table] != list(zip(sides, channels, strict=True)):
        raise UserError("its layers have other sides or channels than StyleGAN3's rule gives them, which is not supported")
    style = dataclasses.replace(style, mixing=0.0)
    state = renamed(theirs, names)
    check_filters(config, resolution, theirs, names)
    return GeneratorConfig(adapter=None, style=style, synthesis=config), resolution, labels, state


def check_filters(config: StyleGAN3SynthesisConfig, resolution: int, theirs: dict[str, Tensor], names: list[str]) -> None:
    """Raises UserError where a filter that the file holds is another than this project's."""
    ours = config.build(resolution, 1, 0)
    for layer, name in zip(ours.layers[:-1], names, strict=False):
        made = layer.nonlinearity
        for kind, taps in (("up_filter", made.up_taps), ("down_filter", made.down_taps)):
            stored = theirs.get(f"synthesis.{name}.{kind}")
            if stored is None:
                continue
            own = taps / taps.sum()
            if stored.shape != own.shape or not torch.allclose(stored, own, atol=1e-5):
                raise UserError(f"its {kind} of layer {name} is not the one of StyleGAN3's rule, which is not supported")


def renamed(theirs: dict[str, Tensor], names: list[str]) -> dict[str, Tensor]:
    """The state dict of a Generator."""
    ours = renamed_mapping(theirs)
    for here, there in (("frequencies", "freqs"), ("phases", "phases"), ("transform", "transform"), ("weight", "weight")):
        ours[f"synthesis.input.{here}"] = theirs[f"synthesis.input.{there}"]
    ours |= {f"synthesis.input.affine.{kind}": theirs[f"synthesis.input.affine.{kind}"] for kind in ("weight", "bias")}
    for number, name in enumerate(names):
        here, there = f"synthesis.layers.{number}", f"synthesis.{name}"
        ours |= {f"{here}.conv.weight": theirs[f"{there}.weight"], f"{here}.bias": theirs[f"{there}.bias"][:, None, None]}
        ours |= {f"{here}.conv.modulate.{kind}": theirs[f"{there}.affine.{kind}"] for kind in ("weight", "bias")}
        ours[f"{here}.magnitude.mean_square"] = theirs[f"{there}.magnitude_ema"]
    return ours
