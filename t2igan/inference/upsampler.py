"""Small pictures and prompts to large pictures: an upsampler as a product, for pictures of any size and from anywhere."""

from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from einops import repeat
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from t2igan.data.images import on_white, to_pil, to_signed
from t2igan.errors import UserError
from t2igan.inference.pipeline import GeneratorRunner, draw_latent, load_generator, model_folder, read_config
from t2igan.synthesis.generator import Generator
from t2igan.text.cache import CaptionEncoder

LEAST_TILE = 32  # px, small side
UNCERTAIN = 4  # px at a tile's border, small side, that are never shown where a neighbour has them: padding reaches in from there


class Upsampler(GeneratorRunner):
    """`Upsampler.load("runs/upsampler")(pictures, prompts)` gives PIL pictures `factor` times as large.

    Pictures larger than a tile are drawn in overlapping tiles that fade into each other; one style serves them all.
    """

    def __init__(self, generator: Generator, describe: CaptionEncoder, resolution: int):
        super().__init__(generator, describe)
        self.low, self.multiple = generator.synthesis.low, generator.synthesis.multiple
        self.factor = resolution // self.low

    def check(self, sizes: Sequence[tuple[int, int]], tile: int | None = None, overlap: int | None = None) -> None:
        """Raises UserError where pictures of these sizes (width, height), or in such tiles, cannot be enlarged."""
        for width, height in sizes:
            if min(height, width) < self.low:
                raise UserError(
                    f"a picture is {width} x {height} px, this upsampler takes {self.low} px or more each way; enlarge it first"
                )
        self.layout(tile, overlap)

    def __call__(
        self,
        pictures: Sequence[Image.Image],
        prompts: Sequence[str] | None = None,
        seed: int = 0,
        tile: int | None = None,
        overlap: int | None = None,
        batch: int = 8,
    ) -> list[Image.Image]:
        """Large pictures.

        Args:
            pictures: of any size and mode; transparency comes on white.
            prompts: what each shows; None leaves it open.
            tile: px of the small picture that are drawn at once; None: the side that the upsampler was trained on, 32 at least.
            overlap: px of the small picture that neighbouring tiles share; None: half a tile, where no border shows; less is faster.

        Raises:
            UserError: another number of prompts, pictures smaller than what the upsampler was trained on, or tiles that cannot be laid.
        """
        prompts = list(prompts) if prompts is not None else [""] * len(pictures)
        if len(prompts) != len(pictures):
            raise UserError(f"{len(prompts)} prompts for {len(pictures)} pictures; give one for each, or none")
        self.check([picture.size for picture in pictures], tile, overlap)
        done = []
        for picture, prompt in zip(pictures, prompts, strict=True):
            pixels = torch.from_numpy(np.asarray(on_white(picture)).copy()).permute(2, 0, 1)
            done.append(to_pil(self.images(to_signed(pixels[None]), prompt, seed, tile, overlap, batch)[0]))
        return done

    @torch.no_grad()
    def images(
        self,
        low: Float[Tensor, "1 3 h w"],
        prompt: str = "",
        seed: int = 0,
        tile: int | None = None,
        overlap: int | None = None,
        batch: int = 8,
    ) -> Float[Tensor, "1 3 h2 w2"]:
        """One picture in [-1, 1] to a large one, on the CPU."""
        height, width = low.shape[2:]
        self.check([(width, height)], tile, overlap)
        tile, overlap = self.layout(tile, overlap)
        text = self.generator.adapt(self.describe([prompt]).to(self.device))
        z = draw_latent(seed, self.generator.mapper.z_dim)[None].to(self.device)
        styles = repeat(self.generator.mapper(z, text), "1 d -> 1 l d", l=self.generator.synthesis.stages_count)

        padded = F.pad(low, (0, -width % self.multiple, 0, -height % self.multiple), mode="replicate")
        sides = [min(tile, side) for side in padded.shape[2:]]
        laid = (starts(size, side, overlap, self.multiple) for size, side in zip(padded.shape[2:], sides, strict=True))
        places = list(product(*laid))
        f = self.factor
        total, weights = torch.zeros(1, 3, *(f * s for s in padded.shape[2:])), torch.zeros(*(f * s for s in padded.shape[2:]))
        for group in tqdm(list(groups(places, batch)), "enlarging", delay=5, disable=None, leave=False):
            tiles = torch.cat([padded[:, :, y : y + sides[0], x : x + sides[1]] for y, x in group]).to(self.device)
            texts = [text[[0] * len(group)]] * self.generator.synthesis.stages_count
            with self.autocast():
                large = self.synthesize(styles.expand(len(group), -1, -1), texts, low=tiles).pyramid.finest.cpu()
            for (y, x), picture in zip(group, large, strict=True):
                down, across = (
                    fade(side, overlap, f, first=start == 0, last=start + side == size)
                    for side, start, size in zip(sides, (y, x), padded.shape[2:], strict=True)
                )
                window = down[:, None] * across
                place = (..., slice(f * y, f * (y + sides[0])), slice(f * x, f * (x + sides[1])))
                total[place] += window * picture
                weights[place] += window
        return (total / weights)[..., : f * height, : f * width]

    def layout(self, tile: int | None, overlap: int | None) -> tuple[int, int]:
        """The tile and the overlap to draw with. Raises UserError where tiles cannot be laid so."""
        tile = max(self.low, LEAST_TILE) if tile is None else tile
        if tile < self.low or tile % self.multiple:
            raise UserError(f"a tile is {tile} px, needs a multiple of {self.multiple} px from {self.low} px on")
        overlap = tile // 2 if overlap is None else overlap
        if not 2 * UNCERTAIN < overlap <= tile // 2:
            raise UserError(f"tiles of {tile} px overlap by {overlap} px, needs more than {2 * UNCERTAIN} px and at most half a tile")
        return tile, overlap

    @classmethod
    def load(cls, folder: Path | str, device: str | torch.device = "cpu", cache: Path | None = None) -> "Upsampler":
        """From a run folder or its `model` folder.

        Raises:
            UserError: the folder holds no upsampler, or its text encoder is missing.
        """
        config = read_config(model_folder(Path(folder)))
        if config.generator.synthesis.low is None:
            raise UserError(f"{folder} is no upsampler, it starts from prompts alone; use `t2igan sample`")
        return cls(*load_generator(Path(folder), device, cache), config.resolution)


def starts(size: int, tile: int, overlap: int, multiple: int) -> list[int]:
    """Where tiles begin so that they cover `size` px and neighbours share at least `overlap`: evenly laid, at multiples of `multiple` px.

    The network halves its map as often; a tile that begins between is drawn a little differently. `size` and `tile` are multiples too.
    """
    if size <= tile:
        return [0]
    way, stride = (size - tile) // multiple, (tile - overlap) // multiple
    count = -(-way // stride)
    return [multiple * round(i * way / count) for i in range(count + 1)]


def fade(tile: int, overlap: int, factor: int, first: bool, last: bool) -> Float[Tensor, " r"]:
    """A tile's weight along one axis at the large scale: 1 inside, falling to 0 over the overlap, but not at the picture's own border."""
    at = (torch.arange(tile * factor) + 0.5) / factor
    ramp = overlap - 2 * UNCERTAIN
    rising, falling = ((distance - UNCERTAIN) / ramp for distance in (at, tile - at))
    one = torch.ones_like(at)
    return (one if first else rising.clamp(0, 1)) * (one if last else falling.clamp(0, 1))


def groups(items: list, size: int) -> Iterator[list]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
