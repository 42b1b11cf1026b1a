"""A set of images in shards, at one size: their pixels, a hash of their content, their features."""

import hashlib
import io
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from t2igan.data.images import center_square, open_image, to_signed
from t2igan.data.shards import Shards
from t2igan.errors import UserError
from t2igan.features.base import FeatureNetwork
from t2igan.metrics.chunks import CHUNK_SIZE, DistributedState, feature_file, run_in_chunks, write_features


class ImageSet:
    """The images of webdataset shards, in order.

    Args:
        side: every image is cropped at its centre and reduced to this size by Lanczos; an image of this size is not changed.
        one_size: whether to refuse images of several sizes; the images of a set that is scored should have one size.
    """

    def __init__(self, shards: Shards, side: int, one_size: bool = True):
        self.shards, self.side, self.one_size = shards, side, one_size
        self.stored = self._open(0).size
        self.format = Image.open(io.BytesIO(shards.read(0).image)).format  # such as PNG; JPEG has artefacts that change metrics

    def __len__(self) -> int:
        return len(self.shards)

    def _open(self, number: int) -> Image.Image:
        try:
            return open_image(io.BytesIO(self.shards.read(number).image))
        except (OSError, ValueError) as error:
            raise UserError(f"image {number} of {self.shards.files[0].parent} cannot be read ({error}); make the shards again") from None

    def read(self, numbers: Sequence[int]) -> UInt8[Tensor, "b 3 r r"]:
        """Raises UserError where an image is broken, or differs in size from the first one where `one_size` is set."""
        rows = []
        for number in numbers:
            image = self._open(number)
            if self.one_size and image.size != self.stored:
                raise UserError(
                    f"image {number} of {self.shards.files[0].parent} is {image.size[0]}x{image.size[1]}, the first is "
                    f"{self.stored[0]}x{self.stored[1]}; give a set of images of one size"
                )
            rows.append(np.asarray(center_square(image, self.side)))
        return torch.from_numpy(np.stack(rows)).permute(0, 3, 1, 2)

    @cached_property
    def content(self) -> str:
        """SHA-256 of the bytes of the shards, so that features in a cache never belong to other images."""
        digest = hashlib.sha256()
        for path in self.shards.files:
            with open(path, "rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        return digest.hexdigest()

    def key(self, network: FeatureNetwork) -> str:
        """A folder name for features: a hash of everything that decides them, and of the number of images in a file."""
        parts = (self.content, str(self.side), str(CHUNK_SIZE), network.fingerprint(), *network.layers)
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:24]

    def extract(self, network: FeatureNetwork, folder: Path, state: DistributedState, label: str) -> None:
        """Writes the features of every image into `folder`, chunk by chunk, in all processes."""

        def make(chunk: range, file: Path) -> None:
            with torch.no_grad():
                features = network(to_signed(self.read(chunk).to(state.device)))
            write_features(features, file)

        run_in_chunks(len(self), lambda number: feature_file(folder, number), make, state, label)
