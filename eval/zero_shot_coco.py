"""Zero-shot COCO by the protocols of StyleGAN-T and GigaGAN: generates images for 30,000 captions of val2014 and scores them.

    python eval/zero_shot_coco.py --model RUN --data data/coco_val2014 --protocol gigagan --weights clip=openai --out RUN/coco.json
    accelerate launch --num_processes 8 eval/zero_shot_coco.py ...      # the same numbers
    python eval/zero_shot_coco.py --pictures 'other/*.tar' --data ...   # images that another system generated

Images and features are kept beside the result, in the folder of its name, and are not made twice: an interrupted run resumes. Nothing is
downloaded unless --weights names it; docs/evaluation.md lists the file that each metric needs.
"""

import argparse
from pathlib import Path

from t2igan.commands.scoring import add_options, evaluate
from t2igan.errors import run_script


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="reference made by data_prep/coco.py")
    parser.add_argument("--protocol", required=True, choices=("stylegan_t", "gigagan"))
    add_options(parser, images=30_000, metrics=("fid", "clip_score"))
    arguments = parser.parse_args()

    evaluate(arguments, arguments.protocol)


if __name__ == "__main__":
    run_script(main)
