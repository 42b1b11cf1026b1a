"""Equivariance of a model without a grid of its own (StyleGAN3): do its images move and turn with its input?

    python eval/equivariance.py --model RUN --out RUN/equivariance.json

EQ-T (whole pixels), EQ-T_frac and EQ-R in decibels, larger is better; the published figures are of 50,000 images. EQ-R turns images by a
filter that makes no aliases, which is not the release's: figures of the two differ. A model with text takes --prompts.
RUN/equivariance.png shows one movement of each kind and what is left of it.
"""

import argparse
from pathlib import Path

from t2igan.commands.arguments import check_result, check_seed
from t2igan.errors import UserError, run_script


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="run folder")
    parser.add_argument("--prompts", type=Path, help="file with one prompt per line")
    parser.add_argument("--count", type=int, default=5000, help="images (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=8, help="images that move alike (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, help="result.json to write; the picture goes beside it")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    arguments = parser.parse_args()
    check_result(arguments.out)
    check_seed("--seed", arguments.seed)
    if min(arguments.count, arguments.batch) < 1:
        raise UserError("--count and --batch need whole numbers above 0")

    from t2igan.data.images import save_image
    from t2igan.evaluation.equivariance import measure_equivariance
    from t2igan.evaluation.prompts import prompts_for
    from t2igan.files import write_json
    from t2igan.inference.pipeline import Pipeline
    from t2igan.metrics.chunks import distributed_state
    from t2igan.text.cache import default_cache

    pipeline = Pipeline.load(arguments.model, distributed_state().device, default_cache())
    prompts = prompts_for(pipeline, arguments.prompts)
    found = measure_equivariance(pipeline, prompts, arguments.count, arguments.batch, arguments.seed)
    write_json(arguments.out, found.result)
    save_image(found.image, arguments.out.with_suffix(".png"))
    for name in ("eq_t", "eq_t_frac", "eq_r"):
        print(f"{name.upper().replace('_', '-', 1):10} {found.result[name]:.2f} dB")


if __name__ == "__main__":
    run_script(main)
