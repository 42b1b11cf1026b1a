"""The `t2igan` command. Heavy libraries are imported by the commands that need them, so that --help is immediate."""

import argparse
import json
import sys
from importlib.util import find_spec
from pathlib import Path

from t2igan.errors import UserError, run_script

PICTURES = (".png", ".jpg", ".jpeg", ".webp")  # an --out with one of these endings is one grid
FILMS = (".webp", ".gif", ".mp4")  # what an edit's --out may be instead; .webp moves there
SHARED = "--debug shows the traceback of an error"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="t2igan", description="Text-to-image GANs: train, sample, compare.", epilog=SHARED)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    train = commands.add_parser("train", help="train a recipe", epilog="several processes: accelerate launch ... -m t2igan train ...")
    train.add_argument("recipe", help="YAML file, or a run folder to resume")
    train.add_argument("overrides", nargs="*", metavar="section.key=value", help="values to set in the recipe")
    train.add_argument("--out", type=Path, required=True, help="run folder")
    train.add_argument("--resume", action="store_true", help="go on from the run's newest checkpoint")
    train.set_defaults(run=run_train)

    sample = commands.add_parser("sample", help="prompts to pictures")
    sample.add_argument("model", type=Path, help="run folder, or the model folder inside it")
    sample.add_argument("prompts", nargs="*", help="what to draw")
    sample.add_argument("--prompts", dest="file", type=Path, help="file with one prompt per line")
    sample.add_argument("--seeds", default="0", help="such as 0-7 or 1,5,9")
    sample.add_argument("--truncation", type=float, default=1.0, help="below 1: closer to the prompt's mean picture, less varied")
    sample.add_argument("--global-truncation", type=float, default=1.0, help="below 1: closer to the mean picture of all prompts")
    sample.add_argument("--upsampler", type=Path, help="run folder of an upsampler that enlarges the pictures")
    sample.add_argument("--bf16", action="store_true", help="half precision: pays where the device computes faster in it")
    sample.add_argument("--compile", action="store_true", help="torch.compile: slower for the first pictures, faster for thousands")
    sample.add_argument(
        "--out", type=Path, default=Path("samples.png"), help="PATH.png for one captioned grid, or a folder for single files"
    )
    sample.set_defaults(run=run_sample)

    add_edit(commands)

    upsample = commands.add_parser("upsample", help="pictures from anywhere to larger ones")
    upsample.add_argument("model", type=Path, help="run folder of an upsampler")
    upsample.add_argument("pictures", nargs="+", type=Path, metavar="IMAGE", help="picture files of any size")
    upsample.add_argument("--prompt", help="what they show (default: left open)")
    upsample.add_argument("--seed", type=int, default=0)
    upsample.add_argument("--times", type=int, default=1, help="2: the large pictures are enlarged again")
    upsample.add_argument("--tile", type=int, help="px of a picture that are drawn at once (default: the side it was trained on)")
    upsample.add_argument("--overlap", type=int, help="px that neighbouring tiles share (default: half a tile; less is faster)")
    upsample.add_argument("--bf16", action="store_true", help="half precision: pays where the device computes faster in it")
    upsample.add_argument("--out", type=Path, required=True, help="folder for the large pictures, as PNG")
    upsample.set_defaults(run=run_upsample)

    show = commands.add_parser("show", help="parameters, FLOPs and memory of a recipe or a run; reads no weights, downloads nothing")
    show.add_argument("recipe", help="YAML file or run folder")
    show.add_argument("overrides", nargs="*", metavar="section.key=value", help="values to set in the recipe")
    show.add_argument("--json", action="store_true", help="one JSON object")
    show.set_defaults(run=run_show)

    diff = commands.add_parser("diff", help="what changes from one recipe to another")
    diff.add_argument("a", help="YAML file or run folder")
    diff.add_argument("b", help="YAML file or run folder")
    diff.set_defaults(run=run_diff)

    for command in (train, sample, upsample, show, diff):
        command.add_argument("--debug", action="store_true", help="show tracebacks")
    parsed, rest = parser.parse_known_args(arguments)
    take_rest(parsed, rest, parser)
    run_script(lambda: parsed.run(parsed))


def add_edit(commands) -> None:
    edit = commands.add_parser("edit", help="interpolate, mix and truncate: grids and films")
    kinds = edit.add_subparsers(dest="edit", required=True, metavar="EDIT")

    interpolate = kinds.add_parser("interpolate", help="from prompt to prompt with the same latent")
    interpolate.add_argument("model", type=Path, help="run folder")
    interpolate.add_argument("prompts", nargs="+", help="two prompts or more")
    interpolate.add_argument("--steps", type=int, default=8, help="pictures from one prompt to the next (default: %(default)s)")
    interpolate.add_argument("--square", action="store_true", help="four prompts at the corners of a grid")

    style = kinds.add_parser("style-mix", help="coarse stages from one latent, fine stages from another")
    style.add_argument("model", type=Path, help="run folder")
    style.add_argument("prompts", nargs=1, metavar="prompt")
    style.add_argument("--fine", default="4-7", help="seeds of the columns, which give the fine stages (default: %(default)s)")

    prompt = kinds.add_parser("prompt-mix", help="layout from the first prompt, look from the others")
    prompt.add_argument("model", type=Path, help="run folder")
    prompt.add_argument("prompts", nargs="+", help="the prompt of the coarse stages, then those of the fine ones")

    truncate = kinds.add_parser("truncate", help="less varied, by degrees")
    truncate.add_argument("model", type=Path, help="run folder")
    truncate.add_argument("prompts", nargs=1, metavar="prompt")
    truncate.add_argument("--values", type=float, nargs="+", default=[0.0, 0.25, 0.5, 0.75, 1.0], help="0 is the mean, 1 as trained")
    truncate.add_argument("--towards", choices=("prompt", "global", "both"), default="prompt", help="the mean of the prompt, or of all")

    for command in (style, prompt):
        command.add_argument("--layer", type=int, help="first stage that is taken from the other (default: the middle)")
    for command in (interpolate, style, prompt, truncate):
        command.add_argument("--seeds", default="0-3" if command is style else "0", help="a row each, such as 0-3 (default: %(default)s)")
        command.add_argument("--fps", type=int, default=12, help="of a film (default: %(default)s)")
        command.add_argument("--out", type=Path, required=True, help="PATH.png for a grid; .webp, .gif or .mp4 for a film")
        command.add_argument("--debug", action="store_true", help="show tracebacks")
        if command is not truncate:
            command.add_argument("--truncation", type=float, default=1.0, help="below 1: closer to the prompt's mean picture")
        command.set_defaults(run=run_edit)


def take_rest(parsed: argparse.Namespace, rest: list[str], parser: argparse.ArgumentParser) -> None:
    """Overrides and prompts may also stand after options, where argparse leaves them over."""
    several = next((name for name in ("overrides", "prompts") if hasattr(parsed, name)), None)
    unknown = [word for word in rest if several is None or word.startswith("-")]
    if unknown:
        parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    if several:
        getattr(parsed, several).extend(rest)


def run_train(arguments: argparse.Namespace) -> None:
    from t2igan.config import load_recipe

    recipe = load_recipe(arguments.recipe, arguments.overrides)
    check_folder(arguments.out)

    import torch

    from t2igan.system import build_system
    from t2igan.text.cache import default_cache
    from t2igan.training.trainer import Trainer

    torch.manual_seed(recipe.seed)  # the initial weights
    system = build_system(recipe, default_cache())
    Trainer(recipe, system, arguments.out, default_cache()).train(resume=arguments.resume)


def run_sample(arguments: argparse.Namespace) -> None:
    seeds = parse_seeds(arguments.seeds)
    prompts = list(arguments.prompts)
    if arguments.file:
        if not arguments.file.is_file():
            raise UserError(f"no file of prompts at {arguments.file}")
        prompts += [line for line in arguments.file.read_text().splitlines() if line.strip()]
    check_truncation("truncation", arguments.truncation)
    check_truncation("global-truncation", arguments.global_truncation)

    is_grid = arguments.out.suffix.lower() in PICTURES
    check_folder(arguments.out.parent if is_grid else arguments.out)

    import warnings

    from t2igan.inference.pipeline import Pipeline, check_prompts
    from t2igan.text.cache import default_cache

    check_prompts(prompts)
    warnings.showwarning = lambda message, *_: print(f"warning: {message}", file=sys.stderr)
    warnings.filterwarnings("always", message="prompt cut")  # also when a caller has been told before

    import torch

    from t2igan.grids import grid

    device = "cuda" if torch.cuda.is_available() else "cpu"
    pipeline = Pipeline.load(arguments.model, device, default_cache())
    upsampler = None if arguments.upsampler is None else load_upsampler(arguments.upsampler, pipeline.resolution, device)
    for drawing in filter(None, (pipeline, upsampler)):
        drawing.bf16 = arguments.bf16
        if arguments.compile:
            drawing.compile()
    rows = pipeline(prompts, seeds, arguments.truncation, global_truncation=arguments.global_truncation)
    if upsampler is not None:
        rows = [upsampler(row, [prompt] * len(row)) for row, prompt in zip(rows, prompts, strict=True)]
    if is_grid:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        grid(rows, prompts).save(arguments.out)
        print(arguments.out)
        return
    arguments.out.mkdir(parents=True, exist_ok=True)
    for number, row in enumerate(rows):
        for seed, picture in zip(seeds, row, strict=True):
            picture.save(arguments.out / f"{number:05d}_seed{seed}.png")
    (arguments.out / "prompts.txt").write_text("\n".join(prompts) + "\n")
    print(f"{len(prompts) * len(seeds)} pictures in {arguments.out}")


def check_truncation(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise UserError(f"--{name} is {value}, needs a number from 0 (the mean picture) to 1 (as trained)")


def load_upsampler(folder: Path, side: int, device: str):
    """The upsampler that enlarges pictures of `side` px."""
    from t2igan.inference.pipeline import model_folder, read_config
    from t2igan.inference.upsampler import Upsampler
    from t2igan.text.cache import default_cache

    low = read_config(model_folder(folder)).generator.synthesis.low
    if low is not None and low > side:
        raise UserError(f"the upsampler {folder} enlarges pictures of {low} px or more, the model draws {side} px; choose another")
    return Upsampler.load(folder, device, default_cache())


def run_edit(arguments: argparse.Namespace) -> None:
    seeds = parse_seeds(arguments.seeds)
    fine = parse_seeds(arguments.fine) if arguments.edit == "style-mix" else []
    if arguments.out.suffix.lower() not in (*PICTURES, *FILMS):
        raise UserError(f"--out is {arguments.out}, needs a picture ({', '.join(PICTURES)}) or a film ({', '.join(FILMS)})")
    if arguments.fps < 1:
        raise UserError(f"--fps is {arguments.fps}, needs a whole number above 0")
    if arguments.edit != "truncate":
        check_truncation("truncation", arguments.truncation)
    check_folder(arguments.out.parent)

    from t2igan.inference.pipeline import Pipeline, check_prompts
    from t2igan.text.cache import default_cache

    prompts = arguments.prompts
    check_prompts(prompts)
    if arguments.edit in ("style-mix", "truncate") and len(prompts) > 1:
        raise UserError(f"{arguments.edit} takes one prompt, got {len(prompts)}; put a prompt of several words in quotes")
    if arguments.edit == "interpolate" and arguments.square and len(seeds) > 1:
        raise UserError(f"--square is drawn with one seed, got {len(seeds)}; choose one")
    if arguments.out.suffix.lower() == ".mp4" and find_spec("av") is None:
        raise UserError(f"{arguments.out} needs PyAV: pip install 't2igan[film]'; .webp and .gif need nothing")

    import torch

    from t2igan.inference import edit

    pipeline = Pipeline.load(arguments.model, "cuda" if torch.cuda.is_available() else "cpu", default_cache())
    layer = (pipeline.generator.synthesis.stages_count + 1) // 2  # the middle
    if arguments.edit in ("style-mix", "prompt-mix") and arguments.layer is not None:
        layer = arguments.layer
    if arguments.edit == "interpolate" and arguments.square:
        rows = edit.interpolate_square(pipeline, prompts, seeds[0], arguments.steps, arguments.truncation)
        captions = [" | ".join(prompts[:2]), *[""] * (len(rows) - 2), " | ".join(prompts[2:])]
    elif arguments.edit == "interpolate":
        rows = edit.interpolate(pipeline, prompts, seeds, arguments.steps, arguments.truncation)
        captions = [f"{' > '.join(prompts)}, seed {seed}" for seed in seeds]
    elif arguments.edit == "style-mix":
        rows = edit.style_mix(pipeline, prompts[0], seeds, fine, layer, arguments.truncation)
        captions = [f"{prompts[0]}: columns give the fine stages", *(f"coarse stages of seed {seed}" for seed in seeds)]
    elif arguments.edit == "prompt-mix":
        rows = edit.prompt_mix(pipeline, prompts[0], prompts[1:], seeds, layer, arguments.truncation)
        captions = [f"{prompts[0]} + {', '.join(prompts[1:])}, seed {seed}" for seed in seeds]
    else:
        rows = edit.truncate(pipeline, prompts[0], seeds, arguments.values, arguments.towards)
        captions = [f"{prompts[0]}, seed {seed}: {', '.join(map(str, arguments.values))}" for seed in seeds]
    edit.save(rows, captions, arguments.out, arguments.fps if arguments.out.suffix.lower() in FILMS else None)
    print(arguments.out)


def run_upsample(arguments: argparse.Namespace) -> None:
    check_folder(arguments.out)
    if arguments.times < 1:
        raise UserError(f"--times is {arguments.times}, needs a whole number above 0")
    if arguments.prompt is not None and not arguments.prompt.strip():
        raise UserError("--prompt is empty; say what the pictures show, or leave it out")
    names = [path.stem for path in arguments.pictures]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise UserError(f"two pictures are called {twice}, and so would be what they become; enlarge them into folders of their own")
    for path in arguments.pictures:
        target = arguments.out / f"{path.stem}.png"
        if target.exists() and path.exists() and target.samefile(path):
            raise UserError(f"{path} would be overwritten by its own enlargement; choose another --out")

    import torch

    from t2igan.data.render import open_picture
    from t2igan.inference.upsampler import Upsampler
    from t2igan.text.cache import default_cache

    def read(path: Path):
        try:
            return open_picture(path)
        except OSError as error:
            raise UserError(f"{path}: {error}") from None

    small = [read(path) for path in arguments.pictures]
    upsampler = Upsampler.load(arguments.model, "cuda" if torch.cuda.is_available() else "cpu", default_cache())
    upsampler.bf16 = arguments.bf16
    upsampler.check([picture.size for picture in small], arguments.tile, arguments.overlap)
    for path, picture in zip(arguments.pictures, small, strict=True):
        for _ in range(arguments.times):
            prompts = None if arguments.prompt is None else [arguments.prompt]
            (picture,) = upsampler([picture], prompts, arguments.seed, arguments.tile, arguments.overlap)
        arguments.out.mkdir(parents=True, exist_ok=True)
        picture.save(arguments.out / f"{path.stem}.png")
    print(f"{len(small)} picture{'s' * (len(small) > 1)} in {arguments.out}")


def check_folder(folder: Path) -> None:
    if folder.is_file():
        raise UserError(f"--out needs a folder, {folder} is a file; choose another name")


def parse_seeds(text: str) -> list[int]:
    """`0-3,7` to [0, 1, 2, 3, 7]."""
    seeds = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()) or (dash and int(last) < int(first)):
            raise UserError(f"--seeds is {text!r}, needs numbers or ranges such as 0-7 or 1,5,9")
        seeds += range(int(first), int(last or first) + 1)
    return seeds


def run_show(arguments: argparse.Namespace) -> None:
    from t2igan.config import load_recipe
    from t2igan.evaluation.profile import profile, table

    description = profile(load_recipe(arguments.recipe, arguments.overrides))
    print(json.dumps(description, indent=2) if arguments.json else table(description))


def run_diff(arguments: argparse.Namespace) -> None:
    from t2igan.config import differences, load_recipe

    rows = differences(load_recipe(arguments.a), load_recipe(arguments.b))
    if not rows:
        print("the recipes are equal")
    width = max((len(key) for key, _, _ in rows), default=0)
    for key, a, b in rows:
        print(f"{key:{width}}  {'-' if a is None else a}  ->  {'-' if b is None else b}")
