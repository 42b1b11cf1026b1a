"""Vector emoji art to captioned webdataset shards with held-out splits, at any resolution.

    python data_prep/emoji.py --out data/emoji_32 --size 32

Concepts, plain names and held-out lists: emoji_art/concepts.yaml. Styles and licences: emoji_art/styles.py.
"""

import argparse
import sys
from importlib.util import find_spec
from pathlib import Path

from emoji_art.styles import DEFAULT_STYLES, STYLES

from t2igan.errors import UserError, run_script

# This script shares its name with the `emoji` package, which emoji_art imports: Python must not search the script's folder for it
del sys.path[0]

NEEDS = {"emoji": "emoji", "resvg_py": "resvg-py", "yaml": "pyyaml"}  # module: package


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder to write; an earlier data set there is replaced")
    styles = f"of: {', '.join(STYLES)} (default: {' '.join(DEFAULT_STYLES)})"
    parser.add_argument("--styles", nargs="+", default=list(DEFAULT_STYLES), metavar="NAME", help=styles)
    parser.add_argument("--size", type=int, default=32, help="side in pixels (default: %(default)s)")
    parser.add_argument(
        "--cache", type=Path, default=Path("data/.npm"), help="where npm packages of further styles stay (default: %(default)s)"
    )
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    args = parser.parse_args()
    for name in args.styles:
        if name not in STYLES:
            raise UserError(f"unknown style {name!r}; --styles takes some of: {', '.join(STYLES)}")
    if not 8 <= args.size <= 1024:
        raise UserError(f"--size must be from 8 to 1024 pixels, got {args.size}")
    missing = [package for module, package in NEEDS.items() if find_spec(module) is None]
    if missing:
        raise UserError(f"missing Python packages: {' '.join(missing)}; run: pip install {' '.join(missing)}")

    from emoji_art.build import build  # here, because --help needs no torch

    report = build(args.out, [STYLES[name] for name in dict.fromkeys(args.styles)], args.size, args.cache.resolve())
    splits, dropped = (", ".join(f"{name} {count}" for name, count in report[part].items()) for part in ("splits", "dropped"))
    print(f"{args.out}: {report['pictures']} images of {report['concepts']} concepts: {splits}")
    print(f"dropped: {dropped or 'nothing'}")


if __name__ == "__main__":
    run_script(main)
