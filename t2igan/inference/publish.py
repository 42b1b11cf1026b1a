"""A finished run to a folder for other people: weights stored in half precision, the recipe, and a card that says what was done.

Shape of the card: Mitchell et al. 2019 (arXiv:1810.03993), section 4.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from t2igan.config import Recipe
from t2igan.errors import UserError
from t2igan.files import HASHES, atomic_folder, write_hashes, write_tensors, write_text
from t2igan.inference.model_folder import DISCRIMINATOR, WEIGHTS, model_folder
from t2igan.inference.open import open_model
from t2igan.inference.pipeline import NO_PROMPT, GeneratorRunner, Pipeline
from t2igan.inference.run_log import minutes, read_log
from t2igan.plain_text import parse_json
from t2igan.recipe import load_recipe, to_dict

SEEDS = range(4)  # of each of the recipe's prompts, for the difference that half precision makes
POINTS = 8  # of the run's log that the card shows
PICTURE = "picture.png"


@dataclass(frozen=True)
class CardNotes:
    """What the card says that the run folder does not hold; each part is optional.

    Attributes:
        machine: what it was trained on.
        limits: Markdown about what it cannot do.
        credits: Markdown about who made the data, under which licence.
        scores: a table of scores in Markdown, such as `scores_table` makes.
        picture: an image file that shows what it can do.
    """

    machine: str = ""
    limits: str = ""
    credits: str = ""
    scores: str = ""
    picture: Path | None = None


@dataclass(frozen=True)
class Published:
    """A folder that was written."""

    megabytes: float
    difference: float | None  # what half precision changes, as `difference` finds; None: not measured
    local_paths: list[str]  # in its recipe


def publish(run: Path, out: Path, notes: CardNotes, half: bool = True, discriminator: dict[str, Tensor] | None = None) -> Published:
    """Writes the folder `out`, atomically.

    Args:
        discriminator: D's weights, which let others begin a training with the model (t2igan train --from).

    Raises:
        UserError: the run has no model or no log, or half precision does not hold its weights.
    """
    source = model_folder(run)
    recipe = load_recipe(str(run))
    weights = {WEIGHTS: load_file(source / WEIGHTS)} | ({} if discriminator is None else {DISCRIMINATOR: discriminator})
    records = read_log(run)
    with atomic_folder(out) as folder:
        for file, state in weights.items():
            write_tensors(folder / file, {name: as_half(name, value) for name, value in state.items()} if half else state)
        for name, path in (("config.json", source / "config.json"), ("recipe.yaml", run / "recipe.yaml"), (PICTURE, notes.picture)):
            if path is not None:
                (folder / name).write_bytes(path.read_bytes())
        change = difference(open_model(source), open_model(folder), recipe) if half else None
        write_text(folder / "README.md", card(recipe, source, half, records, change, notes))
        write_hashes(folder)
        size = sum(path.stat().st_size for path in folder.iterdir()) / 1e6
    return Published(size, change, local_paths(recipe))


def as_half(name: str, value: Tensor) -> Tensor:
    """float32 as float16, other types as they are. Raises UserError for a number that float16 does not hold."""
    if value.dtype != torch.float32:
        return value
    half = value.half()
    if not half.isfinite().all():
        raise UserError(f"{name} holds numbers up to {value.abs().max():.3g}, which float16 does not; publish with --float32")
    return half


def difference(one: GeneratorRunner, other: GeneratorRunner, recipe: Recipe) -> float | None:
    """The most that a pixel of the recipe's prompts differs between two models, in steps of 1/255.

    None where the recipe has no prompts, or the models start from images.
    """
    prompts = list(recipe.training.prompts) if one.conditional else [NO_PROMPT]
    if not prompts or not (isinstance(one, Pipeline) and isinstance(other, Pipeline)):
        return None
    a, b = (pipeline.sample_tensor(prompts, SEEDS) for pipeline in (one, other))
    return float((a - b).abs().max()) * 127.5


def card(recipe: Recipe, source: Path, half: bool, records: list[dict], change: float | None, notes: CardNotes) -> str:
    """README.md of the published folder: the run's own card, its training, and the notes."""
    where = f" on {notes.machine}" if notes.machine else ""
    seen = f"{records[-1]['images']:,} images seen in {minutes(records):.0f} minutes{where}"
    parts = [(source / "README.md").read_text(encoding="utf-8").strip()]
    if notes.picture is not None:
        parts.append(f"![what it draws]({PICTURE})")
    began = "" if recipe.start is None else f" It began with the weights of {recipe.start.run}, which are needed to repeat it."
    parts += ["## Training", f"`t2igan train recipe.yaml --out RUN`, seed {recipe.seed}: {seen}.{began}", curves(records)]
    if half:
        changes = "" if change is None else f"; that changes no pixel of the recipe's prompts by more than {change:.1f} of 255 steps"
        parts.append(f"Weights are stored in float16{changes}.")
    sections = {"Scores": notes.scores, "Limits": notes.limits, "Data and credits": notes.credits}
    parts += [part for title, words in sections.items() if words for part in (f"## {title}", words.strip())]
    return "\n\n".join([*parts, f"`sha256sum -c {HASHES}` checks the files."]) + "\n"


def local_paths(recipe: Recipe) -> list[str]:
    """Values of a recipe that name a place on this machine."""

    def walk(value: object) -> list[str]:
        if isinstance(value, dict | list | tuple):
            return [found for inner in (value.values() if isinstance(value, dict) else value) for found in walk(inner)]
        return [value] if isinstance(value, str) and value.removeprefix("local-dir:").startswith(("/", "~")) else []

    return list(dict.fromkeys(walk(to_dict(recipe))))


def curves(records: list[dict]) -> str:
    """Terms of both objectives at a few points of the training, as a table in Markdown; what is due now and then may have gaps."""
    count = min(POINTS, len(records))
    rows = [records[round(i * (len(records) - 1) / max(1, count - 1))] for i in range(count)]
    logged = dict.fromkeys(name for record in records for name, value in record.items() if isinstance(value, float))
    shown = [name for name in logged if name.startswith(("D/", "G/")) and not name.endswith(("lr", "gradient_norm"))]
    head = ["images", *shown]
    table = [[number(row["images"]), *(number(row.get(name)) for name in shown)] for row in rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *table))


def number(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.3g}" if isinstance(value, float) else ""


def scores_table(file: Path) -> str:
    """A file of scores as a table: a line for every number, named by its way through the file. Raises UserError where it is not JSON."""
    try:
        data = parse_json(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{file}: no scores ({error})") from None

    def walk(value: object, path: str) -> list[str]:
        if isinstance(value, dict):
            return [line for key, inner in value.items() for line in walk(inner, f"{path}, {key}" if path else key)]
        return [f"| {path.replace('_', ' ')} | {number(value)} |"] if isinstance(value, int | float) and not isinstance(value, bool) else []

    return "\n".join(["| score | value |", "|---|---|", *walk(data, "")])
