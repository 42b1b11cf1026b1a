"""`t2igan invert`: a picture to the styles that a model draws it from, for `t2igan edit`."""

import argparse
from pathlib import Path

from t2igan.commands.arguments import MODEL, check_out_file
from t2igan.errors import UserError

HELP = "a picture to the styles that draw it, which edits take as @FILE"
ENDING = ".safetensors"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help=MODEL)
    parser.add_argument("image", type=Path, help="image file; its largest square is taken")
    parser.add_argument("--prompt", default="", help="what it shows; none for a model without text")
    parser.add_argument("--clip", help="a CLIP whose features are compared: local-dir:FOLDER, hf-hub:ORG/REPO, or an open_clip NAME=TAG")
    parser.add_argument("--vgg16", type=Path, help="without --clip, for LPIPS: torchvision's VGG16 (default: torch hub's cache)")
    parser.add_argument("--lpips", type=Path, help="without --clip, for LPIPS: its learned weights (default: torch hub's cache)")
    parser.add_argument("--latent-steps", type=int, default=100, help="(default: %(default)s)")
    parser.add_argument("--style-steps", type=int, default=300, help="(default: %(default)s)")
    parser.add_argument("--out", type=Path, required=True, help=f"PATH{ENDING}; PATH.png shows what was found")


def run(arguments: argparse.Namespace) -> None:
    check_arguments(arguments)

    from torchvision.transforms.functional import pil_to_tensor

    from t2igan.data.images import center_square, open_image, save_image, to_pil, to_signed
    from t2igan.evaluation.networks import load_clip
    from t2igan.grids import grid
    from t2igan.inference.invert import by_clip, by_lpips, invert
    from t2igan.inference.pipeline import NO_PROMPT, Pipeline
    from t2igan.text.cache import default_cache

    try:
        image = open_image(arguments.image)
    except OSError as error:
        raise UserError(f"{arguments.image}: {error}") from None
    pipeline = Pipeline.load(arguments.model, cache=default_cache())
    pipeline.check([arguments.prompt or NO_PROMPT])
    picture = to_signed(pil_to_tensor(center_square(image, pipeline.resolution))[None])[0].to(pipeline.device)
    if arguments.clip:
        distance = by_clip(picture, load_clip(arguments.clip, pipeline.device, default_cache()))
    else:
        distance = by_lpips(picture, arguments.vgg16, arguments.lpips)
    found = invert(pipeline, arguments.prompt, distance, arguments.latent_steps, arguments.style_steps)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    found.inversion.save(arguments.out)
    images = [to_pil(one) for one in (picture, found.by_latent, found.by_styles)]
    caption = f"{arguments.prompt}: the picture, by its latent, by its styles".removeprefix(": ")
    save_image(grid([images], [caption]), arguments.out.with_suffix(".png"))
    for name, value in found.distances.items():
        print(f"distance of the {name}: {value:.4f}")
    print(f"{arguments.out}: t2igan edit takes @{arguments.out} in place of a prompt")


def check_arguments(arguments: argparse.Namespace) -> None:
    """Raises UserError for what is known to be wrong before the model is loaded."""
    if arguments.out.suffix != ENDING:
        raise UserError(f"--out is {arguments.out}, needs a name that ends in {ENDING}")
    picture = arguments.out.with_suffix(".png")
    for path in (arguments.out, picture):
        check_out_file(path)
    if picture.exists() and arguments.image.exists() and picture.samefile(arguments.image):
        raise UserError(f"{picture}, which shows what was found, would overwrite the image; choose another --out")
    for option, steps in (("--latent-steps", arguments.latent_steps), ("--style-steps", arguments.style_steps)):
        if steps < 0:
            raise UserError(f"{option} is {steps}, needs a whole number from 0 on")
    if arguments.clip and (arguments.vgg16 or arguments.lpips):
        raise UserError("--vgg16 and --lpips are for LPIPS, which --clip replaces; leave out one of them")
