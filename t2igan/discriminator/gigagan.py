"""Image pyramids and their captions to verdicts: multi-scale input, multi-scale output.

Kang et al. 2023 (arXiv:2303.05511), section 3.2, Eq. 6-7. Every level enters one shared network at its own resolution and is scored at
later ones, each time with the text (modulated 1x1 convolutions) and without it. The trunk does not depend on text, so its features are
computed once and scored against several captions; sets and levels are stacked on the batch axis, so each stage runs once.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from t2igan.discriminator.base import NEEDS_TEXT, DiscriminatorNetwork, DiscriminatorNetworkConfig, rows_of
from t2igan.layers.attention import Backend, SelfAttentionBlock
from t2igan.layers.equalized import LRELU_GAIN, EqualizedConv2d, plain_lrelu
from t2igan.layers.minibatch import MinibatchStd
from t2igan.layers.modulation import AdaptiveConv2d
from t2igan.layers.precision import full_precision, widen
from t2igan.layers.resample import downsample
from t2igan.layers.stages import check_heads, check_stages, checkpoint_stage, resolutions
from t2igan.pyramid import concatenate
from t2igan.ranges import Amount, Count, Positive, Whole
from t2igan.types import CheckContext, ImagePyramid, ImageSet, TextDescriptors, TextDims, Verdict


@dataclass(frozen=True)
class GigaGANDiscriminatorConfig(DiscriminatorNetworkConfig):
    """One entry per stage, 4 px first. The defaults are the paper's discriminator of the 64 px text-to-image system."""

    channels: tuple[Count, ...] = (1536, 1536, 1024, 512, 256)  # of the maps
    blocks: tuple[Whole, ...] = (1, 2, 2, 2, 2)  # of two 3x3 convolutions; a stage's last one halves the side; 0: one strided convolution
    self_attention: tuple[Whole, ...] = (0, 2, 2, 1, 0)  # depth
    inputs: tuple[Count, ...] = (64, 32, 16, 8, 4)  # sides of the levels that enter, finest first
    outputs: tuple[Count, ...] = (32, 16, 8, 4, 1)  # sides at which predictions are read, finest first
    input_weights: tuple[Amount, ...] = (0.33, 0.17, 0.17, 0.17, 0.17)  # of each level in every loss
    output_weights: tuple[Amount, ...] = (0.01, 0.01, 0.01, 0.01, 1.0)  # of each place of reading
    head_depth: Count = 4  # modulated 1x1 convolutions per prediction
    head_dim: Count = 32  # of attention
    conv_gain: Positive = 0.4  # of what a block adds to the map
    attention_gain: Positive = 0.3  # of what attention adds to the map
    minibatch_std: Whole = 0  # group size of the minibatch standard deviation at 4 px; 0: none
    minibatch_strided: bool = True  # groups as in the releases; false: of neighbours, which data.images_per_caption gives one caption
    backend: Backend = "auto"  # attention kernels
    activation_checkpointing: bool = False  # gradient checkpointing: each stage is computed again on the way back, for less memory

    def levels(self, resolution: int) -> tuple[int, ...]:
        return self.inputs

    def check(self, context: CheckContext) -> None:
        if not context.token_dim:
            raise ValueError(NEEDS_TEXT.format("gigagan"))
        resolution = context.resolution
        sides = resolutions(resolution)
        check_stages(self, ("channels", "blocks", "self_attention"), sides)
        for channels, depth in zip(self.channels, self.self_attention, strict=True):
            check_heads(channels, self.head_dim, depth)
        if self.inputs[:1] != (resolution,) or not set(self.inputs) <= set(sides):
            raise ValueError(f"inputs is {list(self.inputs)}, needs {resolution} first and then any of {sides[-2::-1]}")
        for what, weights in (("inputs", self.input_weights), ("outputs", self.output_weights)):
            listed = list(getattr(self, what))
            if listed != sorted(set(listed), reverse=True):  # weights are matched to predictions by this order
                raise ValueError(f"{what} is {listed}, needs each side once, finest first")
            if len(weights) != len(listed):
                raise ValueError(f"{what[:-1]}_weights has {len(weights)} entries, needs one per entry of {what}")
        reached = {1, *sides[:-1]}
        if not set(self.outputs) <= reached:
            raise ValueError(f"outputs is {list(self.outputs)}, needs any of {sorted(reached, reverse=True)}")
        super().check(context)

    def build(self, resolution: int, adapter: nn.Module | None, text: TextDims) -> "GigaGANDiscriminator":
        return GigaGANDiscriminator(self, adapter, text.pooled if adapter is None else adapter.width)


class DownBlock(nn.Module):
    """A map to one of half the side: (3x3 convolution,) strided 3x3 convolution, beside a pooled 1x1 skip."""

    def __init__(self, in_channels: int, channels: int, deep: bool):
        super().__init__()
        self.conv1 = EqualizedConv2d(in_channels, in_channels, output_gain=LRELU_GAIN) if deep else None
        self.conv2 = EqualizedConv2d(in_channels, channels, stride=2)  # gain 1: sqrt 2 of the activation times sqrt 1/2 of the residual sum
        self.skip = EqualizedConv2d(in_channels, channels, kernel_size=1, bias=False, output_gain=0.5**0.5)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c2 h2 w2"]:
        y = x if self.conv1 is None else plain_lrelu(self.conv1(x))
        return plain_lrelu(self.conv2(y)) + self.skip(downsample(x))


class ResidualBlock(nn.Module):
    """A map plus `gain` times two 3x3 convolutions of it."""

    def __init__(self, channels: int, gain: float):
        super().__init__()
        self.conv1 = EqualizedConv2d(channels, channels, output_gain=LRELU_GAIN)
        self.conv2 = EqualizedConv2d(channels, channels, output_gain=LRELU_GAIN * gain)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return x + plain_lrelu(self.conv2(plain_lrelu(self.conv1(x))))


class DiscriminatorStage(nn.Module):
    """Maps at side r to maps at r / 2: residual blocks, self-attention, a block that halves the side."""

    def __init__(self, index: int, config: GigaGANDiscriminatorConfig):
        super().__init__()
        channels, depth = config.channels[index], config.self_attention[index]
        attention = (config.head_dim, config.attention_gain, config.backend)
        self.blocks = nn.ModuleList(ResidualBlock(channels, config.conv_gain) for _ in range(self.residual_blocks(config.blocks[index])))
        self.attention = nn.ModuleList(SelfAttentionBlock(channels, *attention) for _ in range(depth))
        self.down = self.halving(index, config)

    def residual_blocks(self, blocks: int) -> int:
        """Blocks before the one that halves the side, which counts as the last."""
        return max(blocks - 1, 0)

    def halving(self, index: int, config: GigaGANDiscriminatorConfig) -> nn.Module:
        return DownBlock(config.channels[index], config.channels[index - 1], deep=config.blocks[index] > 0)

    def forward(self, x: Float[Tensor, "b c r r"], sets: int, twice_differentiable: bool) -> Float[Tensor, "b c2 s s"]:
        return self.down(self.refine(x, twice_differentiable))

    def refine(self, x: Float[Tensor, "b c r r"], twice_differentiable: bool) -> Float[Tensor, "b c r r"]:
        for block in self.blocks:
            x = block(x)
        if len(self.attention):
            side, tokens = x.shape[2], rearrange(x, "b c h w -> b (h w) c")
            for block in self.attention:
                tokens = block(tokens, twice_differentiable=twice_differentiable)
            x = rearrange(tokens, "b (h w) c -> b c h w", h=side)
        return x


class FinalStage(DiscriminatorStage):
    """Maps at 4 px to maps at 1 px: residual blocks, self-attention, minibatch standard deviation, a 4x4 convolution."""

    def __init__(self, index: int, config: GigaGANDiscriminatorConfig):
        super().__init__(index, config)
        self.std = MinibatchStd(config.minibatch_std, config.minibatch_strided) if config.minibatch_std else None

    def residual_blocks(self, blocks: int) -> int:
        return blocks

    def halving(self, index: int, config: GigaGANDiscriminatorConfig) -> nn.Module:
        channels = config.channels[index]
        return EqualizedConv2d(channels + (1 if config.minibatch_std else 0), channels, kernel_size=4, padding=0, output_gain=LRELU_GAIN)

    def forward(self, x: Float[Tensor, "b c 4 4"], sets: int, twice_differentiable: bool) -> Float[Tensor, "b c2 1 1"]:
        x = self.refine(x, twice_differentiable)
        if self.std is not None:
            x = self.std(x, sets)
        return plain_lrelu(self.down(x))


class Head(nn.Module):
    """A map and the global descriptor to logits: D_ij = psi_j(phi, t) + Conv1x1(phi), Eq. 7."""

    def __init__(self, channels: int, text_dim: int, depth: int):
        super().__init__()
        self.layers = nn.ModuleList(
            AdaptiveConv2d(channels, channels, text_dim, kernel_size=1, output_gain=LRELU_GAIN) for _ in range(depth)
        )
        self.conditional = EqualizedConv2d(channels, 1, kernel_size=1)
        self.unconditional = EqualizedConv2d(channels, 1, kernel_size=1)

    def forward(self, x: Float[Tensor, "b c s s"], descriptor: Float[Tensor, "b text_dim"]) -> Float[Tensor, "b _"]:
        y = x
        for layer in self.layers:
            y = plain_lrelu(layer(y, descriptor))
        with full_precision(x.device):
            return (self.conditional(widen(y)) + self.unconditional(widen(x))).flatten(1)


class GigaGANDiscriminator(DiscriminatorNetwork):
    """Scores image pyramids against one caption each or several.

    Args:
        adapter: frozen TextDescriptors to learned ones; only the global descriptor is used.
        text_dim: width of the global descriptor.
    """

    def __init__(self, config: GigaGANDiscriminatorConfig, adapter: nn.Module | None, text_dim: int):
        super().__init__(config.inputs, config.minibatch_std or 1)
        self.outputs, self.activation_checkpointing = config.outputs, config.activation_checkpointing
        self.adapter = adapter
        sides = {4 * 2**i: i for i in range(len(config.channels))}
        entries = {str(r): EqualizedConv2d(3, config.channels[sides[r]], output_gain=LRELU_GAIN) for r in config.inputs}
        self.from_rgb = nn.ModuleDict(entries)
        stages = {r: (DiscriminatorStage if i else FinalStage)(i, config) for r, i in reversed(sides.items()) if r <= config.inputs[0]}
        self.stages = nn.ModuleDict({str(r): stage for r, stage in stages.items()})
        width = {1: config.channels[0]} | {r: config.channels[i] for r, i in sides.items()}
        self.heads = nn.ModuleDict({str(r): Head(width[r], text_dim, config.head_depth) for r in config.outputs})
        weight_in = dict(zip(config.inputs, config.input_weights, strict=True))
        weight_out = dict(zip(config.outputs, config.output_weights, strict=True))
        pairs = [(i, j) for j in config.outputs for i in config.inputs if i > j]
        self.weights = tuple(weight_in[i] * weight_out[j] for i, j in pairs)

    def forward(
        self, sets: Sequence[ImageSet], text: TextDescriptors, twice_differentiable: bool = False
    ) -> tuple[tuple[Verdict, ...], ...]:
        """The learned text layers run once per prompt, the trunk once per image, only the heads once per caption assignment."""
        if self.adapter is not None:
            text = self.adapter(text)
        maps = self.features(concatenate(*(images.pyramid for images in sets)), len(sets), twice_differentiable)
        verdicts: list[list[Verdict]] = [[] for _ in sets]
        for assignment in range(max(len(images.captions) for images in sets)):
            scored = [i for i, images in enumerate(sets) if len(images.captions) > assignment]
            descriptor = torch.cat([text.pooled[sets[i].captions[assignment]] for i in scored])
            logits = [logit for side, x in maps.items() for logit in self.read(side, rows_scored(x, sets, scored), descriptor)]
            for i, rows in zip(scored, rows_of([sets[i] for i in scored]), strict=True):
                verdicts[i].append(Verdict(tuple(logit[rows] for logit in logits), self.weights))
        return tuple(map(tuple, verdicts))

    def features(self, pyramid: ImagePyramid, sets: int = 1, twice_differentiable: bool = False) -> dict[int, Tensor]:
        """Maps at every output side. Levels are stacked on the batch axis, finest first; in each, `sets` sets of images."""
        levels, images = {level.shape[-1]: level for level in pyramid.levels}, len(pyramid)
        x, maps = None, {}
        for name, stage in self.stages.items():
            side = int(name)
            if side in levels:
                entering = plain_lrelu(self.from_rgb[name](levels[side].contiguous(memory_format=torch.channels_last)))
                x = entering if x is None else torch.cat([x, entering])
            x = checkpoint_stage(stage, self.activation_checkpointing, x, sets * (len(x) // images), twice_differentiable)
            reached = 1 if side == 4 else side // 2
            if reached in self.outputs:
                maps[reached] = x
        return maps

    def read(self, side: int, x: Float[Tensor, "n c s s"], descriptor: Float[Tensor, "b text_dim"]) -> tuple[Tensor, ...]:
        """Logits of each level that reaches this side, in float32."""
        streams = len(x) // len(descriptor)
        return checkpoint_stage(self.heads[str(side)], self.activation_checkpointing, x, descriptor.repeat(streams, 1)).chunk(streams)

    def parts(self) -> dict[str, nn.Module]:
        return {"heads": self.heads} | ({} if self.adapter is None else {"adapter": self.adapter})


def rows_scored(x: Float[Tensor, "n c s s"], sets: Sequence[ImageSet], scored: list[int]) -> Float[Tensor, "m c s s"]:
    """The maps of some of the sets, in each of the levels that are stacked on the batch axis."""
    if len(scored) == len(sets):
        return x
    rows = rows_of(sets)
    levels = x.unflatten(0, (-1, rows[-1].stop))
    return torch.cat([levels[:, rows[i]] for i in scored], 1).flatten(0, 1)
