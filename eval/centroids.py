"""The modes of a model's styles, for truncation to the nearest one.

    python eval/centroids.py --model RUN --prompts prompts.txt --out RUN/centroids.safetensors
    t2igan sample RUN "a prompt" --truncation 0.5 --centroids RUN/centroids.safetensors --out sharp.png

A model without text takes no --prompts; of a class-conditional one, they are its classes. StyleGAN-XL takes 10,000 centroids of 600,000
styles.
"""

import argparse
from pathlib import Path

from t2igan.errors import UserError, run_script


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="run folder")
    parser.add_argument("--prompts", type=Path, help="file with one prompt per line")
    parser.add_argument("--styles", type=int, default=60_000, help="styles that are clustered (default: %(default)s)")
    parser.add_argument("--centroids", type=int, default=1000, help="(default: %(default)s)")
    parser.add_argument("--out", type=Path, required=True, help=".safetensors to write")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    arguments = parser.parse_args()
    if arguments.centroids < 1:
        raise UserError(f"--centroids is {arguments.centroids}, needs 1 or more")
    if not arguments.out.resolve().parent.is_dir():
        raise UserError(f"no folder {arguments.out.parent} to write {arguments.out.name} to; make it first")

    from t2igan.evaluation.centroids import save_centroids, style_centroids
    from t2igan.evaluation.prompts import prompts_for
    from t2igan.inference.pipeline import Pipeline
    from t2igan.text.cache import default_cache

    pipeline = Pipeline.load(arguments.model, cache=default_cache())
    prompts = prompts_for(pipeline, arguments.prompts)
    save_centroids(style_centroids(pipeline, prompts, arguments.styles, arguments.centroids), arguments.out)
    print(f"{arguments.centroids} centroids of {arguments.styles} styles in {arguments.out}")


if __name__ == "__main__":
    run_script(main)
