"""An upsampler to its PSNR and SSIM beside bicubic and Lanczos, on images whose true large form is known.

Each image is reduced to the upsampler's input size, enlarged again by each method and compared with itself: means over images, with the
standard error of the paired difference.
"""

import io
import statistics
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from t2igan.data.images import decode, to_bytes, to_pil, to_signed
from t2igan.data.shards import Shards
from t2igan.errors import UserError
from t2igan.evaluation.reference import naming_broken, read_records
from t2igan.grids import grid
from t2igan.inference.pipeline import NO_PROMPT
from t2igan.inference.upsampler import Upsampler
from t2igan.layers.resample import resize_bicubic
from t2igan.metrics.similarity import psnr, ssim

SHOWN = 6  # images in the grid
PILLOW = {"bicubic": Image.Resampling.BICUBIC, "lanczos": Image.Resampling.LANCZOS}
METHODS = (*PILLOW, "upsampler")
METRICS = {"psnr": psnr, "ssim": ssim}


@dataclass
class Upsampling:
    """Scores of each method, image by image, and some images to look at."""

    scores: dict[str, dict[str, list[float]]] = field(default_factory=lambda: {method: {m: [] for m in METRICS} for method in METHODS})
    rows: list[list[Image.Image]] = field(default_factory=list)
    captions: list[str] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)  # of each image, where they are asked for

    @property
    def grid(self) -> Image.Image:
        """Each row: the small image, bicubic, Lanczos, the upsampler, the true image."""
        return grid(self.rows, self.captions)

    def result(self) -> dict:
        """Means by method, and the gain of the upsampler over the others."""
        count = len(self.scores["upsampler"]["psnr"])
        result = {"pictures": count}
        for method, metrics in self.scores.items():
            result[method] = {name: statistics.fmean(values) for name, values in metrics.items()}
        for method in PILLOW:
            gains = {}
            for name in METRICS:
                differences = [a - b for a, b in zip(self.scores["upsampler"][name], self.scores[method][name], strict=True)]
                gains[name] = statistics.fmean(differences)
                gains[f"{name}_standard_error"] = statistics.stdev(differences) / count**0.5
                gains[f"{name}_better_on"] = sum(d > 0 for d in differences) / count
            result[f"gain_over_{method}"] = gains
        if self.groups:
            result["groups"] = {name: self.of_group(name) for name in sorted(set(self.groups))}
        return result

    def of_group(self, name: str) -> dict[str, int | float]:
        """How many images a group has, and the mean PSNR of each method on them."""
        rows = [i for i, group in enumerate(self.groups) if group == name]
        return {"pictures": len(rows)} | {method: statistics.fmean(self.scores[method]["psnr"][i] for i in rows) for method in METHODS}


def compare_upsampling(upsampler: Upsampler, data: str, reduce: str = "bicubic", by: str | None = None) -> Upsampling:
    """Enlarges every image of the shards, after reducing it by `reduce`, and scores each method.

    Args:
        data: shards of images at the large size; each caption is the upsampler's prompt.
        reduce: `bicubic`, as in training, or `lanczos`.
        by: the key of the samples' .json whose values make groups.

    Raises:
        UserError: there are fewer than two images, or one is smaller than what it is to be the truth of, or lacks the key.
    """
    shards, low = Shards(data, captioned=upsampler.conditional), upsampler.low_resolution
    side, found = low * upsampler.factor, Upsampling()
    if len(shards) < 2:
        raise UserError(f"{data} holds {len(shards)} image; give two or more")
    if by is not None:
        for number, record in enumerate(read_records(shards)):  # all of them first: the scores take long
            if by not in record.meta:
                raise UserError(f"sample {number} of {data} has no {by!r} in its .json; its keys: {', '.join(record.meta) or 'none'}")
            found.groups.append(str(record.meta[by]))
    for number, record in enumerate(read_records(shards)):
        with naming_broken(shards, number):
            real = to_signed(decode_truth(record.image, side, f"image {number} of {data}")[None])
        prompt = record.captions[0] if upsampler.conditional else NO_PROMPT
        small = reduced(real, low, reduce)
        large = {method: enlarged(small, side, method) for method in PILLOW}
        large["upsampler"] = to_signed(to_bytes(upsampler.upsample_tensor(to_signed(small), prompt)))  # rounded to bytes as the others
        for method, image in large.items():
            for name, metric in METRICS.items():
                found.scores[method][name].append(float(metric(image.double(), real.double())))
        if number % max(1, len(shards) // SHOWN) == 0 and len(found.rows) < SHOWN:
            pixelated = to_pil(to_signed(small)[0]).resize((side, side), Image.Resampling.NEAREST)
            found.rows.append([pixelated, *(to_pil(large[method][0]) for method in METHODS), to_pil(real[0])])
            found.captions.append(f"{prompt}: {low} px, bicubic, Lanczos, upsampler, true".removeprefix(": "))
    return found


def decode_truth(data: bytes, side: int, name: str) -> UInt8[Tensor, "3 r r"]:
    """An image at `side` px that was not enlarged to get there. Raises UserError where it is smaller."""
    width, height = Image.open(io.BytesIO(data)).size
    if min(width, height) < side:
        raise UserError(f"{name} is {width} x {height} px: no truth for images of {side} px; give shards of {side} px or more")
    return decode(data, side)


def reduced(real: Float[Tensor, "1 3 r r"], side: int, method: str) -> UInt8[Tensor, "1 3 s s"]:
    """The image at `side` px, in bytes, as a file of it would hold."""
    if method == "bicubic":
        return to_bytes(resize_bicubic(real, side))
    return resized(real, side, method)


def enlarged(small: UInt8[Tensor, "1 3 s s"], side: int, method: str) -> Float[Tensor, "1 3 r r"]:
    """Pillow's enlargement, in [-1, 1]."""
    return to_signed(resized(to_signed(small), side, method))


def resized(image: Float[Tensor, "1 3 h h"], side: int, method: str) -> UInt8[Tensor, "1 3 r r"]:
    pixels = np.asarray(to_pil(image[0]).resize((side, side), PILLOW[method]))
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None]


def table(result: dict) -> str:
    lines = [f"{result['pictures']} images of {result['data']}", f"{'':10} {'PSNR, dB':>9} {'SSIM':>7}"]
    for method in METHODS:
        lines.append(f"{method:10} {result[method]['psnr']:9.2f} {result[method]['ssim']:7.4f}")
    for method in PILLOW:
        gain = result[f"gain_over_{method}"]
        lines.append(
            f"over {method}: {gain['psnr']:+.2f} +- {gain['psnr_standard_error']:.2f} dB, better on {gain['psnr_better_on']:.0%}; "
            f"SSIM {gain['ssim']:+.4f} +- {gain['ssim_standard_error']:.4f}, better on {gain['ssim_better_on']:.0%}"
        )
    for name, group in result.get("groups", {}).items():
        gain = group["upsampler"] - group["lanczos"]
        lines.append(f"{name}, {group['pictures']} images: {group['upsampler']:.2f} dB, over lanczos {gain:+.2f}")
    return "\n".join(lines)
