"""Results of eval/zero_shot_coco.py to one HTML page: figures, the curve of FID against CLIP score, pictures with their captions.

    python eval/report.py runs/a/coco_*.json --neighbours runs/a/neighbours.json --out report.html

Results that differ in truncation only make one curve. The page needs no other file.
"""

import argparse
import base64
import html
import io
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # runs from a clone that is not installed

from t2igan.errors import UserError, run_script

SHOWN = 24  # pictures of a result
WIDTH, HEIGHT, PAD = 520, 340, 56  # of the curve
STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:64em;margin:2em auto;padding:0 1em;color:#222}
table{border-collapse:collapse;margin:1em 0}td,th{padding:.25em .8em;border-bottom:1px solid #ddd;text-align:right}
td:first-child,th:first-child{text-align:left}figure{margin:1em 0}img{max-width:100%;image-rendering:pixelated}
code{color:#666;font-size:12px;word-break:break-all}"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", nargs="+", type=Path, metavar="RESULT.json")
    parser.add_argument("--neighbours", type=Path, help="result of eval/neighbours.py")
    parser.add_argument("--out", type=Path, required=True, help="page.html to write")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    arguments = parser.parse_args()
    page = build(arguments.results, arguments.neighbours)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(page, encoding="utf-8")
    print(f"{arguments.out}: {len(arguments.results)} results, {len(page) / 1e6:.1f} MB")


def build(paths: list[Path], neighbours: Path | None = None) -> str:
    """The page. Raises UserError where a file is no result."""
    from eval.compare import read_result

    results = {path: read_result(path) for path in paths}
    parts = ["<h1>Zero-shot COCO</h1>", figures(results)]
    for curve in curves(results):
        parts.append(draw_curve(curve))
    for path, result in results.items():
        parts.append(pictures(path, result))
    if neighbours:
        parts.append(nearest(neighbours))
    body = "\n".join(filter(None, parts))
    return f'<!doctype html><html lang="en"><meta charset="utf-8"><title>t2igan</title><style>{STYLE}</style><body>{body}</body></html>\n'


def figures(results: dict) -> str:
    """One row per result; results of other protocols stand under a heading of their own."""
    from eval.compare import differences

    groups: list[list[Path]] = []
    for path, result in results.items():
        group = next((g for g in groups if not any(unlike(results[other], result, differences) for other in g)), None)
        groups.append([path]) if group is None else group.append(path)
    found = []
    for group in groups:
        protocol = results[group[0]]["protocol"]
        metrics = list(dict.fromkeys(metric for path in group for metric in results[path]["metrics"]))
        head = "".join(f"<th>{html.escape(metric.replace('_', ' '))}</th>" for metric in metrics)
        rows = []
        for path in group:
            result = results[path]
            cells = (f"{result['metrics'][m]['value']:.4f}" if m in result["metrics"] else "" for m in metrics)
            truncation = result["model"].get("truncation", "")
            rows.append(f"<tr><td>{html.escape(str(path))}</td><td>{truncation}</td>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>")
        title = f"{protocol['name']} with {protocol['extractor']}, {protocol['pictures']:,} pictures at {protocol['side']} px"
        found.append(f"<h2>{html.escape(title)}</h2><table><tr><th>result</th><th>truncation</th>{head}</tr>{''.join(rows)}</table>")
        hashes = {"captions": protocol["captions_sha256"], "reference": protocol["reference"]["content_sha256"]}
        found.append(f"<p>{'<br>'.join(f'{name} <code>{digest}</code>' for name, digest in hashes.items())}</p>")
    return "\n".join(found)


def unlike(a: dict, b: dict, differences) -> list[str]:
    """Fields of the protocol, and networks of shared metrics, that are not the same."""
    found = differences(a["protocol"], b["protocol"])
    for metric in a["metrics"].keys() & b["metrics"].keys():
        found += differences(a["metrics"][metric]["network"], b["metrics"][metric]["network"])
    return found


def curves(results: dict) -> list[list[dict]]:
    """Results of one model under one protocol at several truncations, each with both FID and CLIP score."""
    from eval.compare import differences

    found: list[list[dict]] = []
    for result in results.values():
        if not {"fid", "clip_score"} <= result["metrics"].keys() or result["model"].get("sha256") is None:
            continue  # of pictures drawn elsewhere nobody knows whether one model drew them
        match = (c for c in found if c[0]["model"].get("sha256") == result["model"].get("sha256") and not unlike(c[0], result, differences))
        curve = next(match, None)
        found.append([result]) if curve is None else curve.append(result)
    return [sorted(curve, key=lambda result: result["model"]["truncation"]) for curve in found if len(curve) > 1]


def draw_curve(curve: list[dict]) -> str:
    """FID upwards, CLIP score to the right, a point per truncation, as SVG."""
    points = [(r["metrics"]["clip_score"]["value"], r["metrics"]["fid"]["value"], r["model"]["truncation"]) for r in curve]
    (left, right), (low, high) = ((min(values), max(values)) for values in ([p[0] for p in points], [p[1] for p in points]))

    def place(x: float, y: float) -> tuple[float, float]:
        across = (x - left) / ((right - left) or 1)
        up = (y - low) / ((high - low) or 1)
        return PAD + across * (WIDTH - 2 * PAD), HEIGHT - PAD - up * (HEIGHT - 2 * PAD)

    placed = [(*place(x, y), truncation) for x, y, truncation in points]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y, _ in placed)
    dots = "".join(
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="#36c"/><text x="{x + 7:.1f}" y="{y - 6:.1f}">{t}</text>' for x, y, t in placed
    )
    corners = ((PAD, HEIGHT - 30, left), (WIDTH - PAD, HEIGHT - 30, right), (14, HEIGHT - PAD, low), (14, PAD, high))
    ticks = "".join(f'<text x="{x}" y="{y}">{value:.4g}</text>' for x, y, value in corners)
    names = f'<text x="{WIDTH / 2}" y="{HEIGHT - 10}" text-anchor="middle">CLIP score</text><text x="8" y="20">FID</text>'
    axes = f'<path d="M{PAD} {PAD / 2}V{HEIGHT - PAD}H{WIDTH - PAD / 2}" fill="none" stroke="#999"/>'
    drawing = f'{axes}<polyline points="{line}" fill="none" stroke="#36c" stroke-width="2"/>{dots}{ticks}{names}'
    title = "FID against CLIP score by truncation"
    return f'<h2>{title}</h2><svg width="{WIDTH}" height="{HEIGHT}" font-size="12" font-family="sans-serif" role="img">{drawing}</svg>'


def pictures(path: Path, result: dict) -> str:
    """The first pictures of a result with their captions, from the folder beside it."""
    from PIL import Image

    from t2igan.data.shards import Shards
    from t2igan.grids import sheet

    folder = path.with_suffix("") / "pictures"
    if not folder.is_dir():
        return ""
    shards = Shards(str(folder))
    records = [shards.read(number) for number in range(min(SHOWN, len(shards)))]
    images = [Image.open(io.BytesIO(record.image)).convert("RGB") for record in records]
    columns = max(1, min(8, 1000 // max(images[0].width, 96)))
    grid = sheet(images, [record.captions[0] for record in records], columns, scale=max(1, 96 // images[0].width))
    return f"<h2>{html.escape(str(path))}</h2><figure>{embedded(grid)}</figure>"


def nearest(path: Path) -> str:
    from PIL import Image

    if not path.is_file() or not path.with_suffix(".png").is_file():
        raise UserError(f"no neighbours at {path} with {path.with_suffix('.png').name} beside it; eval/neighbours.py makes both")
    try:
        found = dict(json.loads(path.read_text())["distance"])
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{path} is no result of eval/neighbours.py") from None
    said = ", ".join(f"{name.replace('_', ' ')} {value:.4f}" for name, value in found.items() if isinstance(value, float))
    picture = embedded(Image.open(path.with_suffix(".png")))
    return f"<h2>Nearest training pictures</h2><p>{html.escape(said)}</p><figure>{picture}</figure>"


def embedded(picture) -> str:
    from t2igan.data.images import png_bytes

    return f'<img alt="" src="data:image/png;base64,{base64.b64encode(png_bytes(picture)).decode()}">'


if __name__ == "__main__":
    run_script(main)
