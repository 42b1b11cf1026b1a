"""Arguments that several commands take, and the checks that need no library."""

import argparse
from pathlib import Path

from t2igan.errors import UserError

IMAGE_ENDINGS = (".png", ".jpg", ".jpeg", ".webp")  # an --out with one of these endings is one grid
OTHER_ENDINGS = (".avif", ".bmp", ".gif", ".heic", ".jp2", ".jxl", ".mp4", ".pdf", ".psd", ".svg", ".tga", ".tif", ".tiff")  # of no folder
MODEL = "run folder, the model folder inside it, or a hub id ORG/NAME"
MAX_SEED = 2**63 - 1
MAX_SEEDS = 100_000  # of one call
BF16 = "half precision: pays where the device computes faster in it"


def add_recipe(parser: argparse.ArgumentParser, help: str) -> None:
    parser.add_argument("recipe", help=help)
    parser.add_argument("overrides", nargs="*", metavar="section.key=value", help="values to set in the recipe")


def add_truncation(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--truncation", type=float, default=1.0, help="below 1: closer to the prompt's mean image, less varied")


def check_out_folder(folder: Path) -> None:
    if folder.is_file():
        raise UserError(f"--out needs a folder, {folder} is a file; choose another name")


def check_out_file(path: Path) -> None:
    """Raises UserError where no file can be written, as is known before the work."""
    if path.is_dir():
        raise UserError(f"--out needs a file, {path} is a folder; choose another name")
    check_out_folder(path.parent)


def check_result(path: Path) -> None:
    """Raises UserError where --out cannot be a result.json, as is known before the work."""
    if path.suffix.lower() != ".json":
        raise UserError(f"--out is {path}, needs a name that ends in .json")
    check_out_file(path)


def check_picture(path: Path | None) -> None:
    """Raises UserError where --picture cannot be written, as is known before the work."""
    if path is None:
        return
    if path.suffix.lower() not in IMAGE_ENDINGS:
        raise UserError(f"--picture is {path}, needs a name that ends in {', '.join(IMAGE_ENDINGS)}")
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise UserError(f"--picture {path}: {'that is a folder' if path.is_dir() else f'there is no folder {path.parent}'}; choose another")


def check_out_image_or_folder(path: Path) -> bool:
    """Whether --out is one image; else it is a folder. Raises UserError where it can be neither."""
    ending = path.suffix.lower()
    if ending in IMAGE_ENDINGS:
        check_out_file(path)
        return True
    if ending in OTHER_ENDINGS and not path.is_dir():
        raise UserError(f"--out is {path}, an image ends in {', '.join(IMAGE_ENDINGS)}; a folder of single files needs another name")
    check_out_folder(path)
    return False


def check_truncation(option: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise UserError(f"{option} is {value}, needs a number from 0 (the mean image) to 1 (as trained)")


def check_seed(option: str, value: int) -> None:
    if not 0 <= value <= MAX_SEED:
        raise UserError(f"{option} is {value}, needs a whole number from 0 to 2^63 - 1")


def check_positive(option: str, value: int) -> None:
    if value < 1:
        raise UserError(f"{option} is {value}, needs a whole number above 0")


def parse_seeds(text: str, option: str = "--seeds") -> list[int]:
    """`0-3,7` to [0, 1, 2, 3, 7]; each seed once."""
    seeds: dict[int, None] = {}
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        ends = (first, last) if dash else (first, first)
        if not all(end.isascii() and end.isdecimal() for end in ends) or int(ends[0][:20]) > int(ends[1][:20]):
            raise UserError(f"{option} is {text[:80]!r}, needs numbers or ranges such as 0-7 or 1,5,9")
        numbers = range(*(int(end[:20]) + place for place, end in enumerate(ends)))
        if numbers[-1] > MAX_SEED:
            raise UserError(f"{option} is {text[:80]!r}, needs numbers up to 2^63 - 1")
        if numbers[-1] - numbers[0] + len(seeds) >= MAX_SEEDS:  # len() of a longer range would overflow
            raise UserError(f"{option} is {text[:80]!r}, more than {MAX_SEEDS:,} in one call; make several")
        seeds |= dict.fromkeys(numbers)
    return list(seeds)
