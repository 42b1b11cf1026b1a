"""Two zero-shot results to a table of their differences, or to the fields that make them incomparable.

The same metric under two protocols gives two unrelated numbers under one name. Results are compared only if nothing but the model and
the cost of the run differs.
"""

from pathlib import Path

from t2igan.errors import UserError
from t2igan.plain_text import parse_json


def read_result(path: Path) -> dict:
    """Raises UserError where the file is not a zero-shot result."""
    if not path.is_file():
        raise UserError(f"no result at {path}; --out of eval/zero_shot_coco.py or eval/fid.py writes one")
    try:
        result = parse_json(path.read_text(encoding="utf-8"))
        return {name: dict(result[name]) for name in ("protocol", "model", "metrics", "run")}
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{path} is no result of eval/zero_shot_coco.py or eval/fid.py; give the file that its --out names") from None


def compare(a: dict, b: dict) -> str:
    """A table of both results, metric by metric.

    Raises:
        UserError: the results differ in protocol or in the network of a metric, or have no metric in common.
    """
    shared = [metric for metric in a["metrics"] if metric in b["metrics"]]
    if not shared:
        raise UserError(f"no metric in common: {', '.join(a['metrics'])} and {', '.join(b['metrics'])}")
    found = differences(a["protocol"], b["protocol"], "protocol")
    truncations = [result["model"].get("truncation") for result in (a, b)]  # unknown for images that another system generated
    if None not in truncations:
        found += differences(*truncations, "model.truncation")
    for metric in shared:
        found += differences(a["metrics"][metric]["network"], b["metrics"][metric]["network"], f"{metric}.network")
    if found:
        raise UserError("these results are not comparable: " + "; ".join(found))
    protocol = a["protocol"]
    lines = [f"{protocol['name']} with {protocol['extractor']}, {protocol['pictures']} images at {protocol['side']} px"]
    lines.append(f"{'':18} {'first':>10} {'second':>10} {'difference':>11}")
    for metric in shared:
        first, second = (result["metrics"][metric]["value"] for result in (a, b))
        lines.append(f"{metric.replace('_', ' '):18} {first:10.4f} {second:10.4f} {second - first:+11.4f}")
    return "\n".join(lines)


def conflicts(a: dict, b: dict) -> list[str]:
    """Fields of the protocol, and networks of shared metrics, that differ between two results."""
    found = differences(a["protocol"], b["protocol"])
    for metric in a["metrics"].keys() & b["metrics"].keys():
        found += differences(a["metrics"][metric]["network"], b["metrics"][metric]["network"])
    return found


def differences(a: object, b: object, name: str = "") -> list[str]:
    """`reference.pictures: 100, 40504` for each field whose values differ."""
    if isinstance(a, dict) and isinstance(b, dict):
        return [row for key in sorted(a.keys() | b.keys()) for row in differences(a.get(key), b.get(key), f"{name}.{key}" if name else key)]
    return [] if a == b else [f"{name}: {abbreviated(a)}, {abbreviated(b)}"]


def abbreviated(value: object) -> str:
    """The value as text; hashes are cut."""
    text = str(value)
    return f"{text[:12]}..." if len(text) == 64 else text
