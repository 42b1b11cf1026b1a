"""Styles and words to an image by convolutions that choose their kernels and their places, attention, and experts for every pixel.

In the manner of Zhu et al. 2023 (arXiv:2309.03904), whose release draws but does not train. Ours: attention over a caption's own tokens,
and between pixels by squared distances with tied projections, as in GigaGAN.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from t2igan.draws import Draws
from t2igan.layers.attention import Backend, CrossAttention, L2SelfAttention
from t2igan.layers.deformable import DeformableConv2d
from t2igan.layers.equalized import EqualizedConv2d, EqualizedLinear, lrelu
from t2igan.layers.experts import Experts
from t2igan.layers.fir import upsample_binomial
from t2igan.layers.fourier import FourierInput
from t2igan.layers.modulation import AdaptiveConv2d
from t2igan.layers.normalize import RMSNorm
from t2igan.layers.precision import full_precision, widen
from t2igan.layers.resample import upsample
from t2igan.layers.stages import FIRST, check_heads, check_stages, checkpoint_stage, resolutions
from t2igan.ranges import Count, Positive, Whole
from t2igan.synthesis.base import SynthesisConfig, SynthesisNetwork
from t2igan.types import CheckContext, ImagePyramid, TextDescriptors

BANDWIDTH = 1.0  # of the Fourier features, per width of the image
RGB_INIT = 0.2  # as in GigaGAN: the stages' images add up
PER_STAGE = ("channels", "blocks", "num_kernels", "attention", "experts")


@dataclass(frozen=True)
class AuroraSynthesisConfig(SynthesisConfig):
    """One entry per stage, 4 px first. The defaults are the release's for 64 px."""

    channels: tuple[Count, ...] = (1600, 1600, 1024, 512, 256)  # of the maps
    blocks: tuple[Count, ...] = (3, 3, 3, 2, 2)  # of two convolutions each
    num_kernels: tuple[Count, ...] = (1, 1, 2, 4, 8)  # the size of each convolution's bank
    attention: tuple[Whole, ...] = (0, 2, 2, 2, 1)  # layers after every block; 0: none
    experts: tuple[Count, ...] = (1, 4, 8, 16, 16)  # of each of these layers; read where there are any
    attention_width: Count | None = 512  # of what these layers work on, between two 1x1 convolutions; none: the map's channels
    head_dim: Count = 64  # width of a head of attention
    mlp_ratio: Count = 4  # width inside an expert, in widths of what it takes
    deformable_below: Whole = 32  # px: second convolutions of smaller stages choose where they read; 0: none does
    conv_gain: Positive = 0.4  # of a block's sum
    attention_gain: Positive = 0.3  # of what attention adds to the map
    backend: Backend = "auto"  # attention kernels
    activation_checkpointing: bool = False  # the backward pass computes each stage again, for less memory

    def levels(self, resolution: int) -> tuple[int, ...]:
        return tuple(resolutions(resolution)[::-1])

    def check(self, context: CheckContext) -> None:
        check_stages(self, PER_STAGE, resolutions(context.resolution))
        for channels, depth in zip(self.channels, self.attention, strict=True):
            if self.attention_width is None:
                check_heads(channels, self.head_dim, depth)
        if self.attention_width is not None and any(self.attention) and self.attention_width % self.head_dim:
            raise ValueError(f"attention_width is {self.attention_width}, needs a multiple of head_dim {self.head_dim}")

    def build(self, resolution: int, style_dim: int, token_dim: int) -> "AuroraSynthesis":
        return AuroraSynthesis(self, style_dim, token_dim)


class ConvBlock(nn.Module):
    """gain (x + two convolutions of it); the first one of a stage doubles the side."""

    def __init__(self, in_channels: int, channels: int, style_dim: int, num_kernels: int, up: bool, deformable: bool, gain: float):
        super().__init__()
        self.conv1 = AdaptiveConv2d(in_channels, channels, style_dim, num_kernels=num_kernels)
        second = DeformableConv2d if deformable else AdaptiveConv2d
        self.conv2 = second(channels, channels, style_dim, num_kernels=num_kernels)
        self.skip = EqualizedConv2d(in_channels, channels, 1) if in_channels != channels else None
        self.up, self.gain = up, gain

    def forward(self, x: Float[Tensor, "b i h w"], style: Float[Tensor, "b style_dim"]) -> Float[Tensor, "b o h2 w2"]:
        y, skip = self.conv1(x, style), x if self.skip is None else self.skip(x)
        if self.up:
            y, skip = upsample(y), upsample(skip)
        y = lrelu(self.conv2(lrelu(y), style))
        return self.gain * (y + skip)


class ExpertAttention(nn.Module):
    """gain (x + h): h from attention between pixels, to the words, and experts, all residual between two 1x1 convolutions."""

    def __init__(self, channels: int, style_dim: int, token_dim: int, depth: int, experts: int, config: AuroraSynthesisConfig):
        super().__init__()
        width = config.attention_width or channels
        self.norm = RMSNorm(channels)
        self.into, self.out = EqualizedLinear(channels, width), EqualizedLinear(width, channels, weight_init=0.0)
        options = {"head_dim": config.head_dim, "backend": config.backend, "out_init": 1.0}
        self.layers = nn.ModuleList()
        for _ in range(depth):
            parts = {
                "self_norm": RMSNorm(width),
                "self_attention": L2SelfAttention(width, **options),
                "expert_norm": RMSNorm(width),
                "experts": Experts(width, style_dim, experts, config.mlp_ratio),
            }
            if token_dim:
                parts |= {"cross_norm": RMSNorm(width), "cross_attention": CrossAttention(width, token_dim, **options)}
            self.layers.append(nn.ModuleDict(parts))
        self.gain = config.attention_gain

    def forward(
        self, x: Float[Tensor, "b c h w"], style: Float[Tensor, "b style_dim"], text: TextDescriptors
    ) -> tuple[Float[Tensor, "b c h w"], Float[Tensor, ""]]:
        tokens, losses = self.into(self.norm(rearrange(x, "b c h w -> b (h w) c"))), []
        for layer in self.layers:
            tokens = tokens + layer["self_attention"](layer["self_norm"](tokens))
            if "cross_attention" in layer:
                words = text.local, text.source.mask, text.attention_bias
                tokens = tokens + layer["cross_attention"](layer["cross_norm"](tokens), *words)
            found, loss = layer["experts"](layer["expert_norm"](tokens), style)
            tokens = tokens + found
            losses.append(loss)
        h = rearrange(self.out(tokens), "b (h w) c -> b c h w", h=x.shape[2])
        return self.gain * (x + h), torch.stack(losses).sum()


class AuroraStage(nn.Module):
    """One resolution: blocks, each with attention after it, and this stage's contribution to the image."""

    def __init__(self, index: int, side: int, style_dim: int, token_dim: int, config: AuroraSynthesisConfig):
        super().__init__()
        channels, depth = config.channels[index], config.attention[index]
        before = config.channels[max(index - 1, 0)]
        options = {"num_kernels": config.num_kernels[index], "deformable": side < config.deformable_below, "gain": config.conv_gain}
        self.blocks = nn.ModuleList(
            ConvBlock(channels if number else before, channels, style_dim, up=index > 0 and number == 0, **options)
            for number in range(config.blocks[index])
        )
        attention = (channels, style_dim, token_dim, depth, config.experts[index], config)
        self.attention = nn.ModuleList(ExpertAttention(*attention) for _ in self.blocks) if depth else None
        self.to_rgb = AdaptiveConv2d(channels, 3, style_dim, kernel_size=1, demodulate=False, weight_init=RGB_INIT)

    def forward(
        self, x: Float[Tensor, "b c h w"], style: Float[Tensor, "b style_dim"], text: TextDescriptors
    ) -> tuple[Tensor, Tensor, Tensor]:
        """(map, its contribution to the image in float32, the experts' loss)."""
        losses = [x.new_zeros((), dtype=torch.float32)]
        for number, block in enumerate(self.blocks):
            x = block(x, style)
            if self.attention is not None:
                x, loss = self.attention[number](x, style, text)
                losses.append(loss)
        with full_precision(x.device):  # where images add up, a stage's rounding would stay
            return x, self.to_rgb(widen(x), style), torch.stack(losses).sum()


class AuroraSynthesis(SynthesisNetwork):
    """Styles and local descriptors (one of each per stage) to images at 4, 8, ... `resolution` px, finest first, with the experts' loss."""

    def __init__(self, config: AuroraSynthesisConfig, style_dim: int, token_dim: int):
        super().__init__(len(config.channels), style_dim)
        self.activation_checkpointing = config.activation_checkpointing
        self.input = FourierInput(style_dim, config.channels[0], FIRST, FIRST, BANDWIDTH)
        sides = resolutions(FIRST << len(config.channels) - 1)
        self.stages = nn.ModuleDict({str(side): AuroraStage(index, side, style_dim, token_dim, config) for index, side in enumerate(sides)})

    @property
    def fourier_input(self) -> FourierInput:
        return self.input

    def forward(
        self,
        styles: Float[Tensor, "b l style_dim"],
        texts: Sequence[TextDescriptors],
        condition: None = None,
        draws: Draws | None = None,
        stage: None = None,
    ) -> ImagePyramid:
        x = self.input(styles[:, 0]).contiguous(memory_format=torch.channels_last)
        image, pyramid, losses = None, [], []
        for index, part in enumerate(self.stages.values()):
            x, rgb, loss = checkpoint_stage(part, self.activation_checkpointing, x, styles[:, index], texts[index])
            image = rgb if image is None else upsample_binomial(image) + rgb
            pyramid.insert(0, image)
            losses.append(loss)
        return ImagePyramid(tuple(pyramid), own_loss=torch.stack(losses).sum())
