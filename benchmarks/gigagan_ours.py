"""Our side of benchmarks/gigagan.py: a recipe of the peer's widths, generated from and trained as every recipe is."""

from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmarks.gigagan import ALONE, PENALTY_EVERY
from t2igan.config import Recipe
from t2igan.data.images import png_bytes
from t2igan.data.write import Sample, write_shards
from t2igan.layers.folded import fold
from t2igan.pyramid import build_pyramid
from t2igan.recipe import parse
from t2igan.system import build_generator, build_system
from t2igan.text.encoder import TextEncoder
from t2igan.training.run import Run
from t2igan.types import Fake, TextDescriptors, TextDims, Tokens, TrainingTime

SIZES = {"small": (16, 32, 64, 128, 256), "base": (64, 128, 256, 512, 512)}  # channels, 64 px first
BLOCKS = {
    "small": ([2, 2, 2, 2, 2], [4, 3, 2, 2, 2]),
    "base": ([2, 1, 1, 1, 1], [5, 5, 2, 1, 1]),
}  # of G and D, 4 px first: the peer's size
TOKENS, TEXT_DIM, TEXT_WIDTH = 32, 512, 128


class Ours:
    """A recipe of the peer's widths, and the trainer that every recipe has."""

    def __init__(self, size: str, batch: int, precision: str, reuse_fakes: bool = True):
        recipe = parse(Recipe, our_recipe(size, batch, precision, write_noise(Path("shards")), reuse_fakes), "")
        run = our_run(recipe, Path("run"))
        self.trainer, self.batch = run.trainer, run.dataset[0]
        self.micro_batch = self.trainer.prepare(self.batch, "D")
        self.fake = Fake(build_pyramid(self.batch.images, self.trainer.critic.levels), self.micro_batch.z[:, None])
        text, enlarging = TextDims(TEXT_DIM, TEXT_DIM), parse(Recipe, our_upsampler(batch), "")
        upsampler = build_generator(enlarging.generator, enlarging.resolution, text)
        convolutional = build_generator(without_attention(recipe.generator), recipe.resolution, text)
        parts = {"u": upsampler, "G": self.trainer.generator, "D": self.trainer.discriminator} | dict.fromkeys(ALONE, convolutional)
        self.parameters = {name: sum(p.numel() for p in module.parameters()) for name, module in parts.items()}
        self.generator = fold(deepcopy(self.trainer.generator))  # as Pipeline.load and Upsampler.load have them
        self.upsampler, self.convolutional = (fold(g.to(memory_format=torch.channels_last)) for g in (upsampler, convolutional))
        self.z, self.small_images = torch.randn(batch, 128), torch.randn(batch, 3, 64, 64)
        source = Tokens(torch.zeros(batch, TOKENS, dtype=torch.long), torch.ones(batch, TOKENS, dtype=torch.bool))
        self.text_of_upsampler = TextDescriptors(torch.randn(batch, TOKENS, TEXT_DIM), torch.randn(batch, TEXT_DIM), source)

    def size(self, work: str) -> int:
        if work == "step":
            return self.parameters["G"] + self.parameters["D"]
        return self.parameters.get(work) or self.parameters[work[0]]

    def g_forward(self) -> None:
        with torch.no_grad(), self.trainer.autocast():
            self.generator(self.z, self.micro_batch.text)

    def g_convolutional(self) -> None:
        with torch.no_grad(), self.trainer.autocast():
            self.convolutional(self.z, self.micro_batch.text)

    def d_backward(self, penalty: bool) -> None:
        """D's half of a step on real images and on given ones for the generated ones, without its optimizer."""
        now = TrainingTime(0, 0 if penalty else 1)
        with self.trainer.autocast():
            losses = self.trainer.objective.discriminator(self.trainer.critic, self.micro_batch, self.fake, now)
        losses.total.backward()
        self.trainer.discriminator.zero_grad()

    def upsample(self) -> None:
        with torch.no_grad(), self.trainer.autocast():
            self.upsampler(self.z, self.text_of_upsampler, condition=self.small_images)

    def step(self, number: int) -> None:
        self.trainer.images, self.trainer.steps = number * len(self.batch), number
        self.trainer.step(self.batch)


def our_recipe(size: str, batch: int, precision: str, shards: Path, reuse_fakes: bool = True) -> dict:
    """The peer's widths. As published results of this benchmark had it, one pass of G serves both halves of a step (`reuse_fakes`).

    The papers, and the peer, take another pass with new latents for G's half: `reuse_fakes=False`.
    """
    channels, adapter = list(SIZES[size][::-1]), {"depth": 2, "width": TEXT_WIDTH, "head_dim": 64, "pooling": "eos"}
    return {
        "name": size, "resolution": 64, "data": {"shards": str(shards)},
        "text": {"kind": "open_clip", "model": "none", "token_dim": TEXT_DIM, "text_dim": TEXT_DIM, "max_tokens": TOKENS},
        "generator": {
            "adapter": adapter,
            "style": {"kind": "mapping", "z_dim": 128, "style_dim": 512, "depth": 4},
            "synthesis": {
                "kind": "gigagan", "channels": channels, "blocks": BLOCKS[size][0], "num_kernels": [2] * 5,
                "self_attention": [0, 0, 1, 1, 0], "cross_attention": [0, 0, 1, 1, 0], "head_dim": 32,
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
        "training": {"total_images": batch * 1000, "batch": batch, "precision": precision, "reuse_fakes": reuse_fakes},
    }  # fmt: skip


def without_attention(generator):
    """The same convolutions and nothing else."""
    none = (0,) * len(generator.synthesis.channels)
    return replace(generator, adapter=None, synthesis=replace(generator.synthesis, self_attention=none, cross_attention=none))


def our_upsampler(batch: int) -> dict:
    """The peer's U-Net of dim 16: 256 channels at 8 px to 16 at 128 and 256 px."""
    recipe = our_recipe("small", batch, "fp32", Path("shards")) | {"resolution": 256}
    recipe["generator"]["synthesis"] = {
        "kind": "gigagan_upsampler", "low_resolution": 64, "num_downsamples": 3, "channels": [256, 128, 64, 32, 16, 16], "blocks": [2] * 6,
        "num_kernels": [2] * 6, "self_attention": [1, 1, 0, 0, 0, 0], "cross_attention": [1, 1, 0, 0, 0, 0], "head_dim": 32,
    }  # fmt: skip
    return recipe


class RandomEncoder(TextEncoder):
    """Stands where the text tower stands: random descriptors for every caption, which the trainer's cache keeps as it keeps a tower's."""

    def load_pretrained(self) -> None:
        """Nothing to read."""

    def fingerprint(self) -> str:
        return "random"

    def count_parameters(self) -> int:
        return 0

    def tokenize(self, prompts: list[str]) -> Tokens:
        ids = torch.ones(len(prompts), self.max_tokens, dtype=torch.long)
        return Tokens(ids, torch.ones_like(ids, dtype=torch.bool))

    def truncated_prompt(self, prompt: str) -> str:
        return prompt

    def describe(self, tokens: Tokens) -> TextDescriptors:
        n = len(tokens.ids)
        return TextDescriptors(torch.randn(n, self.max_tokens, self.token_dim), torch.randn(n, self.text_dim), tokens)


def our_run(recipe: Recipe, out: Path) -> Run:
    """The Run of `t2igan train`, with random descriptors in place of those of a text tower."""
    system = build_system(recipe)
    text = system.text_encoder
    if text.cacheable:
        system = replace(system, text_encoder=RandomEncoder(text.token_dim, text.text_dim, text.max_tokens))
    return Run(recipe, system, out)


def write_noise(folder: Path) -> Path:
    """A few images of noise: nothing is read while the clock runs."""
    if folder.is_dir():
        return folder.resolve()
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 64, 3), dtype=np.uint8)
    samples = [Sample(f"{number:03d}", png_bytes(Image.fromarray(x)), [f"thing {number}"]) for number, x in enumerate(pixels)]
    write_shards(samples, folder)
    return folder.resolve()
