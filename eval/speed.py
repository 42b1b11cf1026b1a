"""Seconds, FLOPs and memory per image, by batch size and model, with the text encoder and without, beside a diffusers pipeline.

    python eval/speed.py --model runs/demo --batches 1 8 32
    python eval/speed.py --recipe configs/emoji_32.yaml configs/emoji_64.yaml --beside sd_turbo --steps 1 --out speed.json

Speed depends on sizes, not on weights: --recipe builds recipes with random weights, and --beside needs only the configuration files of a
diffusers pipeline with one text tower, such as Stable Diffusion (model_index.json and a config.json for each part;
`pip install t2igan[compare]`). All are timed alternately in one process; a figure is the median of the rounds. TF32 is off.
"""

import argparse
from pathlib import Path

from t2igan.commands.arguments import check_result
from t2igan.errors import UserError, run_script


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--model", type=Path, help="run folder")
    source.add_argument("--recipe", nargs="+", help="YAML files, built with random weights")
    parser.add_argument("--beside", type=Path, help="folder of a diffusers pipeline, configuration files only")
    parser.add_argument("--steps", type=int, default=1, help="denoising steps of that pipeline (default: %(default)s)")
    parser.add_argument("--guidance", type=float, default=0.0, help="its guidance scale; above 1 doubles its work (default: none)")
    parser.add_argument("--batches", type=int, nargs="+", default=[1], help="images at a time (default: 1)")
    parser.add_argument("--rounds", type=int, default=5, help="times each is timed, after one to warm up (default: %(default)s)")
    parser.add_argument("--bf16", action="store_true", help="autocast to bf16")
    parser.add_argument("--out", type=Path, help="result.json to write")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    arguments = parser.parse_args()
    if arguments.out is not None:
        check_result(arguments.out)
    if min(*arguments.batches, arguments.rounds, arguments.steps) < 1:
        raise UserError("--batches, --rounds and --steps need whole numbers above 0")

    from t2igan.evaluation.diffusion import diffusion_model
    from t2igan.evaluation.speed import measure_speed, recipe_models, run_models, table
    from t2igan.files import write_json
    from t2igan.inference.device import default_device

    device = default_device()
    if arguments.model:
        models = run_models(arguments.model, device)
    else:
        models = [model for recipe in arguments.recipe for model in recipe_models(recipe, device)]
    if arguments.beside:
        models.append(diffusion_model(arguments.beside, arguments.steps, arguments.guidance, device))
    result = measure_speed(models, arguments.batches, arguments.rounds, device, arguments.bf16)
    print(table(result))
    if arguments.out:
        write_json(arguments.out, result)


if __name__ == "__main__":
    run_script(main)
