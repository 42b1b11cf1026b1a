"""Scores a run on the drawings with a CLIP that took no part in its training.

    python eval/drawings.py --model runs/drawings_64 --data data/drawings_64 --scorer models/drawings_scorer --out result.json

Every score but that of styles stands beside the score that real images reach through the same code: retrieval of training captions and of
what was held out, options that linear probes read from held-out combinations (needs scikit-learn), styles, diversity with precision and
recall, the Fréchet distance, and how close images come to training pictures; the closest pairs are in OUT.png.
"""

import argparse
from pathlib import Path

from t2igan.commands.arguments import check_result, check_truncation
from t2igan.errors import UserError, run_script


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True, help="run folder")
    parser.add_argument("--data", type=Path, required=True, help="folder made by data_prep/drawings.py")
    parser.add_argument("--scorer", type=Path, required=True, help="CLIP folder with another seed and architecture")
    parser.add_argument("--out", type=Path, required=True, help="result.json to write; the closest pairs go beside it, as .png")
    parser.add_argument("--truncation", type=float, default=1.0)
    parser.add_argument("--frechet-images", type=int, help="of each side of the Fréchet distance (default: half of the training pictures)")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    arguments = parser.parse_args()
    check_result(arguments.out)
    check_truncation("--truncation", arguments.truncation)
    if arguments.frechet_images is not None and arguments.frechet_images < 2:
        raise UserError("--frechet-images needs a whole number above 1")

    from t2igan.data.images import save_image
    from t2igan.evaluation.drawings import DrawingScores
    from t2igan.evaluation.drawings_table import table
    from t2igan.evaluation.networks import load_clip
    from t2igan.files import write_json
    from t2igan.inference.pipeline import Pipeline
    from t2igan.inference.run_log import training_facts
    from t2igan.metrics.chunks import distributed_state
    from t2igan.text.cache import default_cache

    facts, state, cache = training_facts(arguments.model), distributed_state(), default_cache()
    pipeline = Pipeline.load(arguments.model, state.device, cache)
    clip = load_clip(f"local-dir:{arguments.scorer}", state.device, cache)
    options = arguments.truncation, arguments.frechet_images
    scores, picture = DrawingScores(arguments.data, pipeline.resolution, clip, pipeline, state, cache, *options).run()
    result = scores | facts
    write_json(arguments.out, result)
    save_image(picture, arguments.out.with_suffix(".png"))
    print(table(result))
    print(f"closest pairs: {arguments.out.with_suffix('.png')}")


if __name__ == "__main__":
    run_script(main)
