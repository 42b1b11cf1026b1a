"""`t2igan upsample`: image files of any size to larger ones."""

import argparse
from pathlib import Path

from t2igan.commands.arguments import BF16, check_out_folder, check_positive, check_seed
from t2igan.errors import UserError

HELP = "images from anywhere to larger ones"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="run folder or hub id of an upsampler")
    parser.add_argument("images", nargs="+", type=Path, metavar="IMAGE", help="image files of any size")
    parser.add_argument("--prompt", help="what they show (default: left open)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--times", type=int, default=1, help="2: the enlarged images are enlarged again")
    parser.add_argument("--tile", type=int, help="px of an image that are enlarged at once (default: the side it was trained on)")
    parser.add_argument("--overlap", type=int, help="px that neighbouring tiles share (default: half a tile; less is faster)")
    parser.add_argument("--bf16", action="store_true", help=BF16)
    parser.add_argument("--out", type=Path, required=True, help="folder for the enlarged images, as PNG")


def run(arguments: argparse.Namespace) -> None:
    check_arguments(arguments)

    from t2igan.data.images import open_image, save_image
    from t2igan.inference.upsampler import Upsampler
    from t2igan.text.cache import default_cache

    def read(path: Path):
        try:
            return open_image(path)
        except OSError as error:
            raise UserError(f"{path}: {error}") from None

    images = [read(path) for path in arguments.images]
    upsampler = Upsampler.load(arguments.model, cache=default_cache())
    upsampler.bf16 = arguments.bf16
    for path, image in zip(arguments.images, images, strict=True):
        try:
            upsampler.check([image.size], arguments.tile, arguments.overlap)
        except UserError as error:
            raise UserError(f"{path}: {error}") from None
    prompts = None if arguments.prompt is None else [arguments.prompt]
    for path, image in zip(arguments.images, images, strict=True):
        for _ in range(arguments.times):
            (image,) = upsampler([image], prompts, arguments.seed, arguments.tile, arguments.overlap)
        arguments.out.mkdir(parents=True, exist_ok=True)
        save_image(image, arguments.out / f"{path.stem}.png")
    print(f"{len(images)} image{'s' * (len(images) > 1)} in {arguments.out}")


def check_arguments(arguments: argparse.Namespace) -> None:
    """Raises UserError for what is known to be wrong before the model is loaded."""
    check_seed("--seed", arguments.seed)
    check_out_folder(arguments.out)
    check_positive("--times", arguments.times)
    if arguments.prompt is not None and not arguments.prompt.strip():
        raise UserError("--prompt is empty; describe the images, or leave it out")
    names = [path.stem for path in arguments.images]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise UserError(f"two images are called {twice}, and one would overwrite the other's enlargement; use a folder for each")
    for path in arguments.images:
        target = arguments.out / f"{path.stem}.png"
        if target.exists() and arguments.out.samefile(path.parent):
            raise UserError(f"{target}, which lies beside the originals, would be overwritten by an enlargement; choose another --out")
