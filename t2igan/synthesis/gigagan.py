"""Styles and words to an RGB pyramid: adaptive kernels, self-attention and cross-attention, a picture at every stage.

Kang et al. 2023 (arXiv:2303.05511), section 3.1, Fig. 4. Pictures add up over the stages as in StyleGAN2 (arXiv:1912.04958, Fig. 7b).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from t2igan.layers.attention import Backend, CrossAttentionBlock, SelfAttentionBlock
from t2igan.layers.equalized import EqualizedLinear, lrelu
from t2igan.layers.modulation import AdaptiveConv2d, Strategy
from t2igan.layers.resample import upsample
from t2igan.layers.stages import FIRST, check_heads, check_stages, checkpoint_stage, resolutions
from t2igan.types import ImagePyramid, PartConfig, Stage, TextDescriptors

RGB_INIT = 0.2  # the stages' pictures add up: at 1 their sum starts far outside [-1, 1] and takes a hundred steps to come back


@dataclass(frozen=True)
class GigaGANSynthesisConfig(PartConfig):
    """One entry per stage, 4 px first. The defaults are the paper's 64 px text-to-image generator."""

    channels: tuple[int, ...] = (1600, 1600, 1024, 512, 256)
    blocks: tuple[int, ...] = (3, 3, 3, 2, 2)  # of two 3x3 adaptive convolutions each
    kernels: tuple[int, ...] = (1, 1, 2, 4, 8)  # N, the size of each convolution's bank
    self_attention: tuple[int, ...] = (0, 2, 2, 1, 0)  # depth
    cross_attention: tuple[int, ...] = (0, 2, 2, 1, 0)  # depth
    head_dim: int = 32
    mlp_ratio: int = 4
    input: Literal["constant", "style"] = "constant"  # the 4x4 map: learned, or a linear function of the style
    conv_gain: float = 0.4  # residual gains
    attention_gain: float = 0.3
    strategy: Strategy | None = None  # how kernels are mixed; none: the cheapest for each layer
    backend: Backend = "auto"  # attention kernels
    activation_checkpointing: bool = False  # gradient checkpointing: each stage is computed again on the way back, for less memory
    starts_from_image: ClassVar[bool] = False
    low = None  # px, the side of the pictures that it starts from: none, it starts from styles and words

    def check(self, resolution: int) -> None:
        check_stages(self, PER_STAGE, resolutions(resolution))
        check_synthesis(self)


PER_STAGE = ("channels", "blocks", "kernels", "self_attention", "cross_attention")


def check_synthesis(config) -> None:
    """Raises ValueError where stages of adaptive convolutions and attention cannot be built."""
    for name in ("channels", "blocks", "kernels"):
        if min(getattr(config, name)) < 1:
            raise ValueError(f"{name} is {list(getattr(config, name))}, needs at least 1 in each stage")
    for channels, *depths in zip(config.channels, config.self_attention, config.cross_attention, strict=True):
        check_heads(channels, config.head_dim, max(depths))
    if config.strategy == "dense" and max(config.kernels) > 1:
        raise ValueError(f"strategy is 'dense', which takes one kernel, and kernels is {list(config.kernels)}; leave it out")


class AdaptiveBlock(nn.Module):
    """A map through two adaptive convolutions, of which the first of a stage upsamples; a residual where the shape stays.

    The network's very first block has nothing to upsample and so, as in StyleGAN2, only the second convolution. In a U-Net the map of
    `skip` channels from the way down joins before it.
    """

    def __init__(
        self,
        in_channels: int | None,
        channels: int,
        style_dim: int,
        kernels: int,
        gain: float,
        up: bool,
        strategy: Strategy | None,
        skip: int = 0,
    ):
        super().__init__()
        first = in_channels is None
        self.conv1 = None if first else AdaptiveConv2d(in_channels, channels, style_dim, 3, kernels, strategy=strategy)
        self.bias1 = None if first else nn.Parameter(torch.zeros(channels, 1, 1))
        self.conv2 = AdaptiveConv2d(channels + skip, channels, style_dim, 3, kernels, strategy=strategy)
        self.bias2 = nn.Parameter(torch.zeros(channels, 1, 1))
        self.up, self.gain = up, gain
        self.residual = not up and not skip and in_channels == channels

    def forward(
        self, x: Float[Tensor, "b c h w"], style: Float[Tensor, "b style_dim"], skip: Float[Tensor, "b s h2 w2"] | None = None
    ) -> Float[Tensor, "b c2 h2 w2"]:
        y = x
        if self.conv1 is not None:
            y = self.conv1(y, style)
            y = upsample(y) if self.up else y  # after the convolution: a quarter of the arithmetic
            y = lrelu(y + self.bias1)
        if skip is not None:
            y = torch.cat([y, skip.to(y.dtype)], 1)
        y = lrelu(self.conv2(y, style) + self.bias2)
        return x + self.gain * y if self.residual else y


class AttentionStack(nn.Module):
    """A map through self-attention (with the style as one more token) and cross-attention to the words, alternating."""

    def __init__(self, channels: int, style_dim: int, token_dim: int, self_depth: int, cross_depth: int, config):
        super().__init__()
        args = (config.head_dim, config.attention_gain, config.backend, config.mlp_ratio)
        # Ours: the paper says that self-attention hears w, not how; here as one token to attend to, shared by the stage
        self.style_token = EqualizedLinear(style_dim, channels) if self_depth else None
        self.self_attention = nn.ModuleList(SelfAttentionBlock(channels, *args) for _ in range(self_depth))
        self.cross_attention = nn.ModuleList(CrossAttentionBlock(channels, token_dim, *args) for _ in range(cross_depth))

    def forward(self, x: Float[Tensor, "b c h w"], style: Float[Tensor, "b style_dim"], text: TextDescriptors) -> Float[Tensor, "b c h w"]:
        side = x.shape[2]
        tokens = rearrange(x, "b c h w -> b (h w) c")
        style_token = None if self.style_token is None else self.style_token(style)[:, None].to(tokens.dtype)
        for depth in range(max(len(self.self_attention), len(self.cross_attention))):
            if depth < len(self.self_attention):
                tokens = self.self_attention[depth](tokens, style_token)
            if depth < len(self.cross_attention):
                tokens = self.cross_attention[depth](tokens, text.local, text.source.mask, text.attention_bias)
        return rearrange(tokens, "b (h w) c -> b c h w", h=side)


class SynthesisStage(nn.Module):
    """One resolution: adaptive blocks, attention, and this stage's share of the picture.

    Args:
        in_channels: of the map that comes in, half as large where `up`; None for the constant that synthesis starts from.
        skip: channels of the U-Net's map that joins in the first block.
        draws: whether the stage adds to the picture.
    """

    def __init__(
        self, index: int, in_channels: int | None, style_dim: int, token_dim: int, config, up: bool, skip: int = 0, draws: bool = True
    ):
        super().__init__()
        channels = config.channels[index]
        args = (channels, style_dim, config.kernels[index], config.conv_gain)
        self.blocks = nn.ModuleList([AdaptiveBlock(in_channels, *args, up=up, strategy=config.strategy, skip=skip)])
        for _ in range(config.blocks[index] - 1):
            self.blocks.append(AdaptiveBlock(channels, *args, up=False, strategy=config.strategy))
        depths = config.self_attention[index], config.cross_attention[index]
        self.attention = AttentionStack(channels, style_dim, token_dim, *depths, config) if any(depths) else None
        self.to_rgb = AdaptiveConv2d(channels, 3, style_dim, kernel=1, demodulate=False, weight_init=RGB_INIT) if draws else None
        self.rgb_bias = nn.Parameter(torch.zeros(3, 1, 1)) if draws else None

    def forward(self, x, style: Float[Tensor, "b style_dim"], text: TextDescriptors, skip: Float[Tensor, "b s h w"] | None = None):
        """(map at this resolution, its contribution to the picture in float32 or None)."""
        x = self.blocks[0](x, style, skip)
        for block in self.blocks[1:]:
            x = block(x, style)
        if self.attention is not None:
            x = self.attention(x, style, text)
        return x, None if self.to_rgb is None else self.to_rgb(x, style).float() + self.rgb_bias


class GigaGANSynthesis(nn.Module):
    """Styles and local descriptors (one of each per stage) to pictures at 4, 8, ... `resolution` px, finest first."""

    low = None

    def __init__(self, config: GigaGANSynthesisConfig, style_dim: int, token_dim: int):
        super().__init__()
        self.style_dim, self.stages_count, self.activation_checkpointing = style_dim, len(config.channels), config.activation_checkpointing
        first = config.channels[0]
        self.from_style = EqualizedLinear(style_dim, first * FIRST**2) if config.input == "style" else None
        self.constant = nn.Parameter(torch.randn(first, FIRST, FIRST)) if config.input == "constant" else None
        previous = (None, *config.channels)
        self.stages = nn.ModuleDict(
            {str(FIRST * 2**i): SynthesisStage(i, previous[i], style_dim, token_dim, config, up=i > 0) for i in range(self.stages_count)}
        )

    def forward(
        self, styles: Float[Tensor, "b l style_dim"], texts: Sequence[TextDescriptors], stage: Stage | None = None, low: None = None
    ) -> ImagePyramid:
        """All levels, or only those up to the resolution of `stage`."""
        x = self.input(styles[:, 0])
        picture, pyramid = None, []
        for index, (side, block) in enumerate(self.stages.items()):
            if stage is not None and int(side) > stage.resolution:
                break
            x, rgb = checkpoint_stage(block, self.activation_checkpointing, x, styles[:, index], texts[index])
            picture = rgb if picture is None else upsample(picture) + rgb
            pyramid.insert(0, picture)
        return ImagePyramid(tuple(pyramid))

    def input(self, style: Float[Tensor, "b style_dim"]) -> Float[Tensor, "b c 4 4"]:
        if self.from_style is None:
            x = self.constant.expand(len(style), -1, -1, -1)
        else:
            x = rearrange(self.from_style(style), "b (c h w) -> b c h w", h=FIRST, w=FIRST)
        return x.contiguous(memory_format=torch.channels_last)
