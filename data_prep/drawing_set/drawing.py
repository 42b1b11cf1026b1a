"""One picture of the set, from its source to its split."""

import io
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

FRAMED, WHOLE, TILE = "framed", "whole", "tile"  # how art is drawn


@dataclass
class Drawing:
    """A captioned picture.

    Attributes:
        key: its name in its source, such as "red-apple"; with the source, unique.
        name: what it shows, in plain lower-case words.
        captions: the primary caption first.
        art: text of an SVG, or an encoded image.
        form: FRAMED (cropped to the art, centred, with a margin), WHOLE (a square SVG as it is) or TILE (pixel art).
        options: the options that its generator was given, by name; empty for what somebody drew.
    """

    source: str
    key: str
    name: str
    captions: list[str]
    art: str | bytes
    form: str = FRAMED
    ground: str = "white"
    options: dict[str, str] = field(default_factory=dict)
    split: str = "train"
    file: Path | None = None  # of the drawn picture, which stays on disk: tens of thousands would fill the memory

    @property
    def image(self) -> Image.Image | None:
        """RGB; None if there is nothing to see."""
        data = self.file.read_bytes()
        return Image.open(io.BytesIO(data)).convert("RGB") if data else None

    @property
    def drawn_by_hand(self) -> bool:
        return not self.options
