"""Images of any size, with or without prompts, to larger images, tile by tile."""

from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from t2igan.data.images import on_white, to_pil, to_signed
from t2igan.errors import UserError
from t2igan.inference.pipeline import NO_PROMPT, PREVIEW_IMAGES, GeneratorRunner, Rows, as_list, draw_latent
from t2igan.layers.resample import resize_bicubic
from t2igan.synthesis.generator import Generator
from t2igan.text.cache import CaptionEncoder

MIN_TILE = 32  # px of the small image
PADDING_REACH = 4  # px of the small image: as far the network's zero padding changes a tile, so this border yields to the neighbour


class Upsampler(GeneratorRunner):
    """`Upsampler.load("runs/upsampler")(images, prompts)` gives PIL images `factor` times as large.

    Images larger than a tile are enlarged in overlapping tiles that are blended; one style serves all tiles.
    """

    starts_from_image = True
    other_kind = "is not an upsampler, it starts from prompts alone; use `t2igan sample`"

    def __init__(self, generator: Generator, encode_text: CaptionEncoder, resolution: int):
        super().__init__(generator, encode_text, resolution)
        self.low_resolution, self.multiple = generator.synthesis.low_resolution, generator.synthesis.multiple
        self.factor = resolution // self.low_resolution

    def check(self, sizes: Sequence[tuple[int, int]], tile: int | None = None, overlap: int | None = None) -> None:
        """Raises UserError where images of these sizes (width, height), or in such tiles, cannot be enlarged."""
        for width, height in sizes:
            if min(height, width) < self.low_resolution:
                raise UserError(
                    f"an image is {width} x {height} px, this upsampler takes {self.low_resolution} px or more each way; enlarge it first"
                )
        self.tile_layout(tile, overlap)

    def __call__(
        self,
        images: Sequence[Image.Image],
        prompts: str | Sequence[str] | None = None,
        seed: int = 0,
        tile: int | None = None,
        overlap: int | None = None,
        batch: int = 8,
    ) -> list[Image.Image]:
        """Larger images.

        Args:
            images: of any size and mode; transparency becomes white.
            prompts: one for each image; None leaves their content open.
            tile: px of the small image that are enlarged at once; None: the side that the upsampler was trained on, 32 at least.
            overlap: px of the small image that neighbouring tiles share; None: half a tile, where no border shows; less is faster.
            batch: tiles per forward pass.

        Raises:
            UserError: another number of prompts, a prompt for a model without text, images smaller than those that the upsampler was
                trained on, or sizes of tiles that do not fit.
        """
        prompts = as_list(prompts) if prompts is not None else [NO_PROMPT] * len(images)
        if len(prompts) != len(images):
            raise UserError(f"{len(prompts)} prompts for {len(images)} images; give one for each, or none")
        self.check([image.size for image in images], tile, overlap)
        done = []
        for image, prompt in zip(images, prompts, strict=True):
            pixels = torch.from_numpy(np.asarray(on_white(image)).copy()).permute(2, 0, 1)
            done.append(to_pil(self.upsample_tensor(to_signed(pixels[None]), prompt, seed, tile, overlap, batch)[0]))
        return done

    def preview(self, prompts: Sequence[str], images: Float[Tensor, "b 3 r r"], captions: Sequence[str]) -> tuple[Rows, list[str]]:
        """A row of a small image, its enlargement and the real image for each of the first images of the data."""
        real = [to_pil(image) for image in images[:PREVIEW_IMAGES]]
        captions = list(captions[:PREVIEW_IMAGES])
        small = [to_pil(image) for image in resize_bicubic(images[:PREVIEW_IMAGES], self.low_resolution)]
        large = self(small, captions if self.conditional else None)
        rows = [[a.resize(b.size, Image.Resampling.NEAREST), b, c] for a, b, c in zip(small, large, real, strict=True)]
        return rows, captions

    @torch.no_grad()
    def upsample_tensor(
        self,
        image: Float[Tensor, "1 3 h w"],
        prompt: str = NO_PROMPT,
        seed: int = 0,
        tile: int | None = None,
        overlap: int | None = None,
        batch: int = 8,
    ) -> Float[Tensor, "1 3 h2 w2"]:
        """One image in [-1, 1] to a larger one, on the CPU."""
        self.refuse_unusable([prompt])
        height, width = image.shape[2:]
        self.check([(width, height)], tile, overlap)
        tile, overlap = self.tile_layout(tile, overlap)
        stages = self.generator.synthesis.num_styles
        text = self.generator.adapt(self.encode_text([prompt]).to(self.device))
        z = draw_latent(seed, self.generator.mapper.z_dim)[None].to(self.device)
        styles = self.generator.mapper(z, text, stages)

        padded = F.pad(image, (0, -width % self.multiple, 0, -height % self.multiple), mode="replicate")
        sizes = padded.shape[2:]
        sides = [min(tile, size) for size in sizes]
        starts = [tile_starts(size, side, overlap, self.multiple) for size, side in zip(sizes, sides, strict=True)]
        f = self.factor
        total, weights = torch.zeros(1, 3, *(f * size for size in sizes)), torch.zeros(*(f * size for size in sizes))
        for corners in tqdm(list(in_batches(list(product(*starts)), batch)), "upsampling", delay=5, disable=None, leave=False):
            tiles = torch.cat([padded[:, :, y : y + sides[0], x : x + sides[1]] for y, x in corners]).to(self.device)
            texts = [text[[0] * len(corners)]] * stages
            with self.autocast():
                large = self._synthesize(styles.expand(len(corners), -1, -1), texts, tiles).pyramid.finest.cpu()
            for (y, x), enlarged in zip(corners, large, strict=True):
                down, across = (
                    tile_weight(side, overlap, f, first=start == 0, last=start + side == size)
                    for side, start, size in zip(sides, (y, x), sizes, strict=True)
                )
                window = down[:, None] * across
                place = (..., slice(f * y, f * (y + sides[0])), slice(f * x, f * (x + sides[1])))
                total[place] += window * enlarged
                weights[place] += window
        return (total / weights)[..., : f * height, : f * width]

    def tile_layout(self, tile: int | None, overlap: int | None) -> tuple[int, int]:
        """The tile and the overlap to use, in px of the small image. Raises UserError where tiles cannot be laid so."""
        tile = max(self.low_resolution, MIN_TILE) if tile is None else tile
        if tile < self.low_resolution or tile % self.multiple:
            raise UserError(f"a tile is {tile} px, needs a multiple of {self.multiple} px from {self.low_resolution} px on")
        overlap = tile // 2 if overlap is None else overlap
        if not 2 * PADDING_REACH < overlap <= tile // 2:
            raise UserError(f"tiles of {tile} px overlap by {overlap} px, needs more than {2 * PADDING_REACH} px and at most half a tile")
        return tile, overlap


def tile_starts(size: int, tile: int, overlap: int, multiple: int) -> list[int]:
    """Where tiles begin so that they cover `size` px and neighbours share at least `overlap`: evenly spaced, at multiples of `multiple` px.

    The network halves its map until one place is `multiple` px; a tile that begins between two places would come out a little differently.
    `size` and `tile` are multiples too.
    """
    if size <= tile:
        return [0]
    way, stride = (size - tile) // multiple, (tile - overlap) // multiple
    count = -(-way // stride)
    return [multiple * round(i * way / count) for i in range(count + 1)]


def tile_weight(tile: int, overlap: int, factor: int, first: bool, last: bool) -> Float[Tensor, " r"]:
    """A tile's weight along one axis of the large image: 1 inside, falling to 0 over the overlap, but not at the image's own border."""
    at = (torch.arange(tile * factor) + 0.5) / factor
    ramp = overlap - 2 * PADDING_REACH
    rising, falling = ((distance - PADDING_REACH) / ramp for distance in (at, tile - at))
    one = torch.ones_like(at)
    return (one if first else rising.clamp(0, 1)) * (one if last else falling.clamp(0, 1))


def in_batches(items: list, size: int) -> Iterator[list]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
