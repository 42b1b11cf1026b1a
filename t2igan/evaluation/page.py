"""Zero-shot results to one HTML page: metrics, the curve of FID against CLIP score, images with their captions.

Results that differ only in truncation form one curve. The page needs no other file.
"""

import base64
import html
import io
from pathlib import Path

from PIL import Image

from t2igan.data.images import png_bytes
from t2igan.data.shards import Shards
from t2igan.errors import UserError
from t2igan.evaluation.compare import conflicts, read_result
from t2igan.evaluation.curve import curve_svg
from t2igan.grids import sheet
from t2igan.plain_text import parse_json

SHOWN = 24  # images of a result
STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:64em;margin:2em auto;padding:0 1em;color:#222}
table{border-collapse:collapse;margin:1em 0}td,th{padding:.25em .8em;border-bottom:1px solid #ddd;text-align:right}
td:first-child,th:first-child{text-align:left}figure{margin:1em 0}img{max-width:100%;image-rendering:pixelated}
code{color:#666;font-size:12px;word-break:break-all}"""


def build_page(paths: list[Path], neighbors: Path | None = None) -> str:
    """The page of these results. Raises UserError where a file is not a result.

    Args:
        neighbors: the result of eval/nearest_neighbors.py, with its image beside it.
    """
    results = {path: read_result(path) for path in paths}
    parts = ["<h1>Zero-shot COCO</h1>", tables(results)]
    parts += [score_curve(curve) for curve in curves(results)]
    parts += [image_sheet(path) for path in results]
    if neighbors:
        parts.append(neighbors_section(neighbors))
    body = "\n".join(filter(None, parts))
    return f'<!doctype html><html lang="en"><meta charset="utf-8"><title>t2igan</title><style>{STYLE}</style><body>{body}</body></html>\n'


def tables(results: dict[Path, dict]) -> str:
    """One row per result; results that cannot be compared stand in separate tables."""
    groups: list[list[Path]] = []
    for path, result in results.items():
        group = next((group for group in groups if not any(conflicts(results[other], result) for other in group)), None)
        groups.append([path]) if group is None else group.append(path)
    return "\n".join(table({path: results[path] for path in group}) for group in groups)


def table(results: dict[Path, dict]) -> str:
    """A heading, a row per result, and the hashes of captions and reference that all results share."""
    protocol = next(iter(results.values()))["protocol"]
    metrics = list(dict.fromkeys(metric for result in results.values() for metric in result["metrics"]))
    head = "".join(f"<th>{html.escape(metric.replace('_', ' '))}</th>" for metric in metrics)
    rows = []
    for path, result in results.items():
        cells = (f"{result['metrics'][m]['value']:.4f}" if m in result["metrics"] else "" for m in metrics)
        truncation = result["model"].get("truncation", "")
        rows.append(f"<tr><td>{html.escape(str(path))}</td><td>{truncation}</td>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>")
    title = f"{protocol['name']} with {protocol['extractor']}, {protocol['pictures']:,} images at {protocol['side']} px"
    hashes = {"captions": protocol["captions_sha256"], "reference": protocol["reference"]["content_sha256"]}
    return (
        f"<h2>{html.escape(title)}</h2><table><tr><th>result</th><th>truncation</th>{head}</tr>{''.join(rows)}</table>\n"
        f"<p>{'<br>'.join(f'{name} <code>{digest}</code>' for name, digest in hashes.items())}</p>"
    )


def curves(results: dict) -> list[list[dict]]:
    """Groups of two or more results that differ only in truncation and have both FID and CLIP score, by truncation."""
    found: list[list[dict]] = []
    for result in results.values():
        model = result["model"].get("sha256")
        if not {"fid", "clip_score"} <= result["metrics"].keys() or model is None:
            continue  # without a hash, nothing shows that the same model generated the images
        curve = next((curve for curve in found if curve[0]["model"]["sha256"] == model and not conflicts(curve[0], result)), None)
        found.append([result]) if curve is None else curve.append(result)
    return [sorted(curve, key=lambda result: result["model"]["truncation"]) for curve in found if len(curve) > 1]


def score_curve(curve: list[dict]) -> str:
    """FID upwards, CLIP score to the right, one point per truncation."""
    points = [(r["metrics"]["clip_score"]["value"], r["metrics"]["fid"]["value"], str(r["model"]["truncation"])) for r in curve]
    return f"<h2>FID against CLIP score by truncation</h2>{curve_svg(points, 'CLIP score', 'FID')}"


def image_sheet(path: Path) -> str:
    """The first images of a result with their captions, from the folder beside it; nothing where there is no such folder."""
    folder = path.with_suffix("") / "pictures"
    if not folder.is_dir():
        return ""
    shards = Shards(str(folder))
    records = [shards.read(number) for number in range(min(SHOWN, len(shards)))]
    images = [Image.open(io.BytesIO(record.image)).convert("RGB") for record in records]
    columns = max(1, min(8, 1000 // max(images[0].width, 96)))
    shown = sheet(images, [record.captions[0] for record in records], columns, scale=max(1, 96 // images[0].width))
    return f"<h2>{html.escape(str(path))}</h2><figure>{embedded(shown)}</figure>"


def neighbors_section(path: Path) -> str:
    """Distances and image of eval/nearest_neighbors.py. Raises UserError where one is missing."""
    image = path.with_suffix(".png")
    if not path.is_file() or not image.is_file():
        raise UserError(f"no neighbours at {path} with {image.name} beside it; eval/nearest_neighbors.py makes both")
    try:
        distances = dict(parse_json(path.read_text(encoding="utf-8"))["distance"])
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{path} is no result of eval/nearest_neighbors.py; give the file that its --out names") from None
    text = ", ".join(f"{name.replace('_', ' ')} {value:.4f}" for name, value in distances.items() if isinstance(value, float))
    return f"<h2>Nearest training images</h2><p>{html.escape(text)}</p><figure>{embedded(Image.open(image))}</figure>"


def embedded(image: Image.Image) -> str:
    return f'<img alt="" src="data:image/png;base64,{base64.b64encode(png_bytes(image)).decode()}">'
