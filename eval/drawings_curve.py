"""Scores of a run on the drawings over the images that it saw: eval/drawings.py for each of its snapshots.

    t2igan train configs/ablations/drawings_32.yaml training.snapshot_every=12000 --out runs/drawings_32
    python eval/drawings_curve.py --model runs/drawings_32 --data data/drawings_64 --scorer models/drawings_scorer --out curve.json

Writes the scores of every snapshot to OUT, and prints the first of them as a table, in Markdown. What is finished is kept: an interrupted
curve goes on where it stopped.
"""

import argparse
import json
from pathlib import Path

from t2igan.commands.arguments import check_result
from t2igan.errors import UserError, run_script
from t2igan.inference.run_log import snapshots


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="run folder with snapshots")
    parser.add_argument("--data", type=Path, required=True, help="folder made by data_prep/drawings.py")
    parser.add_argument("--scorer", type=Path, required=True, help="CLIP folder, as eval/drawings.py takes it")
    parser.add_argument("--out", type=Path, required=True, help="curve.json to write")
    parser.add_argument("--frechet-images", type=int, default=2000, help="of each side of the Fréchet distance (default: %(default)s)")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    arguments = parser.parse_args()
    check_result(arguments.out)
    if arguments.frechet_images < 2:
        raise UserError("--frechet-images needs a whole number above 1")
    models = snapshots(arguments.model)

    from t2igan.evaluation.drawings import DrawingScores
    from t2igan.evaluation.drawings_table import curve
    from t2igan.evaluation.networks import load_clip
    from t2igan.files import write_json
    from t2igan.inference.pipeline import Pipeline
    from t2igan.metrics.chunks import distributed_state
    from t2igan.text.cache import default_cache

    state, cache = distributed_state(), default_cache()
    found = json.loads(arguments.out.read_text()) if arguments.out.is_file() else {}
    scores = None
    for images, folder in models.items():
        if str(images) in found:
            continue
        pipeline = Pipeline.load(folder, state.device, cache)
        if scores is None:
            clip = load_clip(f"local-dir:{arguments.scorer}", state.device, cache)
            options = {"frechet_images": arguments.frechet_images}
            scores = DrawingScores(arguments.data, pipeline.resolution, clip, pipeline, state, cache, **options)
        scores.pipeline = pipeline
        found[str(images)] = scores.run()[0]
        write_json(arguments.out, found)
    print(curve(found))


if __name__ == "__main__":
    run_script(main)
