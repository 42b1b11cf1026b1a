"""The truncation curve: Fréchet distance, precision and recall of a model as its styles are pulled to their mean.

    python eval/truncation.py --model RUN --data data/emoji_32/train --clip local-dir:CLIP --out RUN/truncation.json

RUN/truncation.png shows the same prompts and seeds at every value, RUN/truncation.svg precision against recall. --towards all pulls to the
mean of all prompts instead of each prompt's own; of a model without text both are one.
"""

import argparse
from pathlib import Path

from t2igan.commands.arguments import check_result
from t2igan.errors import run_script


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="run folder")
    parser.add_argument("--data", required=True, help="shards of real images; a model with text takes their captions as prompts")
    parser.add_argument("--clip", required=True, help="local-dir:FOLDER, hf-hub:ORG/REPO or an open_clip name with its tag, NAME=TAG")
    parser.add_argument("--values", type=float, nargs="+", default=[0.3, 0.5, 0.7, 0.85, 1.0], help="0 is the mean, 1 as trained")
    parser.add_argument("--towards", choices=("own", "all"), default="own", help="the mean of the own prompt, or of all prompts")
    parser.add_argument("--count", type=int, default=5000, help="images at each value (default: %(default)s)")
    parser.add_argument("--out", type=Path, required=True, help="result.json to write; the pictures go beside it")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    arguments = parser.parse_args()
    check_result(arguments.out)

    from t2igan.data.images import save_image
    from t2igan.evaluation.networks import load_clip
    from t2igan.evaluation.truncation import truncation_curve
    from t2igan.files import write_json, write_text
    from t2igan.inference.pipeline import Pipeline
    from t2igan.metrics.chunks import distributed_state
    from t2igan.text.cache import default_cache

    state, cache = distributed_state(), default_cache()
    clip = load_clip(arguments.clip, state.device, cache)
    pipeline = Pipeline.load(arguments.model, state.device, cache)
    towards_all = arguments.towards == "all"
    found = truncation_curve(pipeline, clip, state, arguments.data, arguments.values, cache, arguments.count, towards_all)
    write_json(arguments.out, found.result)
    save_image(found.image, arguments.out.with_suffix(".png"))
    write_text(arguments.out.with_suffix(".svg"), found.curve)
    for point in found.result["points"]:
        print("  ".join(f"{name.replace('_', ' ')} {value:.4f}" for name, value in point.items()))


if __name__ == "__main__":
    run_script(main)
