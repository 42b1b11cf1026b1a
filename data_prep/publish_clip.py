"""A CLIP of train_clip.py to a small folder for other people: without its sentence encoder, in half precision, with a card and hashes.

    python data_prep/publish_clip.py --clip runs/drawings_guide --out models/drawings_guide --credits data/drawings_64/README.md

The encoder is the installed package's own, so the folder names it. `local-dir:models/drawings_guide` is a CLIP wherever a recipe, an option
or a script takes one.
"""

import argparse
from pathlib import Path

from t2igan.errors import UserError, run_script


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clip", type=Path, required=True, help="folder made by data_prep/train_clip.py")
    parser.add_argument("--out", type=Path, required=True, help="folder to write; an earlier publication there is replaced")
    parser.add_argument("--machine", default="", help="what it was trained on, for the card")
    parser.add_argument("--credits", type=Path, help="Markdown for the card: who made the data, such as the README.md beside the shards")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    args = parser.parse_args()

    from small_clip.publish import publish

    try:
        credits = args.credits.read_text(encoding="utf-8") if args.credits else ""
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {args.credits} ({error})") from None
    megabytes, change = publish(args.clip, args.out, args.machine, credits)
    print(f"{args.out}: {megabytes:.1f} MB; half precision turns no embedding by more than {change:.3f} degrees")


if __name__ == "__main__":
    run_script(main)
