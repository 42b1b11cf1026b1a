"""FID-50k and its kin: a model of any kind against a set of images, by the protocol of StyleGAN2-ADA's release and those after it.

    python eval/fid.py --model RUN --data data/ffhq_64/train --out RUN/fid.json
    python eval/fid.py --model RUN --data data/imagenet_64/train --metrics fid sfid rfid precision_recall --out RUN/fid.json
    accelerate launch --num_processes 8 eval/fid.py ...      # the same numbers

Real images are all those of the shards, at the size of the generated ones; their labels or captions, as often as the set has them, are the
prompts of a model that takes some. Images and features are kept beside the result and are not made twice: an interrupted run resumes.
Nothing is downloaded unless --weights names it; docs/evaluation.md lists the file that each metric needs.
"""

import argparse

from t2igan.commands.scoring import add_options, evaluate
from t2igan.errors import run_script


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="shards of real images")
    add_options(parser, images=50_000, metrics=("fid",))
    arguments = parser.parse_args()

    evaluate(arguments, "stylegan")


if __name__ == "__main__":
    run_script(main)
