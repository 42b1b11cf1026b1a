"""Linear separability: how well a hyperplane in z, or in w, separates generated images with an attribute from those without it.

    python eval/separability.py --model RUN --data data/emoji_32/train --attributes style=twemoji category=faces arrow \
        --clip local-dir:CLIP --out RUN/separability.json

FIELD=VALUE is a field of an image's metadata, WORD a word of its captions. The score is 2 to the sum of the attributes' conditional
entropies: 1 is best, 2 to the number of attributes worst. RUN/separability.png shows images from one side of each hyperplane to the other.
Karras et al. 2019 (section 4.2) take 200,000 images. Needs scikit-learn: pip install 't2igan[separability]'.
"""

import argparse
from pathlib import Path

from t2igan.commands.arguments import check_result
from t2igan.errors import UserError, run_script


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="run folder")
    parser.add_argument("--data", required=True, help="labelled shards")
    parser.add_argument("--attributes", nargs="+", required=True, metavar="FIELD=VALUE", help="or WORD")
    parser.add_argument("--clip", required=True, help="local-dir:FOLDER, hf-hub:ORG/REPO or an open_clip name with its tag, NAME=TAG")
    parser.add_argument("--count", type=int, default=20_000, help="images to generate (default: %(default)s)")
    parser.add_argument("--out", type=Path, required=True, help="result.json to write; the picture goes beside it")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    arguments = parser.parse_args()
    check_result(arguments.out)
    if arguments.count < 20:
        raise UserError(f"--count is {arguments.count}, needs 20 or more")

    from t2igan.data.images import save_image
    from t2igan.evaluation.networks import load_clip
    from t2igan.evaluation.separability import measure_separability
    from t2igan.files import write_json
    from t2igan.inference.pipeline import Pipeline
    from t2igan.metrics.chunks import distributed_state
    from t2igan.text.cache import default_cache

    state, cache = distributed_state(), default_cache()
    clip = load_clip(arguments.clip, state.device, cache)
    pipeline = Pipeline.load(arguments.model, state.device, cache)
    found = measure_separability(pipeline, clip, state, arguments.data, arguments.attributes, cache, arguments.count)
    write_json(arguments.out, found.result)
    save_image(found.image, arguments.out.with_suffix(".png"))
    for name, facts in found.result["attributes"].items():
        entropies = f"entropy in z {facts['entropy_z']:.4f}, in w {facts['entropy_w']:.4f}"
        print(f"{name:24} {entropies}; accuracy of the classifier {facts['classifier_accuracy']:.3f}")
    print(f"separability of z {found.result['spaces']['z']:.4f}, of w {found.result['spaces']['w']:.4f} (1 is best)")


if __name__ == "__main__":
    run_script(main)
