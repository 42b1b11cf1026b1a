"""The real images and captions that generated images are compared with."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from jaxtyping import UInt8
from torch import Tensor

from t2igan.data.images import decode
from t2igan.data.shards import Record, Shards
from t2igan.errors import UserError
from t2igan.plain_text import parse_json


@dataclass(frozen=True)
class Reference:
    """Shards, and a hash of their content, which does not depend on the machine."""

    shards: Shards
    content: str


def read_shards(pattern: str) -> Reference:
    """Any shards, with captions or without. Raises UserError where there are none."""
    shards = Shards(pattern, captioned=False)
    return Reference(shards, shards.fingerprint)


def read_reference(folder: Path) -> Reference:
    """What data_prep/coco.py made. Raises UserError where the folder is not a reference, or not a complete one."""
    try:
        report = parse_json((folder / "report.json").read_text(encoding="utf-8"))
        content, images = report["content_sha256"], report["pictures"]
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(f"{folder} is no reference; data_prep/coco.py makes one from val2014") from None
    shards = Shards(str(folder))
    if len(shards) != images:
        raise UserError(f"{folder} holds {len(shards)} of the {images} images in its report; copy it again")
    return Reference(shards, content)


def read_records(shards: Shards) -> Iterator[Record]:
    """Every record, in order. Raises UserError where one is broken."""
    for number in range(len(shards)):
        with naming_broken(shards, number):
            record = shards.read(number)
        yield record


def read_captions_of(shards: Shards) -> list[list[str]]:
    """The captions of every image, in order. Raises UserError where an image has none, or they are broken."""
    found = []
    for number in range(len(shards)):
        with naming_broken(shards, number):
            found.append(shards.captions(number))
        if not found[-1][0]:
            raise UserError(f"sample {number} of {shards.files[0].parent} has no caption, which the model takes as its prompt")
    return found


def read_images(shards: Shards, side: int) -> Iterator[tuple[UInt8[Tensor, "3 r r"], Record]]:
    """Every image, cropped at its centre to `side` px, with its record, in order. Raises UserError where one is broken."""
    for number, record in enumerate(read_records(shards)):
        with naming_broken(shards, number):
            image = decode(record.image, side)
        yield image, record


@contextmanager
def naming_broken(shards: Shards, number: int) -> Iterator[None]:
    """Turns what a broken sample raises into a UserError that names it."""
    try:
        yield
    except UserError:
        raise
    except (OSError, ValueError) as error:
        raise UserError(f"sample {number} of {shards.files[0].parent} is broken ({error}); make the shards again") from None
