"""`t2igan sample`: prompts and seeds to a captioned grid or to single images."""

import argparse
import sys
import warnings
from collections.abc import Iterator
from itertools import chain, islice, product
from pathlib import Path
from typing import TYPE_CHECKING

from t2igan.commands.arguments import BF16, MODEL, add_truncation, check_out_image_or_folder, check_truncation, parse_seeds
from t2igan.errors import UserError

if TYPE_CHECKING:
    from PIL import Image

HELP = "prompts to images"
PROMPTS = "prompts.txt"  # in a folder of single images
AT_A_TIME = 128  # images


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help=MODEL)
    parser.add_argument("prompts", nargs="*", help="what the images show; a model that was trained without text takes none")
    parser.add_argument("--prompts", dest="file", type=Path, help="file with one prompt per line")
    parser.add_argument("--seeds", default="0", help="such as 0-7 or 1,5,9")
    add_truncation(parser)
    parser.add_argument("--global-truncation", type=float, default=1.0, help="below 1: closer to the mean image of all prompts")
    parser.add_argument("--centroids", type=Path, help="file of eval/centroids.py: --truncation pulls to the nearest of them")
    parser.add_argument("--upsampler", help="run folder or hub id of an upsampler that enlarges the images")
    parser.add_argument("--columns", type=int, default=1, help="prompts beside each other in a grid (default: %(default)s)")
    parser.add_argument("--bf16", action="store_true", help=BF16)
    parser.add_argument("--compile", action="store_true", help="torch.compile: slower for the first images, faster for thousands")
    parser.add_argument(
        "--out", type=Path, default=Path("samples.png"), help="PATH.png for one captioned grid, or a folder for single files"
    )


def run(arguments: argparse.Namespace) -> None:
    seeds = parse_seeds(arguments.seeds)
    prompts = arguments.prompts + read_prompts(arguments.file)
    check_truncation("--truncation", arguments.truncation)
    check_truncation("--global-truncation", arguments.global_truncation)
    if arguments.centroids and arguments.truncation == 1:
        raise UserError("--centroids has no use without --truncation below 1; give both")
    is_grid = check_out_image_or_folder(arguments.out)
    if arguments.columns < 1 or (arguments.columns > 1 and not is_grid):
        raise UserError(f"--columns is {arguments.columns}, needs a whole number above 0, and --out one file for the grid")
    columns = min(arguments.columns, max(len(prompts), 1))
    if not is_grid and arguments.file and arguments.file.resolve() == (arguments.out / PROMPTS).resolve():
        raise UserError(f"--prompts {arguments.file} would be overwritten by the list of prompts in --out; choose another folder")

    from t2igan.inference.pipeline import NO_PROMPT, Pipeline, check_prompts
    from t2igan.text.cache import default_cache

    if prompts:  # before the model is loaded; whether it needs any is known afterwards
        check_prompts(prompts)
    warnings.showwarning = lambda message, *_: print(f"warning: {message}", file=sys.stderr)
    warnings.filterwarnings("always", message="prompt cut")  # also when an earlier call in this process has warned of it

    pipeline = Pipeline.load(arguments.model, cache=default_cache())
    if arguments.centroids:
        pipeline.load_centroids(arguments.centroids)
    upsampler = load_upsampler(arguments.upsampler, pipeline.resolution) if arguments.upsampler else None
    for runner in filter(None, (pipeline, upsampler)):
        runner.bf16 = arguments.bf16
        if arguments.compile:
            runner.compile()
    if is_grid:
        side = pipeline.resolution * (upsampler.factor if upsampler else 1)
        check_grid_size(arguments.out, side, prompts or [""], len(seeds), columns)
    pipeline.check(prompts if prompts or pipeline.conditional else [NO_PROMPT])
    images = draw(pipeline, upsampler, product(prompts or [NO_PROMPT], seeds), arguments.truncation, arguments.global_truncation)
    if is_grid:
        rows = [list(islice(images, len(seeds))) for _ in prompts or [NO_PROMPT]]
        save_grid(rows, prompts or [f"seeds {arguments.seeds}"], arguments.out, columns)
    else:
        save_files(images, seeds, prompts, arguments.out)


def draw(pipeline, upsampler, pairs: Iterator[tuple[str, int]], truncation: float, global_truncation: float) -> Iterator["Image.Image"]:
    """The image of each prompt and seed; some at a time, so that memory does not grow with their number."""
    from t2igan.data.images import to_pil
    from t2igan.inference.pipeline import NO_PROMPT

    while part := list(islice(pairs, AT_A_TIME)):
        prompts, seeds = map(list, zip(*part, strict=True))
        images = [to_pil(image) for image in pipeline.sample_pairs(prompts, seeds, truncation, global_truncation=global_truncation)]
        if upsampler is not None:
            captions = prompts if pipeline.conditional and upsampler.conditional else [NO_PROMPT] * len(part)
            images = upsampler(images, captions)
        yield from images


def read_prompts(file: Path | None) -> list[str]:
    """The lines of a file that are not blank."""
    if file is None:
        return []
    if not file.is_file():
        raise UserError(f"no file of prompts at {file}")
    from t2igan.plain_text import read_lines

    return read_lines(file)


def load_upsampler(path_or_hub_id: str, resolution: int):
    """An upsampler that enlarges images of `resolution` px. Raises UserError where it takes only larger ones."""
    from t2igan.inference.upsampler import Upsampler
    from t2igan.text.cache import default_cache

    upsampler = Upsampler.load(path_or_hub_id, cache=default_cache())
    if upsampler.low_resolution > resolution:
        raise UserError(
            f"the upsampler {path_or_hub_id} enlarges images of {upsampler.low_resolution} px or more, "
            f"the model's have {resolution} px; choose another"
        )
    return upsampler


def check_grid_size(out: Path, side: int, captions: list[str], images: int, columns: int) -> None:
    """Raises UserError where a grid of images of `side` px would be larger than its format allows; before anything is drawn."""
    from t2igan.grids import LARGEST, grid_layout

    most = LARGEST.get(out.suffix.lower())
    width, height = grid_layout(side, captions, images, columns=columns).size
    if most and max(width, height) > most:
        raise UserError(f"--out {out}: a grid of {width} x {height} px, and {out.suffix} holds {most} px at most; take .png, or a folder")


def save_grid(rows: list[list], captions: list[str], out: Path, columns: int) -> None:
    from t2igan.data.images import save_image
    from t2igan.grids import grid

    out.parent.mkdir(parents=True, exist_ok=True)
    save_image(grid(rows, captions, columns=columns), out)
    print(out)


def save_files(images: Iterator["Image.Image"], seeds: list[int], prompts: list[str], out: Path) -> None:
    """`NUMBER_seedSEED.png` for each image, and the prompts by their number, one per line, in `prompts.txt`."""
    from t2igan.data.images import save_image
    from t2igan.files import write_text

    images = chain([next(images)], images)  # what cannot be drawn at all leaves no folder
    out.mkdir(parents=True, exist_ok=True)
    if prompts:
        write_text(out / PROMPTS, "".join(f"{' '.join(prompt.split())}\n" for prompt in prompts))
    count = max(1, len(prompts))
    for (number, seed), image in zip(product(range(count), seeds), images, strict=True):
        save_image(image, out / f"{number:05d}_seed{seed}.png")
    print(f"{count * len(seeds)} images in {out}")
