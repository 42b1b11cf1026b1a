"""A pyramid and its captions to a verdict: multi-scale input, multi-scale output.

Kang et al. 2023 (arXiv:2303.05511), section 3.2, Eq. 6-7. Every level enters one shared network at its own resolution and is judged at
later ones, each time with the text (modulated 1x1 convolutions) and without it. The network never sees text, so its features are
computed once and scored against several captions; levels are stacked on the batch axis, so each stage runs once.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn

from t2igan.layers.attention import Backend, SelfAttentionBlock
from t2igan.layers.equalized import EqualizedConv2d, lrelu
from t2igan.layers.minibatch import MinibatchStd
from t2igan.layers.modulation import AdaptiveConv2d
from t2igan.layers.resample import downsample
from t2igan.layers.stages import check_heads, check_stages, checkpoint_stage, resolutions
from t2igan.types import ImagePyramid, PartConfig, TextDescriptors, Verdict


@dataclass(frozen=True)
class GigaGANDiscriminatorConfig(PartConfig):
    """One entry per stage, 4 px first. The defaults are the paper's discriminator of the 64 px text-to-image system."""

    channels: tuple[int, ...] = (1536, 1536, 1024, 512, 256)
    blocks: tuple[int, ...] = (1, 2, 2, 2, 2)  # of two 3x3 convolutions; a stage's last one halves the side; 0: one strided convolution
    self_attention: tuple[int, ...] = (0, 2, 2, 1, 0)  # depth
    inputs: tuple[int, ...] = (64, 32, 16, 8, 4)  # sides of the levels that enter, finest first
    outputs: tuple[int, ...] = (32, 16, 8, 4, 1)  # sides at which predictions are read, finest first
    input_weights: tuple[float, ...] = (0.33, 0.17, 0.17, 0.17, 0.17)  # of each level in every loss
    output_weights: tuple[float, ...] = (0.01, 0.01, 0.01, 0.01, 1.0)  # of each place of reading
    head_depth: int = 4  # modulated 1x1 convolutions per prediction
    head_dim: int = 32  # of attention
    conv_gain: float = 0.4
    attention_gain: float = 0.3
    minibatch_std: int = 0  # group size of the minibatch standard deviation at 4 px; 0: none
    backend: Backend = "auto"  # attention kernels
    activation_checkpointing: bool = False  # gradient checkpointing: each stage is computed again on the way back, for less memory

    def check(self, resolution: int) -> None:
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


class DownBlock(nn.Module):
    """A map to one of half the side: (3x3 convolution,) strided 3x3 convolution, beside a pooled 1x1 skip."""

    def __init__(self, in_channels: int, channels: int, deep: bool):
        super().__init__()
        self.conv1 = EqualizedConv2d(in_channels, in_channels) if deep else None
        self.conv2 = EqualizedConv2d(in_channels, channels, stride=2)
        self.skip = EqualizedConv2d(in_channels, channels, kernel=1, bias=False)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c2 h2 w2"]:
        y = x if self.conv1 is None else lrelu(self.conv1(x))
        y = lrelu(self.conv2(y), gain=1.0)  # sqrt 2 of the activation times sqrt 1/2 of the residual sum
        return y + self.skip(downsample(x)) * 0.5**0.5


class ResidualBlock(nn.Module):
    """A map plus `gain` times two 3x3 convolutions of it."""

    def __init__(self, channels: int, gain: float):
        super().__init__()
        self.conv1 = EqualizedConv2d(channels, channels)
        self.conv2 = EqualizedConv2d(channels, channels)
        self.gain = gain

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return x + self.gain * lrelu(self.conv2(lrelu(self.conv1(x))))


class DiscriminatorStage(nn.Module):
    """Maps at side r to maps at r / 2, or from 4 px to 1."""

    def __init__(self, index: int, config: GigaGANDiscriminatorConfig):
        super().__init__()
        channels, out = config.channels[index], config.channels[max(index - 1, 0)]
        last = index == 0
        residual = config.blocks[index] if last else max(config.blocks[index] - 1, 0)
        self.blocks = nn.ModuleList(ResidualBlock(channels, config.conv_gain) for _ in range(residual))
        self.attention = nn.ModuleList(
            SelfAttentionBlock(channels, config.head_dim, config.attention_gain, config.backend)
            for _ in range(config.self_attention[index])
        )
        self.std = MinibatchStd(config.minibatch_std) if last and config.minibatch_std else None
        extra = 1 if self.std is not None else 0
        self.down = EqualizedConv2d(channels + extra, out, kernel=4) if last else DownBlock(channels, out, deep=config.blocks[index] > 0)
        self.last = last

    def forward(self, x: Float[Tensor, "b c r r"]) -> Float[Tensor, "b c2 s s"]:
        for block in self.blocks:
            x = block(x)
        if len(self.attention):
            side, tokens = x.shape[2], rearrange(x, "b c h w -> b (h w) c")
            for block in self.attention:
                tokens = block(tokens)
            x = rearrange(tokens, "b (h w) c -> b c h w", h=side)
        if not self.last:
            return self.down(x)
        if self.std is not None:
            x = self.std(x)
        return lrelu(F.conv2d(x, self.down.weight * self.down.gain, self.down.bias))  # 4x4, no padding


class Head(nn.Module):
    """A map and the global descriptor to logits: D_ij = psi_j(phi, t) + Conv1x1(phi), Eq. 7."""

    def __init__(self, channels: int, text_dim: int, depth: int):
        super().__init__()
        self.layers = nn.ModuleList(AdaptiveConv2d(channels, channels, text_dim, kernel=1) for _ in range(depth))
        self.biases = nn.ParameterList(nn.Parameter(torch.zeros(channels, 1, 1)) for _ in range(depth))
        self.conditional = EqualizedConv2d(channels, 1, kernel=1)
        self.unconditional = EqualizedConv2d(channels, 1, kernel=1)

    def forward(self, x: Float[Tensor, "b c s s"], descriptor: Float[Tensor, "b text_dim"]) -> Float[Tensor, "b _"]:
        y = x
        for layer, bias in zip(self.layers, self.biases, strict=True):
            y = lrelu(layer(y, descriptor) + bias)
        return (self.conditional(y) + self.unconditional(x)).flatten(1)


class GigaGANDiscriminator(nn.Module):
    """Scores each picture of a pyramid against one caption or several.

    Args:
        adapter: frozen TextDescriptors to learned ones; only the global descriptor is used.
        drawings: how many drawings of a prompt D is told apart (`TextDescriptors.drawing`); 0: it is not told.
    """

    def __init__(self, config: GigaGANDiscriminatorConfig, adapter: nn.Module | None, text_dim: int, drawings: int = 0):
        super().__init__()
        self.inputs, self.outputs, self.activation_checkpointing = config.inputs, config.outputs, config.activation_checkpointing
        self.adapter = adapter
        self.drawing = nn.Embedding(drawings + 1, text_dim) if drawings else None
        sides = {4 * 2**i: i for i in range(len(config.channels))}
        self.from_rgb = nn.ModuleDict({str(r): EqualizedConv2d(3, config.channels[sides[r]]) for r in config.inputs})
        self.stages = nn.ModuleDict({str(r): DiscriminatorStage(i, config) for r, i in reversed(sides.items()) if r <= config.inputs[0]})
        width = {1: config.channels[0]} | {r: config.channels[i] for r, i in sides.items()}
        self.heads = nn.ModuleDict({str(r): Head(width[r], text_dim, config.head_depth) for r in config.outputs})
        weight_in = dict(zip(config.inputs, config.input_weights, strict=True))
        weight_out = dict(zip(config.outputs, config.output_weights, strict=True))
        pairs = [(i, j) for j in config.outputs for i in config.inputs if i > j]
        self.weights = tuple(weight_in[i] * weight_out[j] for i, j in pairs)

    def prepare(self, device) -> None:
        """Nothing of it is frozen, so nothing is read."""

    def forward(self, pyramid: ImagePyramid, text: TextDescriptors, *pairings: Int[Tensor, " b"]) -> tuple[Verdict, ...]:
        """A Verdict for each pairing.

        A pairing says for every picture which prompt it is scored against (none given: picture i against prompt i). The learned text
        layers run once per prompt, the image features once per picture, only the heads once per pairing.
        """
        if self.adapter is not None:
            text = self.adapter(text)
        descriptors = text.pooled if self.drawing is None else text.pooled + self.drawing(text.drawing)
        maps = self.features(pyramid)
        verdicts = []
        for descriptor in [descriptors[pairing] for pairing in pairings] or [descriptors]:
            logits = [logit.float() for side, x in maps.items() for logit in self._read(side, x, descriptor)]
            verdicts.append(Verdict(tuple(logits), self.weights))
        return tuple(verdicts)

    def features(self, pyramid: ImagePyramid) -> dict[int, Tensor]:
        """Maps at every output side, with the levels stacked on the batch axis, finest first."""
        levels = {level.shape[-1]: level for level in pyramid.levels}
        x, maps = None, {}
        for name, stage in self.stages.items():
            side = int(name)
            if side in levels:
                entering = lrelu(self.from_rgb[name](levels[side].contiguous(memory_format=torch.channels_last)))
                x = entering if x is None else torch.cat([x, entering])
            x = checkpoint_stage(stage, self.activation_checkpointing, x)
            reached = 1 if side == 4 else side // 2
            if reached in self.outputs:
                maps[reached] = x
        return maps

    def _read(self, side: int, x: Tensor, descriptor: Tensor) -> tuple[Tensor, ...]:
        streams = len(x) // len(descriptor)
        return self.heads[str(side)](x, descriptor.repeat(streams, 1)).chunk(streams)
