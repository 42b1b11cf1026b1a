"""Does a model repeat its training images? Each generated image beside the nearest image of the training shards.

    python eval/nearest_neighbors.py --model RUN --data mine/train --held-out mine/held_out --clip local-dir:CLIP --out RUN/near.json

Prompts are captions of the training shards; distances are between CLIP embeddings of unit length. A distance alone means little: --held-out
adds the distances of real images that the model was not trained on. RUN/near.png shows the generated images that come closest to training,
each with its nearest neighbour: a model that copies shows the same image twice.
"""

import argparse
from pathlib import Path

from t2igan.commands.arguments import check_result, check_truncation
from t2igan.errors import UserError, run_script


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="run folder")
    parser.add_argument("--data", required=True, help="the shards that the model was trained on")
    parser.add_argument("--held-out", help="shards of the same kind that it was not trained on")
    parser.add_argument("--clip", required=True, help="local-dir:FOLDER, hf-hub:ORG/REPO or an open_clip name with its tag, NAME=TAG")
    parser.add_argument("--count", type=int, default=500, help="images to generate (default: %(default)s)")
    parser.add_argument("--truncation", type=float, default=1.0)
    parser.add_argument("--out", type=Path, required=True, help="result.json to write; the image goes beside it")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    arguments = parser.parse_args()
    check_result(arguments.out)
    check_truncation("--truncation", arguments.truncation)

    from t2igan.data.images import save_image
    from t2igan.evaluation.nearest import SHOWN, nearest_neighbors
    from t2igan.evaluation.networks import load_clip
    from t2igan.files import write_json
    from t2igan.inference.pipeline import Pipeline
    from t2igan.metrics.chunks import distributed_state
    from t2igan.text.cache import default_cache

    if arguments.count < SHOWN:
        raise UserError(f"--count is {arguments.count}, needs {SHOWN} or more")
    state, cache = distributed_state(), default_cache()
    clip = load_clip(arguments.clip, state.device, cache)
    pipeline = Pipeline.load(arguments.model, state.device, cache)
    found = nearest_neighbors(pipeline, clip, state, arguments.data, cache, arguments.held_out, arguments.count, arguments.truncation)
    write_json(arguments.out, found.result)
    save_image(found.image, arguments.out.with_suffix(".png"))
    for name, value in found.result["distance"].items():
        print(f"{name.replace('_', ' '):40} {value:.4f}")
    print(f"image: {arguments.out.with_suffix('.png')}")


if __name__ == "__main__":
    run_script(main)
