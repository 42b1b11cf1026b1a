"""StyleGAN's figures of pixel noise: what it changes in an image, and at which sides of the network.

    python eval/noise.py --model RUN --prompts prompts.txt --out RUN/noise.json

RUN/noise.png shows the image of each prompt without noise, with noise (twice), with that of the coarse or of the fine sides alone, and the
deviation of each pixel over the realisations. A model without text takes no --prompts; a model without noise is refused.
"""

import argparse
from pathlib import Path

from t2igan.commands.arguments import check_result, check_seed
from t2igan.errors import UserError, run_script


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="run folder")
    parser.add_argument("--prompts", type=Path, help="file with one prompt per line")
    parser.add_argument("--realisations", type=int, default=100, help="of the noise (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the latent (default: %(default)s)")
    parser.add_argument("--out", type=Path, required=True, help="result.json to write; the picture goes beside it")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    arguments = parser.parse_args()
    check_result(arguments.out)
    check_seed("--seed", arguments.seed)
    if arguments.realisations < 2:
        raise UserError(f"--realisations is {arguments.realisations}, needs 2 or more")

    from t2igan.data.images import save_image
    from t2igan.evaluation.noise import noise_figure
    from t2igan.evaluation.prompts import prompts_for
    from t2igan.files import write_json
    from t2igan.inference.pipeline import Pipeline
    from t2igan.metrics.chunks import distributed_state
    from t2igan.text.cache import default_cache

    pipeline = Pipeline.load(arguments.model, distributed_state().device, default_cache())
    found = noise_figure(pipeline, prompts_for(pipeline, arguments.prompts), arguments.realisations, arguments.seed)
    write_json(arguments.out, found.result)
    save_image(found.image, arguments.out.with_suffix(".png"))
    for name, deviation in found.result["deviation"].items():
        print(f"noise at {name + ' sides':14} moves a pixel by {deviation:.3f}/255")


if __name__ == "__main__":
    run_script(main)
