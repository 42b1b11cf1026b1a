"""Two results of eval/zero_shot_coco.py beside each other, or the field that forbids it.

    python eval/compare.py runs/a/coco.json runs/b/coco.json

Figures of different protocols are different figures under one name: where anything but the model and its cost differs, nothing is
compared, and the fields that differ are named.
"""

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # runs from a clone that is not installed

from t2igan.errors import UserError, run_script


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", nargs=2, type=Path, metavar="RESULT.json")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    paths = parser.parse_args().results
    print(table(*map(read_result, paths)))


def read_result(path: Path) -> dict:
    """Raises UserError where the file is no result."""
    if not path.is_file():
        raise UserError(f"no result at {path}; eval/zero_shot_coco.py --out writes one")
    try:
        result = json.loads(path.read_text())
        parts = {name: dict(result[name]) for name in ("protocol", "model", "metrics", "run")}
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{path} is no result of eval/zero_shot_coco.py; give the file that its --out names") from None
    return parts


def differences(a: object, b: object, name: str = "") -> list[str]:
    """`reference.pictures: 100, 40504` for each field that is not the same in both."""
    if isinstance(a, dict) and isinstance(b, dict):
        return [row for key in sorted(a.keys() | b.keys()) for row in differences(a.get(key), b.get(key), f"{name}.{key}" if name else key)]
    return [] if a == b else [f"{name}: {short(a)}, {short(b)}"]


def short(value: object) -> str:
    text = str(value)
    return f"{text[:12]}..." if len(text) == 64 else text  # a hash


def table(a: dict, b: dict) -> str:
    """Figures of both, metric by metric.

    Raises:
        UserError: another protocol, another network behind a metric, or no metric in common.
    """
    shared = [metric for metric in a["metrics"] if metric in b["metrics"]]
    if not shared:
        raise UserError(f"no metric in common: {', '.join(a['metrics'])} and {', '.join(b['metrics'])}")
    found = differences(a["protocol"], b["protocol"], "protocol")
    truncations = [result["model"].get("truncation") for result in (a, b)]  # of pictures drawn elsewhere it is not known
    if None not in truncations:
        found += differences(*truncations, "model.truncation")
    for metric in shared:
        found += differences(a["metrics"][metric]["network"], b["metrics"][metric]["network"], f"{metric}.network")
    if found:
        raise UserError("these results are not comparable: " + "; ".join(found))
    protocol = a["protocol"]
    lines = [f"{protocol['name']} with {protocol['extractor']}, {protocol['pictures']} pictures at {protocol['side']} px"]
    lines.append(f"{'':18} {'first':>10} {'second':>10} {'difference':>11}")
    for metric in shared:
        one, two = (result["metrics"][metric]["value"] for result in (a, b))
        lines.append(f"{metric.replace('_', ' '):18} {one:10.4f} {two:10.4f} {two - one:+11.4f}")
    return "\n".join(lines)


if __name__ == "__main__":
    run_script(main)
