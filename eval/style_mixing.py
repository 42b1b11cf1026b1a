"""StyleGAN's figure of style mixing: images A with the coarse, the middle or the fine styles of images B; and the change by stage.

    python eval/style_mixing.py --model RUN --prompts prompts.txt --out RUN/style_mixing.json

RUN/style_mixing.png is the figure, of the first prompt. A model without text takes no --prompts. `t2igan edit style-mix` draws single
mixtures of your choice.
"""

import argparse
from pathlib import Path

from t2igan.commands.arguments import check_result, parse_seeds
from t2igan.errors import run_script


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="run folder")
    parser.add_argument("--prompts", type=Path, help="file with one prompt per line")
    parser.add_argument("--sources", default="0-3", help="seeds of the images A, whose styles are replaced (default: %(default)s)")
    parser.add_argument("--others", default="4-9", help="seeds of the images B, which give styles (default: %(default)s)")
    parser.add_argument("--cuts", type=int, nargs=2, help="first of the middle and of the fine styles (default: 4 8, of few styles thirds)")
    parser.add_argument("--out", type=Path, required=True, help="result.json to write; the picture goes beside it")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    arguments = parser.parse_args()
    check_result(arguments.out)

    from t2igan.data.images import save_image
    from t2igan.evaluation.prompts import prompts_for
    from t2igan.evaluation.style_mixing import style_mixing
    from t2igan.files import write_json
    from t2igan.inference.pipeline import Pipeline
    from t2igan.metrics.chunks import distributed_state
    from t2igan.text.cache import default_cache

    sources, others = parse_seeds(arguments.sources, "--sources"), parse_seeds(arguments.others, "--others")
    pipeline = Pipeline.load(arguments.model, distributed_state().device, default_cache())
    cuts = tuple(arguments.cuts) if arguments.cuts else None
    found = style_mixing(pipeline, prompts_for(pipeline, arguments.prompts), sources, others, cuts)
    write_json(arguments.out, found.result)
    save_image(found.image, arguments.out.with_suffix(".png"))
    for name, change in found.result["change_by_group"].items():
        print(f"{name + ' styles, ' + found.result['styles'][name]:28} change images by {change:.4f}")


if __name__ == "__main__":
    run_script(main)
