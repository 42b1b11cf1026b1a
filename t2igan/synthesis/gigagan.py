"""Styles and words to an RGB pyramid: adaptive kernels, self-attention and cross-attention, an image at every stage.

Kang et al. 2023 (arXiv:2303.05511), section 3.1, Fig. 4. Images add up over the stages as in StyleGAN2 (arXiv:1912.04958, Fig. 7b).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from t2igan.draws import Draws
from t2igan.layers.attention import Backend, CrossAttentionBlock, SelfAttentionBlock
from t2igan.layers.equalized import LRELU_GAIN, EqualizedLinear, plain_lrelu
from t2igan.layers.modulation import AdaptiveConv2d, Strategy
from t2igan.layers.precision import full_precision, widen
from t2igan.layers.resample import upsample
from t2igan.layers.stages import FIRST, check_heads, check_stages, checkpoint_stage, resolutions
from t2igan.ranges import Count, Positive, Whole
from t2igan.synthesis.base import SynthesisConfig, SynthesisNetwork
from t2igan.types import CheckContext, ImagePyramid, TextDescriptors

RGB_INIT = 0.2  # the stages' images add up: at 1 their sum starts far outside [-1, 1] and takes a hundred steps to come back


@dataclass(frozen=True)
class GigaGANSynthesisConfig(SynthesisConfig):
    """One entry per stage, 4 px first. The defaults are the paper's 64 px text-to-image generator."""

    channels: tuple[Count, ...] = (1600, 1600, 1024, 512, 256)  # of the maps
    blocks: tuple[Count, ...] = (3, 3, 3, 2, 2)  # of two 3x3 adaptive convolutions each
    num_kernels: tuple[Count, ...] = (1, 1, 2, 4, 8)  # N, the size of each convolution's bank
    self_attention: tuple[Whole, ...] = (0, 2, 2, 1, 0)  # depth
    cross_attention: tuple[Whole, ...] = (0, 2, 2, 1, 0)  # depth
    head_dim: Count = 32  # width of a head of attention
    mlp_ratio: Count = 4  # width inside the network after attention, in widths of the map
    input: Literal["constant", "style"] = "constant"  # the 4x4 map: learned, or a linear function of the style
    conv_gain: Positive = 0.4  # of what a block adds to the map
    attention_gain: Positive = 0.3  # of what attention adds to the map
    strategy: Strategy | None = None  # how kernels are mixed; none: the cheapest for each layer
    backend: Backend = "auto"  # attention kernels
    activation_checkpointing: bool = False  # the backward pass computes each stage again, for less memory

    def levels(self, resolution: int) -> tuple[int, ...]:
        return tuple(resolutions(resolution)[::-1])

    def check(self, context: CheckContext) -> None:
        check_stages(self, PER_STAGE, resolutions(context.resolution))
        check_synthesis(self)

    def build(self, resolution: int, style_dim: int, token_dim: int) -> "GigaGANSynthesis":
        return GigaGANSynthesis(self, style_dim, token_dim)


PER_STAGE = ("channels", "blocks", "num_kernels", "self_attention", "cross_attention")


def check_synthesis(config) -> None:
    """Raises ValueError where stages of adaptive convolutions and attention cannot be built."""
    for channels, *depths in zip(config.channels, config.self_attention, config.cross_attention, strict=True):
        check_heads(channels, config.head_dim, max(depths))
    if config.strategy == "dense" and max(config.num_kernels) > 1:
        raise ValueError(f"strategy is 'dense', which takes one kernel, and num_kernels is {list(config.num_kernels)}; leave it out")


class InputBlock(nn.Module):
    """The 4x4 map that synthesis starts from through one adaptive convolution, as StyleGAN2's first block has no other."""

    def __init__(self, channels: int, style_dim: int, num_kernels: int, strategy: Strategy | None):
        super().__init__()
        self.conv = AdaptiveConv2d(channels, channels, style_dim, num_kernels=num_kernels, strategy=strategy, output_gain=LRELU_GAIN)

    def forward(self, x: Float[Tensor, "b c h w"], style: Float[Tensor, "b style_dim"], skip: None = None) -> Float[Tensor, "b c h w"]:
        return plain_lrelu(self.conv(x, style))


class UpBlock(nn.Module):
    """A map to one of twice the side through two adaptive convolutions; in a U-Net, a map of `skip` channels joins between them."""

    def __init__(self, in_channels: int, channels: int, style_dim: int, num_kernels: int, strategy: Strategy | None, skip: int = 0):
        super().__init__()
        options = {"num_kernels": num_kernels, "strategy": strategy, "output_gain": LRELU_GAIN}
        self.conv1 = AdaptiveConv2d(in_channels, channels, style_dim, **options)
        self.conv2 = AdaptiveConv2d(channels + skip, channels, style_dim, **options)

    def forward(
        self, x: Float[Tensor, "b c h w"], style: Float[Tensor, "b style_dim"], skip: Float[Tensor, "b s h2 w2"] | None = None
    ) -> Float[Tensor, "b c2 h2 w2"]:
        y = plain_lrelu(upsample(self.conv1(x, style)))  # upsampled after the convolution: a quarter of the arithmetic
        if skip is not None:
            y = torch.cat([y, skip.to(y.dtype)], 1)
        return plain_lrelu(self.conv2(y, style))


class ResidualBlock(nn.Module):
    """A map plus `gain` times two adaptive convolutions of it."""

    def __init__(self, channels: int, style_dim: int, num_kernels: int, gain: float, strategy: Strategy | None):
        super().__init__()
        options = {"num_kernels": num_kernels, "strategy": strategy}
        self.conv1 = AdaptiveConv2d(channels, channels, style_dim, **options, output_gain=LRELU_GAIN)
        self.conv2 = AdaptiveConv2d(channels, channels, style_dim, **options, output_gain=LRELU_GAIN * gain)

    def forward(self, x: Float[Tensor, "b c h w"], style: Float[Tensor, "b style_dim"], skip: None = None) -> Float[Tensor, "b c h w"]:
        return x + plain_lrelu(self.conv2(plain_lrelu(self.conv1(x, style)), style))


class AttentionStack(nn.Module):
    """A map through self-attention (with the style as one more token) and cross-attention to the words, alternating."""

    def __init__(self, channels: int, style_dim: int, token_dim: int, self_depth: int, cross_depth: int, config):
        super().__init__()
        args = (config.head_dim, config.attention_gain, config.backend, config.mlp_ratio)
        # Ours: the paper states that self-attention depends on w, not how; here w is one more token to attend to, shared by the stage
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
    """One resolution: a first block, residual blocks, attention, and this stage's contribution to the image.

    Args:
        first: the block that the map enters by.
        to_image: whether the stage contributes to the image.
    """

    def __init__(self, index: int, first: nn.Module, style_dim: int, token_dim: int, config, to_image: bool = True):
        super().__init__()
        channels, num_kernels = config.channels[index], config.num_kernels[index]
        more = [ResidualBlock(channels, style_dim, num_kernels, config.conv_gain, config.strategy) for _ in range(config.blocks[index] - 1)]
        self.blocks = nn.ModuleList([first, *more])
        depths = config.self_attention[index], config.cross_attention[index]
        self.attention = AttentionStack(channels, style_dim, token_dim, *depths, config) if any(depths) else None
        rgb = {"kernel_size": 1, "demodulate": False, "bias": False, "weight_init": RGB_INIT}
        self.to_rgb = AdaptiveConv2d(channels, 3, style_dim, **rgb) if to_image else None
        self.rgb_bias = nn.Parameter(torch.zeros(3, 1, 1)) if to_image else None

    def forward(self, x, style: Float[Tensor, "b style_dim"], text: TextDescriptors, skip: Float[Tensor, "b s h w"] | None = None):
        """(map at this resolution, its contribution to the image in float32 or None)."""
        x = self.blocks[0](x, style, skip)
        for block in self.blocks[1:]:
            x = block(x, style)
        if self.attention is not None:
            x = self.attention(x, style, text)
        if self.to_rgb is None:
            return x, None
        with full_precision(x.device):  # where images add up, a stage's rounding would stay
            return x, self.to_rgb(widen(x), style) + self.rgb_bias


class GigaGANSynthesis(SynthesisNetwork):
    """Styles and local descriptors (one of each per stage) to images at 4, 8, ... `resolution` px, finest first."""

    def __init__(self, config: GigaGANSynthesisConfig, style_dim: int, token_dim: int):
        super().__init__(len(config.channels), style_dim)
        self.activation_checkpointing = config.activation_checkpointing
        c, first = config.channels, config.channels[0]
        self.from_style = EqualizedLinear(style_dim, first * FIRST**2) if config.input == "style" else None
        self.constant = nn.Parameter(torch.randn(first, FIRST, FIRST)) if config.input == "constant" else None
        self.stages = nn.ModuleDict()
        for i, n in enumerate(config.num_kernels):
            args = (style_dim, n, config.strategy)
            block = UpBlock(c[i - 1], c[i], *args) if i else InputBlock(first, *args)
            self.stages[str(FIRST * 2**i)] = SynthesisStage(i, block, style_dim, token_dim, config)

    def forward(
        self,
        styles: Float[Tensor, "b l style_dim"],
        texts: Sequence[TextDescriptors],
        condition: None = None,
        draws: Draws | None = None,
        stage: None = None,
    ) -> ImagePyramid:
        x = self.input(styles[:, 0])
        image, pyramid = None, []
        for index, stage in enumerate(self.stages.values()):
            x, rgb = checkpoint_stage(stage, self.activation_checkpointing, x, styles[:, index], texts[index])
            image = rgb if image is None else upsample(image) + rgb
            pyramid.insert(0, image)
        return ImagePyramid(tuple(pyramid))

    def input(self, style: Float[Tensor, "b style_dim"]) -> Float[Tensor, "b c 4 4"]:
        if self.from_style is None:
            x = self.constant.expand(len(style), -1, -1, -1)
        else:
            x = rearrange(self.from_style(style), "b (c h w) -> b c h w", h=FIRST, w=FIRST)
        return x.contiguous(memory_format=torch.channels_last)
