"""Drawings of many openly licensed sources to captioned webdataset shards with held-out splits, at any resolution.

    python data_prep/drawings.py --out data/drawings_64 --size 64

Emoji in ten styles, coloured icons, silhouettes in colours that their captions name, public-domain clip art, pixel art, and pictures whose
generator is told every part. Sources and licences: drawing_set/sources.py. An interrupted run continues where it stopped.
"""

import argparse
import os
import sys
from importlib.util import find_spec
from pathlib import Path

from drawing_set.sources import AVATARS, SOURCES

from t2igan.errors import UserError, run_script

# data_prep/emoji.py shares its name with the `emoji` package, which drawing_set imports: Python searches this folder last
sys.path.append(sys.path.pop(0))

NEEDS = {"emoji": "emoji", "resvg_py": "resvg-py", "yaml": "pyyaml"}  # module: package
DICEBEAR = {"dicebear": "dicebear-core", "dicebear_styles": "dicebear-styles"}  # for the avatars


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder to write; an earlier data set there is replaced")
    parser.add_argument("--sources", nargs="+", default=list(SOURCES), metavar="NAME", help=f"of: {', '.join(SOURCES)} (default: all)")
    parser.add_argument("--size", type=int, default=64, help="side in pixels (default: %(default)s)")
    parser.add_argument("--flags", action="store_true", help="flags of countries too")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="that draw (default: %(default)s)")
    cache = Path("data/.drawings")
    parser.add_argument("--cache", type=Path, default=cache, help="where packages and drawn images stay (default: %(default)s)")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    args = parser.parse_args()
    for name in args.sources:
        if name not in SOURCES:
            raise UserError(f"unknown source {name!r}; --sources takes some of: {', '.join(SOURCES)}")
    if not 8 <= args.size <= 1024:
        raise UserError(f"--size must be from 8 to 1024 pixels, got {args.size}")
    if args.processes < 1:
        raise UserError("--processes needs a whole number above 0")
    chosen = [source for name, source in SOURCES.items() if name in args.sources]
    needs = NEEDS | (DICEBEAR if any(source.kind == AVATARS for source in chosen) else {})
    missing = [package for module, package in needs.items() if find_spec(module) is None]
    if missing:
        raise UserError(f"missing Python packages: {' '.join(missing)}; run: pip install 't2igan[drawings]'")

    from drawing_set.build import build  # here, because --help needs no torch

    report = build(args.out, chosen, args.size, args.cache.resolve(), args.flags, args.processes)
    splits, dropped = (", ".join(f"{name} {count}" for name, count in report[part].items()) for part in ("splits", "dropped"))
    print(f"{args.out}: {report['pictures']} images, {report['drawn_by_hand']} drawn by hand, {report['names']} names: {splits}")
    print(f"dropped: {dropped or 'nothing'}")


if __name__ == "__main__":
    run_script(main)
