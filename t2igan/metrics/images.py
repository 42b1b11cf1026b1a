"""Sets of pictures in shards, at one size: their bytes, their content's hash, their features."""

import hashlib
import io
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from t2igan.data.images import to_signed
from t2igan.data.render import centre_square, open_picture
from t2igan.data.shards import Shards
from t2igan.errors import UserError
from t2igan.features.base import FeatureNetwork
from t2igan.metrics.chunks import SIZE, feature_file, run_in_chunks, write_features


class ImageSet:
    """Pictures of webdataset shards, in order.

    Args:
        side: to which every picture is cropped at its centre and reduced by Lanczos; where it has that size, nothing is done.
        one_size: whether pictures of several sizes are refused, as a set that is scored should have one.
    """

    def __init__(self, shards: Shards, side: int, one_size: bool = True):
        self.shards, self.side, self.one_size = shards, side, one_size
        self.stored = self._open(0).size
        self.format = Image.open(io.BytesIO(shards.read(0).image)).format  # such as PNG; JPEG has artefacts that metrics see

    def __len__(self) -> int:
        return len(self.shards)

    def _open(self, number: int):
        try:
            return open_picture(io.BytesIO(self.shards.read(number).image))
        except (OSError, ValueError) as error:
            raise UserError(f"picture {number} of {self.shards.files[0].parent} cannot be read ({error}); make the shards again") from None

    def read(self, numbers: range) -> UInt8[Tensor, "b 3 r r"]:
        """Raises UserError where a picture is broken, or of another size than the first where all must be of one."""
        rows = []
        for number in numbers:
            picture = self._open(number)
            if self.one_size and picture.size != self.stored:
                raise UserError(
                    f"picture {number} of {self.shards.files[0].parent} is {picture.size[0]}x{picture.size[1]}, the first is "
                    f"{self.stored[0]}x{self.stored[1]}; a set that is scored has pictures of one size"
                )
            rows.append(np.asarray(centre_square(picture, self.side)))
        return torch.from_numpy(np.stack(rows)).permute(0, 3, 1, 2)

    @cached_property
    def content(self) -> str:
        """SHA-256 of the shards' bytes, so that no cache outlives its pictures."""
        digest = hashlib.sha256()
        for path in self.shards.files:
            with open(path, "rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        return digest.hexdigest()

    def key(self, network: FeatureNetwork) -> str:
        """Names features by all that decides them, and how many stand in a file."""
        parts = (self.content, str(self.side), str(SIZE), network.fingerprint(), *network.layers)
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:24]

    def extract(self, network: FeatureNetwork, folder: Path, state, label: str) -> None:
        """Features of every picture into `folder`, piece by piece, in all processes."""

        def make(piece: range, file: Path) -> None:
            with torch.no_grad():
                features = network(to_signed(self.read(piece).to(state.device)))
            write_features(features, file)

        run_in_chunks(len(self), lambda number: feature_file(folder, number), make, state, label)
