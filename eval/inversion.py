"""How closely a model draws given pictures once t2igan invert has found their styles, and whether edits obey.

    python eval/inversion.py --model runs/drawings_64 --data data/drawings_64/held_out_concepts --clip local-dir:models/drawings_guide \\
        --scorer local-dir:models/drawings_scorer --edit "red heart" --edit "a yellow star on blue" --out result.json --picture grid.png

For the latent and for the styles that were found, and for one seed of the caption beside them: PSNR, and the cosine to the picture by a
CLIP that took no part in the search. For each edit: the cosine of the image to the edit's prompt, before and after. All are means.
"""

import argparse
from pathlib import Path

from t2igan.commands.arguments import MODEL, check_picture, check_result
from t2igan.errors import UserError, run_script


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True, help=MODEL)
    parser.add_argument("--data", required=True, help="shards of captioned pictures")
    parser.add_argument("--pictures", type=int, default=8, help="spread evenly over the shards (default: %(default)s)")
    parser.add_argument("--clip", required=True, help="whose features the search compares, as t2igan invert takes it")
    parser.add_argument("--scorer", required=True, help="another CLIP, for the scores")
    parser.add_argument("--edit", action="append", default=[], metavar="PROMPT", help="takes over the stages from --layer on; repeatable")
    parser.add_argument("--layer", type=int, default=2, help="from which stage edits take over; 0: the coarsest (default: %(default)s)")
    parser.add_argument("--latent-steps", type=int, default=100, help="(default: %(default)s)")
    parser.add_argument("--style-steps", type=int, default=300, help="(default: %(default)s)")
    parser.add_argument("--out", type=Path, required=True, help="result.json to write")
    parser.add_argument("--picture", type=Path, help="grid to write: the picture, one seed, the latent, the styles, each edit")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    arguments = parser.parse_args()
    check_result(arguments.out)
    check_picture(arguments.picture)
    if arguments.pictures < 1:
        raise UserError(f"--pictures is {arguments.pictures}, needs a whole number above 0")
    steps = arguments.latent_steps, arguments.style_steps
    if min(steps) < 0:
        raise UserError(f"--latent-steps and --style-steps are {steps[0]} and {steps[1]}, need whole numbers from 0 on")

    from t2igan.data.images import save_image
    from t2igan.evaluation.inversion import measure_inversion
    from t2igan.evaluation.networks import load_clip
    from t2igan.files import write_json
    from t2igan.inference.pipeline import Pipeline
    from t2igan.text.cache import default_cache

    cache = default_cache()
    pipeline = Pipeline.load(arguments.model, cache=cache)
    clips = [load_clip(name, pipeline.device, cache) for name in (arguments.clip, arguments.scorer)]
    found = measure_inversion(pipeline, arguments.data, arguments.pictures, *clips, arguments.edit, arguments.layer, steps)
    options = {name: getattr(arguments, name) for name in ("model", "data", "clip", "scorer", "layer", "latent_steps", "style_steps")}
    result = options | found.result()
    write_json(arguments.out, result)
    print("\n".join(f"{name}: {value:.3f}" for name, value in result.items() if isinstance(value, float)))
    if arguments.picture:
        save_image(found.grid, arguments.picture)
        print(arguments.picture)


if __name__ == "__main__":
    run_script(main)
