"""Two results of eval/zero_shot_coco.py side by side, or the fields that make them incomparable.

    python eval/compare.py runs/a/coco.json runs/b/coco.json

The same metric under two protocols gives two unrelated numbers under one name: results are compared only if nothing but the model and the
cost of the run differs.
"""

import argparse
from pathlib import Path

from t2igan.errors import run_script


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", nargs=2, type=Path, metavar="RESULT.json")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    arguments = parser.parse_args()

    from t2igan.evaluation.compare import compare, read_result

    print(compare(*map(read_result, arguments.results)))


if __name__ == "__main__":
    run_script(main)
