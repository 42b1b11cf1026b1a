"""Scores a run on the emoji splits with a CLIP that took no part in its training.

    python eval/emoji.py --model runs/demo --data data/emoji_32 --scorer runs/scorer_32 --out runs/demo/result.json

Every score stands beside the score that real images reach through the same code: retrieval accuracy of training concepts, of colour x thing
compositions that were held out in every style, of concepts that were held out entirely and of (concept, style) pairs; the Fréchet distance
in CLIP's features; the spread of one prompt's images against the spread of the real styles, with how many real styles they cover; and how
close images come to training images. A model without text has the scores that need no prompt. Any data set folder with such splits will do.
"""

import argparse
from pathlib import Path

from t2igan.commands.arguments import check_picture, check_result, check_truncation
from t2igan.errors import run_script


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True, help="run folder")
    parser.add_argument("--data", type=Path, required=True, help="folder made by data_prep/emoji.py")
    parser.add_argument(
        "--scorer", type=Path, required=True, help="CLIP folder made by data_prep/train_clip.py with another seed and architecture"
    )
    parser.add_argument("--out", type=Path, required=True, help="result.json to write")
    parser.add_argument("--picture", type=Path, help="grid of images to write")
    parser.add_argument("--truncation", type=float, default=1.0)
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    arguments = parser.parse_args()
    check_result(arguments.out)
    check_truncation("--truncation", arguments.truncation)
    check_picture(arguments.picture)

    from t2igan.data.images import save_image
    from t2igan.evaluation.splits import SplitScores, overview, read_splits, table
    from t2igan.features.open_clip import ClipScorer
    from t2igan.files import write_json
    from t2igan.inference.pipeline import Pipeline
    from t2igan.inference.run_log import training_facts
    from t2igan.text.cache import default_cache

    facts = training_facts(arguments.model)
    pipeline = Pipeline.load(arguments.model, cache=default_cache())
    clip = ClipScorer(f"local-dir:{arguments.scorer}", cache=default_cache())
    clip.load_pretrained()
    splits = read_splits(arguments.data, pipeline.resolution)
    scores = SplitScores(splits, clip, pipeline, arguments.truncation)
    result = (scores.run() if pipeline.conditional else scores.run_without_text()) | facts
    write_json(arguments.out, result)
    print(table(result))
    if arguments.picture:
        save_image(overview(arguments.data, pipeline, arguments.truncation), arguments.picture)
        print(f"grid: {arguments.picture}")


if __name__ == "__main__":
    run_script(main)
