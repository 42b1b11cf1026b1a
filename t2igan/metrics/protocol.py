"""The published ways to score zero-shot COCO, each a value: "FID-30k" is one name for several numbers that must not be mixed.

Both take 30,000 pictures of val2014's captions against all 40,504 pictures of val2014, centre-cropped to the short side and reduced to
256 px by Pillow's Lanczos; they part in everything below.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from t2igan.data.order import hashed, shuffled
from t2igan.errors import UserError

REFERENCE_SIDE = 256
EXTRACTORS = {"torch_fidelity": "tensorflow", "clean_fid": "clean"}  # names of whole packages for how they resize before Inception


@dataclass(frozen=True)
class Protocol:
    """What decides the figures beside model and pictures."""

    name: str
    extractor: str  # how pictures come to Inception
    clip: str  # the scorer of published CLIP scores, an open_clip name
    clip_pretrained: str  # and its tag
    clip_prefix: str  # words before every caption
    clip_antialias: bool  # of the resize before CLIP
    repeats: bool  # whether a picture's caption may be drawn more than once
    native: bool  # pictures of 256 px or less are compared at their own size, the real ones reduced to it; else all at 256
    pictures: int = 30_000

    def side(self, resolution: int) -> int:
        """At which size pictures of `resolution` are compared with real ones."""
        return min(resolution, REFERENCE_SIDE) if self.native else REFERENCE_SIDE

    def with_extractor(self, extractor: str | None) -> "Protocol":
        if extractor and extractor not in EXTRACTORS:
            raise UserError(f"--extractor is {extractor!r}, needs one of {', '.join(EXTRACTORS)}")
        return replace(self, extractor=extractor or self.extractor)

    def prompt(self, caption: str) -> str:
        """The caption as CLIP reads it. GigaGAN's release puts the tokens of its prefix after the start token and cuts at 77, the last
        the end token: the tokens of the joined words."""
        return f"{self.clip_prefix} {caption}" if self.clip_prefix else caption


PROTOCOLS = {
    # Sauer et al. 2023 (arXiv:2301.09515), section 5, and its release: one caption a picture, drawn with replacement
    "stylegan_t": Protocol("stylegan_t", "torch_fidelity", "ViT-g-14", "laion2b_s12b_b42k", "", False, repeats=True, native=True),
    # Kang et al. 2023 (arXiv:2303.05511), section 4, and its evaluation code
    "gigagan": Protocol("gigagan", "clean_fid", "ViT-B-32-quickgelu", "openai", "A photo depicts", True, repeats=False, native=False),
}


@dataclass(frozen=True)
class Request:
    """One picture to draw: a caption of a reference picture, and its seed."""

    caption: str
    seed: int
    reference: int | None = None  # number of the picture whose caption it is


def draw_requests(captions: Sequence[Sequence[str]], protocol: Protocol, count: int, seed: int) -> list[Request]:
    """`count` captions of the reference pictures, in an order that (captions, protocol, count, seed) decide.

    Each picture speaks by one caption, drawn once. With repeats, pictures are drawn uniformly with replacement; without, each at most once.

    Raises:
        UserError: no captions, or more pictures asked for than may be drawn.
    """
    if not captions:
        raise UserError("the reference has no captions")
    if not protocol.repeats and count > len(captions):
        raise UserError(f"{count} captions without repeats need as many reference pictures, got {len(captions)}; lower --count")
    places = np.arange(count)
    chosen = hashed(seed, places, 2) % np.uint64(len(captions)) if protocol.repeats else shuffled(places, len(captions), seed)
    picks = hashed(seed, chosen, 3)
    rows = zip(chosen.tolist(), picks.tolist(), strict=True)
    return [Request(captions[number][pick % len(captions[number])], seed * count + i, number) for i, (number, pick) in enumerate(rows)]


def given_requests(lines: Sequence[str], seed: int) -> list[Request]:
    """A recorded list of captions. Raises UserError where it is empty or has an empty caption."""
    if not lines:
        raise UserError("the list of captions is empty; give one caption per line")
    empty = next((number for number, line in enumerate(lines, 1) if not line.strip()), None)
    if empty:
        raise UserError(f"caption {empty} of {len(lines)} is empty; give one caption per line")
    return [Request(line, seed * len(lines) + i) for i, line in enumerate(lines)]


def captions_hash(requests: Sequence[Request]) -> str:
    """SHA-256 of the captions in order, each with its seed."""
    return hashlib.sha256("\n".join(f"{request.seed}\t{request.caption}" for request in requests).encode()).hexdigest()
