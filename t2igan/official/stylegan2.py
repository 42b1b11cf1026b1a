"""The generator of StyleGAN2-ADA's and StyleGAN3's releases, in its StyleGAN2 form, under this project's names."""

import re

import torch
from torch import Tensor

from t2igan.config import GeneratorConfig
from t2igan.errors import UserError
from t2igan.official.mapping import converted_mapping, renamed_mapping
from t2igan.official.pickles import Inert
from t2igan.synthesis.stylegan2 import StyleGAN2SynthesisConfig

BINOMIAL = torch.tensor([1.0, 3.0, 3.0, 1.0])


def is_stylegan2(theirs: dict[str, Tensor]) -> bool:
    return "synthesis.b4.const" in theirs


def convert_stylegan2(network: Inert, theirs: dict[str, Tensor]) -> tuple[GeneratorConfig, int, int, dict[str, Tensor]]:
    """(the generator's section of a recipe, its resolution, the number of class labels, its state dict).

    Raises:
        UserError: it is a StyleGAN2 that this project's cannot be, such as one of images without colour.
    """
    sides = sorted(int(found[1]) for name in theirs if (found := re.fullmatch(r"synthesis\.b(\d+)\.conv1\.weight", name)))
    check(theirs, sides)
    style, labels = converted_mapping(network, theirs)
    first = network.parts["synthesis"].parts["b4"].parts["conv1"]
    residual, skip = f"synthesis.b{sides[-1]}.skip.weight" in theirs, "synthesis.b4.torgb.weight" in theirs
    clamp = first.numbers.get("conv_clamp")
    synthesis = StyleGAN2SynthesisConfig(
        channels=tuple(theirs[f"synthesis.b{side}.conv1.weight"].shape[0] for side in sides),
        architecture="residual" if residual else "skip" if skip else "original",
        clamp=None if clamp is None else float(clamp),
    )
    return GeneratorConfig(adapter=None, style=style, synthesis=synthesis), sides[-1], labels, renamed(theirs, sides)


def check(theirs: dict[str, Tensor], sides: list[int]) -> None:
    """Raises UserError for what this project's cannot be. What the file says of its sides and widths must be there, before it is built."""
    channels = 0
    for stage, side in enumerate(sides):
        out, noise = len(theirs[f"synthesis.b{side}.conv1.weight"]), theirs[f"synthesis.b{side}.conv1.noise_const"]
        widths = {"conv1": (out, out), "conv0": (out, channels)} if stage else {"conv1": (out, out)}
        if side != 4 << stage or noise.shape != (side, side):
            raise UserError(f"its stage of {side} px is not where StyleGAN2 has it")
        if any(theirs[f"synthesis.b{side}.{name}.weight"].shape[:2] != shape for name, shape in widths.items()):
            raise UserError(f"the convolutions of its stage of {side} px do not fit each other")
        channels = out
    colours = theirs[f"synthesis.b{sides[-1]}.torgb.weight"].shape[0]
    if colours != 3:
        raise UserError(f"its images have {colours} channels; this project's have three")
    taps = theirs.get("synthesis.b8.resample_filter")
    if taps is not None and (taps.shape != (4, 4) or not torch.allclose(taps, torch.outer(BINOMIAL, BINOMIAL) / 64)):
        raise UserError("it resamples by another filter than [1, 3, 3, 1], which is not supported")


def renamed(theirs: dict[str, Tensor], sides: list[int]) -> dict[str, Tensor]:
    """The state dict of a Generator."""
    ours = renamed_mapping(theirs) | {"synthesis.constant": theirs["synthesis.b4.const"]}
    for stage, side in enumerate(sides):
        for part, name in (("up", "conv0"), ("conv", "conv1"), ("to_rgb", "torgb")):
            there, here = f"synthesis.b{side}.{name}", f"synthesis.stages.{stage}.{part}"
            if f"{there}.weight" not in theirs:
                continue
            conv = here if part == "to_rgb" else f"{here}.conv"
            ours |= {f"{conv}.weight": theirs[f"{there}.weight"], f"{here}.bias": theirs[f"{there}.bias"][:, None, None]}
            ours |= {f"{conv}.modulate.{kind}": theirs[f"{there}.affine.{kind}"] for kind in ("weight", "bias")}
            if part != "to_rgb":
                ours |= {f"{here}.noise_strength": theirs[f"{there}.noise_strength"], f"{here}.noise": theirs[f"{there}.noise_const"][None]}
        if f"synthesis.b{side}.skip.weight" in theirs:
            ours[f"synthesis.stages.{stage}.skip.weight"] = theirs[f"synthesis.b{side}.skip.weight"]
    return ours
