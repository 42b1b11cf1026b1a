"""`t2igan edit`: interpolations, mixtures and truncations to a grid or an animation."""

import argparse
from importlib.util import find_spec
from pathlib import Path

from t2igan.commands.arguments import IMAGE_ENDINGS, MODEL, add_truncation, check_out_file, check_positive, check_truncation, parse_seeds
from t2igan.errors import UserError

HELP = "interpolate, mix and truncate: grids and animations"
ONE_PROMPT = ("style-mix", "truncate", "move")  # edits that take one prompt, or of a model without text none
NO_TEXT = "none for a model without text"
ANIMATION_ENDINGS = (".webp", ".gif", ".mp4")  # .webp is an animation here


def add_arguments(parser: argparse.ArgumentParser) -> None:
    edits = parser.add_subparsers(dest="edit", required=True, metavar="EDIT")

    interpolate = edits.add_parser("interpolate", help="from prompt to prompt with the same latent")
    interpolate.add_argument("model", help=MODEL)
    interpolate.add_argument("prompts", nargs="+", help="two prompts or more; @FILE is an inverted picture, here and in other edits")
    interpolate.add_argument("--steps", type=int, default=8, help="images from one prompt to the next (default: %(default)s)")
    interpolate.add_argument("--square", action="store_true", help="four prompts at the corners of a grid")

    style_mix = edits.add_parser("style-mix", help="coarse stages from one latent, fine stages from another")
    style_mix.add_argument("model", help=MODEL)
    style_mix.add_argument("prompts", nargs="*", metavar="prompt", help=NO_TEXT)
    style_mix.add_argument("--fine", default="4-7", help="seeds of the columns, which give the fine stages (default: %(default)s)")

    prompt_mix = edits.add_parser("prompt-mix", help="layout from the first prompt, look from the others")
    prompt_mix.add_argument("model", help=MODEL)
    prompt_mix.add_argument("prompts", nargs="+", help="the prompt of the coarse stages, then those of the fine ones")

    truncate = edits.add_parser("truncate", help="less varied, by degrees")
    truncate.add_argument("model", help=MODEL)
    truncate.add_argument("prompts", nargs="*", metavar="prompt", help=NO_TEXT)
    truncate.add_argument("--values", type=float, nargs="+", default=[0.0, 0.25, 0.5, 0.75, 1.0], help="0 is the mean, 1 as trained")
    truncate.add_argument("--towards", choices=("prompt", "global", "both"), default="prompt", help="the mean of the prompt, or of all")

    move = edits.add_parser("move", help="translate, turn and enlarge, where the model starts from Fourier features")
    move.add_argument("model", help=MODEL)
    move.add_argument("prompts", nargs="*", metavar="prompt", help=NO_TEXT)
    move.add_argument("--translate", type=float, nargs=2, default=[0.0, 0.0], metavar=("RIGHT", "DOWN"), help="in widths of the image")
    move.add_argument("--rotate", type=float, default=0.0, metavar="DEGREES", help="clockwise")
    move.add_argument("--zoom", type=float, default=1.0, help="factor by which the image is enlarged at the end")
    move.add_argument("--steps", type=int, default=24, help="images after the first (default: %(default)s)")

    for edit in (style_mix, prompt_mix):
        edit.add_argument("--layer", type=int, help="first stage that is taken from the other (default: the middle)")
    for edit in (interpolate, style_mix, prompt_mix, truncate, move):
        usual = "0-3; of an inverted picture 0" if edit is style_mix else "0"
        edit.add_argument("--seeds", help=f"a row each, such as 0-3 (default: {usual})")
        edit.add_argument("--fps", type=int, default=12, help="of an animation (default: %(default)s)")
        edit.add_argument("--out", type=Path, required=True, help="PATH.png for a grid; .webp, .gif or .mp4 for an animation")
        if edit is not truncate:
            add_truncation(edit)


def run(arguments: argparse.Namespace) -> None:
    check_arguments(arguments)

    from t2igan.inference import edit
    from t2igan.inference.pipeline import NO_PROMPT, Pipeline, check_prompts
    from t2igan.text.cache import default_cache

    if arguments.prompts:  # before the model is loaded; whether it needs any is known afterwards
        check_prompts(arguments.prompts)
    pipeline = Pipeline.load(arguments.model, cache=default_cache())
    if not arguments.prompts and pipeline.conditional:
        raise UserError(f"{arguments.edit} needs a prompt: this model was trained with text")
    arguments.prompts = arguments.prompts or [NO_PROMPT]
    rows, captions = EDITS[arguments.edit](pipeline, arguments)
    is_animation = arguments.out.suffix.lower() in ANIMATION_ENDINGS
    edit.save(rows, captions, arguments.out, arguments.fps if is_animation else None)
    print(arguments.out)


def check_arguments(arguments: argparse.Namespace) -> None:
    """Chooses the seeds where none are given. Raises UserError for what is known to be wrong before the model is loaded."""
    inverted = [prompt for prompt in arguments.prompts if prompt.startswith("@")]
    if arguments.seeds is None:
        arguments.seeds = "0-3" if arguments.edit == "style-mix" and not inverted else "0"
    seeds, ending = parse_seeds(arguments.seeds), arguments.out.suffix.lower()
    if ending not in (*IMAGE_ENDINGS, *ANIMATION_ENDINGS):
        endings = f"an image ({', '.join(IMAGE_ENDINGS)}) or an animation ({', '.join(ANIMATION_ENDINGS)})"
        raise UserError(f"--out is {arguments.out}, needs {endings}")
    check_positive("--fps", arguments.fps)
    check_out_file(arguments.out)
    if arguments.edit != "truncate":
        check_truncation("--truncation", arguments.truncation)
    if arguments.edit == "style-mix":
        parse_seeds(arguments.fine, "--fine")
    if arguments.edit in ONE_PROMPT and len(arguments.prompts) > 1:
        raise UserError(f"{arguments.edit} takes one prompt, got {len(arguments.prompts)}; put a prompt of several words in quotes")
    if inverted and len(inverted) == len(arguments.prompts) and len(seeds) > 1:
        raise UserError(f"--seeds has {len(seeds)} seeds, and an inverted picture is the same for each; leave it out")
    if arguments.edit == "interpolate" and arguments.square and len(seeds) > 1:
        raise UserError(f"--square takes one seed, got {len(seeds)}; choose one")
    if ending == ".mp4" and find_spec("av") is None:
        raise UserError(f"{arguments.out} needs PyAV: pip install 't2igan[film]'; .webp and .gif need nothing")


def interpolate(pipeline, arguments):
    from t2igan.inference import edit

    prompts, seeds = arguments.prompts, parse_seeds(arguments.seeds)
    if arguments.square:
        rows = edit.interpolate_square(pipeline, prompts, seeds[0], arguments.steps, arguments.truncation)
        return rows, [" | ".join(prompts[:2]), *[""] * (len(rows) - 2), " | ".join(prompts[2:])]
    rows = edit.interpolate(pipeline, prompts, seeds, arguments.steps, arguments.truncation)
    return rows, [f"{' > '.join(prompts)}, seed {seed}" for seed in seeds]


def style_mix(pipeline, arguments):
    from t2igan.inference import edit

    (prompt,), coarse, fine = arguments.prompts, parse_seeds(arguments.seeds), parse_seeds(arguments.fine, "--fine")
    rows = edit.style_mix(pipeline, prompt, coarse, fine, first_fine_stage(pipeline, arguments), arguments.truncation)
    return rows, [f"{prompt}: columns give the fine stages".removeprefix(": "), *(f"coarse stages of seed {seed}" for seed in coarse)]


def prompt_mix(pipeline, arguments):
    from t2igan.inference import edit

    (layout, *looks), seeds = arguments.prompts, parse_seeds(arguments.seeds)
    rows = edit.prompt_mix(pipeline, layout, looks, seeds, first_fine_stage(pipeline, arguments), arguments.truncation)
    return rows, [f"{layout} + {', '.join(looks)}, seed {seed}" for seed in seeds]


def truncate(pipeline, arguments):
    from t2igan.inference import edit

    (prompt,), seeds = arguments.prompts, parse_seeds(arguments.seeds)
    rows = edit.truncate(pipeline, prompt, seeds, arguments.values, arguments.towards)
    return rows, [f"{prompt}, seed {seed}: {', '.join(map(str, arguments.values))}".removeprefix(", ") for seed in seeds]


def move(pipeline, arguments):
    from t2igan.inference import edit

    (prompt,), seeds = arguments.prompts, parse_seeds(arguments.seeds)
    if not edit.is_inverted(prompt):
        pipeline.check([prompt])
    rows = edit.move(pipeline, prompt, seeds, arguments.steps, arguments.translate, arguments.rotate, arguments.zoom, arguments.truncation)
    return rows, [f"{prompt}, seed {seed}".removeprefix(", ") for seed in seeds]


def first_fine_stage(pipeline, arguments) -> int:
    """--layer, or else the middle."""
    return (pipeline.generator.synthesis.num_styles + 1) // 2 if arguments.layer is None else arguments.layer


EDITS = {  # to rows and captions
    "interpolate": interpolate,
    "style-mix": style_mix,
    "prompt-mix": prompt_mix,
    "truncate": truncate,
    "move": move,
}
