"""The published protocols: "FID-30k" is one name for several numbers that must not be compared with each other.

Two are for zero-shot COCO: both compare 30,000 images generated from val2014's captions with all 40,504 images of val2014, centre-cropped
to the short side and reduced to 256 px by Pillow's Lanczos; they differ in everything below. The third is for any set of images.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from t2igan.data.order import hashed, shuffled
from t2igan.errors import UserError

REFERENCE_SIDE = 256
EXTRACTORS = {"torch_fidelity": "tensorflow", "clean_fid": "clean"}  # the packages that resize so before Inception


@dataclass(frozen=True)
class Protocol:
    """Everything that decides the metrics besides the model and the images."""

    name: str
    extractor: str  # how images are resized for Inception
    clip: str  # the CLIP of the published CLIP scores, an open_clip name
    clip_pretrained: str  # and its tag
    clip_prefix: str  # words before every caption
    clip_antialias: bool  # whether the resize before CLIP averages
    repeats: bool  # whether a reference image may be sampled more than once
    native: bool  # whether images below 256 px are compared at their size, with real ones reduced to it; otherwise all are at 256 px
    images: int = 30_000
    largest: int | None = REFERENCE_SIDE  # px, at which larger images are compared; None: at their own size

    def side(self, resolution: int) -> int:
        """The size at which generated images of `resolution` are compared with real ones."""
        if self.largest is None:
            return resolution
        return min(resolution, self.largest) if self.native else self.largest

    def with_extractor(self, extractor: str | None) -> "Protocol":
        if extractor and extractor not in EXTRACTORS:
            raise UserError(f"--extractor is {extractor!r}, needs one of {', '.join(EXTRACTORS)}")
        return replace(self, extractor=extractor or self.extractor)

    def prompt(self, caption: str) -> str:
        """The text for CLIP. GigaGAN's release inserts the tokens of its prefix after the start token, truncates to 77 tokens and puts the
        end token last; prefix and caption, joined by a space, have the same tokens."""
        return f"{self.clip_prefix} {caption}" if self.clip_prefix else caption


PROTOCOLS = {
    # Sauer et al. 2023 (arXiv:2301.09515), section 5, and its release: one caption per image, images sampled with replacement
    "stylegan_t": Protocol("stylegan_t", "torch_fidelity", "ViT-g-14", "laion2b_s12b_b42k", "", False, repeats=True, native=True),
    # Kang et al. 2023 (arXiv:2303.05511), section 4, and its evaluation code
    "gigagan": Protocol("gigagan", "clean_fid", "ViT-B-32-quickgelu", "openai", "A photo depicts", True, repeats=False, native=False),
    # Karras et al. 2020 (arXiv:2006.06676) and releases after it: labels as often as the set has them, all real images, as they are
    "stylegan": Protocol("stylegan", "torch_fidelity", "ViT-B-32-quickgelu", "openai", "", True, True, True, 50_000, largest=None),
}


@dataclass(frozen=True)
class SampleRequest:
    """One image to generate: a caption of a reference image, and its seed."""

    caption: str
    seed: int
    reference: int | None = None  # number of the reference image whose caption it is


def sample_requests(captions: Sequence[Sequence[str]], protocol: Protocol, count: int, seed: int) -> list[SampleRequest]:
    """`count` captions of the reference images, in an order that (captions, protocol, count, seed) decide.

    Each image contributes one of its captions. With repeats, images are sampled uniformly with replacement; without, at most once.

    Raises:
        UserError: there is no caption, or `count` is larger than the protocol allows.
    """
    if not captions:
        raise UserError("the reference has no captions")
    if not protocol.repeats and count > len(captions):
        raise UserError(f"{count} captions without repeats need as many reference images, got {len(captions)}; lower --count")
    positions = np.arange(count)
    chosen = hashed(seed, positions, 2) % np.uint64(len(captions)) if protocol.repeats else shuffled(positions, len(captions), seed)
    picks = hashed(seed, chosen, 3)
    rows = zip(chosen.tolist(), picks.tolist(), strict=True)
    return [
        SampleRequest(captions[number][pick % len(captions[number])], seed * count + i, number) for i, (number, pick) in enumerate(rows)
    ]


def given_requests(lines: Sequence[str], seed: int) -> list[SampleRequest]:
    """Requests for a recorded list of captions, in order. Raises UserError where the list or a caption is empty."""
    if not lines:
        raise UserError("the list of captions is empty; give one caption per line")
    empty = next((number for number, line in enumerate(lines, 1) if not line.strip()), None)
    if empty:
        raise UserError(f"caption {empty} of {len(lines)} is empty; give one caption per line")
    return [SampleRequest(line, seed * len(lines) + i) for i, line in enumerate(lines)]


def captions_hash(requests: Sequence[SampleRequest]) -> str:
    """SHA-256 of the captions in order, each with its seed."""
    return hashlib.sha256("\n".join(f"{request.seed}\t{request.caption}" for request in requests).encode()).hexdigest()
