"""Results of eval/zero_shot_coco.py to one HTML page: metrics, the curve of FID against CLIP score, images with their captions.

    python eval/report.py runs/a/coco_*.json --neighbours runs/a/near.json --out report.html

Results that differ only in truncation form one curve. The page needs no other file.
"""

import argparse
from pathlib import Path

from t2igan.errors import run_script


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", nargs="+", type=Path, metavar="RESULT.json")
    parser.add_argument("--neighbours", type=Path, help="result of eval/nearest_neighbors.py")
    parser.add_argument("--out", type=Path, required=True, help="page.html to write")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    arguments = parser.parse_args()

    from t2igan.evaluation.page import build_page

    page = build_page(arguments.results, arguments.neighbours)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(page, encoding="utf-8")
    print(f"{arguments.out}: {len(arguments.results)} results, {len(page) / 1e6:.1f} MB")


if __name__ == "__main__":
    run_script(main)
