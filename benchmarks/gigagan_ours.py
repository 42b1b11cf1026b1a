"""Our side of benchmarks/gigagan.py: a recipe of the peer's widths, drawn and trained as every recipe is."""

import io
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmarks.gigagan import ALONE, PENALTY_EVERY
from t2igan.config import Recipe
from t2igan.data.write import Sample, write_shards
from t2igan.layers.folded import fold
from t2igan.pyramid import build_pyramid
from t2igan.recipe import parse
from t2igan.system import build_discriminator, build_generator, build_system
from t2igan.training.trainer import Trainer
from t2igan.types import Fake, TextDescriptors, Tokens, TrainingTime

SIZES = {"small": (16, 32, 64, 128, 256), "base": (64, 128, 256, 512, 512)}  # channels, 64 px first
BLOCKS = {
    "small": ([2, 2, 2, 2, 2], [4, 3, 2, 2, 2]),
    "base": ([2, 1, 1, 1, 1], [5, 5, 2, 1, 1]),
}  # of G and D, 4 px first: the peer's size
TOKENS, TEXT_DIM, TEXT_WIDTH = 32, 512, 128


class Ours:
    """A recipe of the peer's widths, and the trainer that every recipe has."""

    def __init__(self, size: str, batch: int, precision: str):
        self.precision = precision
        recipe = parse(Recipe, our_recipe(size, batch, precision, write_noise(Path("shards"))), "")
        self.trainer = our_trainer(recipe, Path("run"))
        self.batch = self.trainer.dataset[0]
        self.text = self.trainer.describe(self.batch.captions)
        upsampler = build_generator(parse(Recipe, our_upsampler(batch), "").generator, TEXT_DIM, TEXT_DIM)
        convolutional = build_generator(without_attention(recipe.generator), TEXT_DIM, TEXT_DIM)
        parts = {"u": upsampler, "G": self.trainer.generator, "D": self.trainer.discriminator} | dict.fromkeys(ALONE, convolutional)
        self.parameters = {name: sum(p.numel() for p in module.parameters()) for name, module in parts.items()}
        self.drawing = fold(deepcopy(self.trainer.generator))  # as Pipeline.load and Upsampler.load have them
        self.upsampler, self.convolutional = (fold(g.to(memory_format=torch.channels_last)) for g in (upsampler, convolutional))
        self.z, self.low = torch.randn(batch, 128), torch.randn(batch, 3, 64, 64)
        source = Tokens(torch.zeros(batch, TOKENS, dtype=torch.long), torch.ones(batch, TOKENS, dtype=torch.bool))
        self.text_of_upsampler = TextDescriptors(torch.randn(batch, TOKENS, TEXT_DIM), torch.randn(batch, TEXT_DIM), source)

    def size(self, work: str) -> int:
        if work == "step":
            return self.parameters["G"] + self.parameters["D"]
        return self.parameters.get(work) or self.parameters[work[0]]

    def g_forward(self) -> None:
        with torch.no_grad(), self.trainer.autocast():
            self.drawing(self.z, self.text)

    def g_convolutional(self) -> None:
        with torch.no_grad(), self.trainer.autocast():
            self.convolutional(self.z, self.text)

    def d_backward(self, penalty: bool) -> None:
        levels = build_pyramid(self.batch.images, self.trainer.sides)
        now = TrainingTime(0, 0 if penalty else 1)
        with self.trainer.autocast():
            losses = self.trainer.objective.discriminator_losses(
                self.trainer.discriminator,
                levels,
                Fake(levels, self.z[:, None]),
                levels,
                self.text,
                self.batch.captions,
                self.batch.names,
                now,
            )
            losses.total.backward()
        self.trainer.discriminator.zero_grad()

    def upsample(self) -> None:
        with torch.no_grad(), self.trainer.autocast():
            self.upsampler(self.z, self.text_of_upsampler, low=self.low)

    def step(self, number: int) -> None:
        self.trainer.images = number * self.trainer.config.batch
        self.trainer.step(self.batch)


def our_recipe(size: str, batch: int, precision: str, shards: Path) -> dict:
    channels, adapter = list(SIZES[size][::-1]), {"depth": 2, "width": TEXT_WIDTH, "head_dim": 64, "summary": "end"}
    return {
        "name": size, "resolution": 64, "data": {"shards": str(shards)}, "text": {"kind": "none"},
        "generator": {
            "adapter": adapter,
            "style": {"kind": "mapping", "z_dim": 128, "style_dim": 512, "depth": 4},
            "synthesis": {
                "kind": "gigagan", "channels": channels, "blocks": BLOCKS[size][0], "kernels": [2] * 5, "self_attention": [0, 0, 1, 1, 0],
                "cross_attention": [0, 0, 1, 1, 0], "head_dim": 32,
            },
        },
        "discriminator": {
            "adapter": adapter,
            "network": {
                "kind": "gigagan", "channels": channels, "blocks": BLOCKS[size][1], "self_attention": [0, 0, 1, 1, 0],
                "inputs": [64, 32, 16, 8], "outputs": [16, 8, 4, 1],
                "input_weights": [1.0] * 4, "output_weights": [0.1, 0.1, 0.1, 1.0], "head_depth": 4,
            },
        },
        "objective": {
            "discriminator": [{"kind": "nonsaturating"}, {"kind": "matching"}, {"kind": "r1", "every": PENALTY_EVERY}],
            "generator": [{"kind": "nonsaturating"}, {"kind": "matching"}],
        },
        "training": {"images": batch * 1000, "batch": batch, "precision": precision},
    }  # fmt: skip


def without_attention(generator):
    """The same convolutions and nothing else."""
    none = (0,) * len(generator.synthesis.channels)
    return replace(generator, adapter=None, synthesis=replace(generator.synthesis, self_attention=none, cross_attention=none))


def our_upsampler(batch: int) -> dict:
    """The peer's U-Net of dim 16: 256 channels at 8 px to 16 at 128 and 256 px."""
    recipe = our_recipe("small", batch, "fp32", Path("shards"))
    recipe["generator"]["synthesis"] = {
        "kind": "gigagan_upsampler", "low": 64, "downs": 3, "channels": [256, 128, 64, 32, 16, 16], "blocks": [2] * 6, "kernels": [2] * 6,
        "self_attention": [1, 1, 0, 0, 0, 0], "cross_attention": [1, 1, 0, 0, 0, 0], "head_dim": 32,
    }  # fmt: skip
    return recipe


def our_trainer(recipe, out: Path):
    """`t2igan train`'s Trainer with a text encoder that hands out encodings."""

    class Given(torch.nn.Module):
        """Stands where the text tower stands: a random encoding for every caption, always the same one."""

        token_dim = text_dim = TEXT_DIM
        max_tokens = TOKENS

        def load_pretrained(self) -> None:
            pass

        def tokenize(self, prompts) -> Tokens:
            ids = torch.tensor([[abs(hash(prompt)) % 1000] * TOKENS for prompt in prompts])
            return Tokens(ids, torch.ones_like(ids, dtype=torch.bool))

        def truncated_prompt(self, prompt: str) -> str:
            return prompt

        def forward(self, tokens: Tokens) -> TextDescriptors:
            n = len(tokens.ids)
            return TextDescriptors(torch.randn(n, TOKENS, TEXT_DIM), torch.randn(n, TEXT_DIM), tokens)

    system = replace(
        build_system(recipe),
        generator=build_generator(recipe.generator, TEXT_DIM, TEXT_DIM),
        discriminator=build_discriminator(recipe.discriminator, TEXT_DIM, TEXT_DIM, 0),
        text_encoder=Given(),
    )
    return Trainer(recipe, system, out)


def write_noise(folder: Path) -> Path:
    """A few pictures of noise: nothing is read while the clock runs."""
    if folder.is_dir():
        return folder.resolve()
    samples = []
    for number, pixels in enumerate(np.random.default_rng(0).integers(0, 256, (64, 64, 64, 3), dtype=np.uint8)):
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, "PNG")
        samples.append(Sample(f"{number:03d}", stream.getvalue(), [f"thing {number}"], {}))
    write_shards(samples, folder)
    return folder.resolve()
