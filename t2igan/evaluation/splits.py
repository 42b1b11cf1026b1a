"""A model to its scores on a data set with held-out splits, by a CLIP that took no part in its training.

Every score stands beside the score that real images reach through the same code:

- retrieval accuracy of training concepts, of compositions that training never saw in any style, of concepts that it never saw at all, and
  of (concept, style) pairs that it never saw;
- the Fréchet distance in CLIP's features;
- how much the images of one prompt vary, against how much real styles do, and how many real styles they cover;
- how close generated images come to training images.

Of these, a model without text has the Fréchet distance, the spread of all its images, and how close they come to training images.

A data set is a folder of four folders of shards, named as in `SPLITS`. The first caption of an image names its concept; its metadata holds
`style`, and `captions_styled`, a list of captions that name the style too. `splits.json` lists the concepts of each split.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from t2igan.data.images import to_signed
from t2igan.data.shards import Shards
from t2igan.errors import UserError
from t2igan.evaluation.interfaces import EvaluationClip, ImageSampler
from t2igan.evaluation.reference import read_images
from t2igan.grids import grid, sheet
from t2igan.inference.pipeline import NO_PROMPT, Pipeline
from t2igan.metrics.diversity import coverage, nearest, spread
from t2igan.metrics.frechet import frechet_distance
from t2igan.metrics.retrieval import retrieval
from t2igan.plain_text import read_json

CANDIDATES = 100  # captions to choose from, or as many as there are
SEEDS = 8  # images per prompt for spread and coverage
GRID_SEED = 0
SQUARE = 12  # images to a side of a grid without prompts
SPLITS = ("train", "held_out_pairs", "held_out_compositions", "held_out_concepts")
COMPETING = ("held_out_compositions", "held_out_concepts")  # splits whose captions are always among the candidates


@dataclass(frozen=True)
class Split:
    """Real images in [-1, 1], and the metadata of each with its first caption as `name`."""

    images: Float[Tensor, "b 3 r r"]
    metas: list[dict]


def read_splits(data: Path, size: int) -> dict[str, Split]:
    """All splits, with images of `size` px. Raises UserError where a split is missing or has one caption, or all training
    images have one style."""
    missing = [name for name in SPLITS if not (data / name).is_dir()]
    if missing:
        raise UserError(f"{data} has no {missing[0]!r} split; give a folder with the folders {', '.join(SPLITS)}")
    splits = {name: read_split(data / name, size) for name in SPLITS}
    alone = next((name for name, split in splits.items() if len({meta["name"] for meta in split.metas}) < 2), None)
    if alone:
        raise UserError(f"the split {alone} of {data} has one caption only; to choose the right one takes two or more")
    if len({meta["style"] for meta in splits["train"].metas}) < 2:
        raise UserError(f"{data} has one style only; the spread between styles needs a data set of two or more")
    return splits


def read_split(folder: Path, size: int) -> Split:
    shards = Shards(str(folder))
    images, metas = [], []
    for image, record in read_images(shards, size):
        images.append(image)
        metas.append(record.meta | {"name": record.captions[0]})
    return Split(to_signed(torch.stack(images)), metas)


class SplitScores:
    """One data set, one CLIP and one model."""

    def __init__(self, splits: dict[str, Split], clip: EvaluationClip, pipeline: ImageSampler, truncation: float = 1.0):
        self.clip, self.pipeline, self.truncation = clip, pipeline, truncation
        self.metas = {name: split.metas for name, split in splits.items()}
        self.real = {name: self.embed(split.images) for name, split in splits.items()}
        self.styles = sorted({meta["style"] for meta in self.metas["train"]})
        self.by_style = [self.real["train"][[meta["style"] == style for meta in self.metas["train"]]] for style in self.styles]
        self.names = sorted({meta["name"] for metas in self.metas.values() for meta in metas})
        self.captions = clip.text(self.names)

    def run(self) -> dict:
        """All scores of a model with text."""
        names = {split: sorted({meta["name"] for meta in metas}) for split, metas in self.metas.items()}
        # As many generated images per training concept as there are real ones on average, so that Fréchet compares equal counts
        seeds = range(max(2, round(len(self.metas["train"]) / len(names["train"]))))
        generated = {split: self.generate(names[split], seeds) for split in SPLITS if split != "held_out_pairs"}
        result = {split: self.score_retrieval(split, names[split], images) for split, images in generated.items()}
        pairs = self.metas["held_out_pairs"]
        styled = self.generate([meta["captions_styled"][0] for meta in pairs], [0])
        result["held_out_pairs"] = self.score_retrieval("held_out_pairs", [meta["name"] for meta in pairs], styled)
        train = generated["train"].flatten(0, 1)
        result |= self.score_frechet(train) | self.score_frechet_by_style()
        return result | self.score_diversity(names["train"]) | self.score_nearest(train)

    def run_without_text(self) -> dict:
        """What a model without text can be asked, of as many images as there are real ones."""
        real = self.real["train"]
        generated = self.generate([NO_PROMPT], range(len(real)))
        whole = {"diversity_of_all": {"generated": spread(generated), "real": spread(real[None])}}
        return self.score_frechet(generated[0]) | whole | self.score_nearest(generated[0])

    def embed(self, images: Float[Tensor, "b 3 r r"]) -> Float[Tensor, "b d"]:
        with torch.no_grad():
            return torch.cat([self.clip.images(chunk) for chunk in images.split(64)])

    def generate(self, prompts: list[str], seeds: Sequence[int]) -> Float[Tensor, "p s d"]:
        """Embeddings of generated images, by prompt and seed."""
        embedded = self.embed(self.pipeline.sample_tensor(prompts, list(seeds), self.truncation))
        return embedded.unflatten(0, (len(prompts), -1))

    def score_retrieval(self, split: str, names: list[str], generated: Float[Tensor, "p s d"]) -> dict:
        """R@1 and R@5 of generated images, of real ones, and of real ones scored against the caption of another image."""
        position = {name: i for i, name in enumerate(self.names)}
        always = sorted({position[name] for name in names}) if split in COMPETING else []
        prompts, shown = ([position[name] for name in part] for part in (names, [meta["name"] for meta in self.metas[split]]))
        wrong = [next(other for other in shown[i:] + shown if other != true) for i, true in enumerate(shown)]
        rows = {
            "": (generated.flatten(0, 1), [prompt for prompt in prompts for _ in range(generated.shape[1])]),
            "real_": (self.real[split], shown),
            "floor_": (self.real[split], wrong),
        }
        count = min(CANDIDATES, len(self.names))
        hits = {prefix: retrieval(images, self.captions, truth, count, always=always) for prefix, (images, truth) in rows.items()}
        return {f"{prefix}r_at_{k}": found[k] for prefix, found in hits.items() for k in (1, 5)} | {"candidates": count}

    def score_frechet(self, generated: Float[Tensor, "n d"]) -> dict:
        """Of generated images to real ones, and two distances between real images to compare it with."""
        real, first = self.real["train"], self.styles[0]
        half = len(real) // 2
        others = real[[meta["style"] != first for meta in self.metas["train"]]]
        return {
            "frechet": frechet_distance(generated, real),
            "frechet_real": {
                "one half of the real pictures against the other": frechet_distance(real[:half], real[half:]),
                "one style against the others": frechet_distance(self.by_style[0], others),
            },
        }

    def score_frechet_by_style(self) -> dict:
        """Of images generated for a style to the real ones of that style, and of the other styles."""
        same, other = [], []
        for i, style in enumerate(self.styles):
            captions = [meta["captions_styled"][0] for meta in self.metas["train"] if meta["style"] == style]
            generated = self.generate(captions, [0])[:, 0]
            distances = [frechet_distance(generated, real) for real in self.by_style]
            same.append(distances.pop(i))
            other += distances
        return {"frechet_by_style": {"asked_for": sum(same) / len(same), "other_styles": sum(other) / len(other)}}

    def score_diversity(self, names: list[str]) -> dict:
        """How much the images of one prompt vary, and how many real styles they cover."""
        rows = {name: [i for i, meta in enumerate(self.metas["train"]) if meta["name"] == name] for name in names}
        most = max(map(len, rows.values()))
        whole = [name for name in names if len(rows[name]) == most]  # concepts that training saw in every style
        real = torch.stack([self.real["train"][rows[name]] for name in whole])
        generated = self.generate(whole, range(SEEDS))
        return {
            "diversity": {"generated": spread(generated), "real": spread(real)},
            "style_coverage": {"generated": coverage(generated, list(real)), "one_style_only": 1 / most, "styles": most, "seeds": SEEDS},
        }

    def score_nearest(self, generated: Float[Tensor, "n d"]) -> dict:
        """Mean distance to the nearest training image, of generated images and of real ones that training never saw."""
        found = {"generated": generated, "real_held_out": self.real["held_out_pairs"]}
        distances = {name: nearest(images, self.real["train"])[0] for name, images in found.items()}
        return {"nearest_training_picture": {name: float(distance.mean()) for name, distance in distances.items()}}


def table(result: dict) -> str:
    """Lines of text, of either kind of model."""
    real = ", ".join(f"{name.replace('pictures', 'images')} {value:.3f}" for name, value in result["frechet_real"].items())
    n = result["nearest_training_picture"]
    frechet = f"Fréchet distance {result['frechet']:.3f} ({real})"
    lines = [
        f"nearest training image {n['generated']:.3f} (held-out real images: {n['real_held_out']:.3f})",
        f"{result['images_seen']} images seen in {result['minutes']} minutes",
    ]
    if "train" in result:
        return "\n".join([*retrieval_lines(result), frechet, *prompted_lines(result), *lines])
    d = result["diversity_of_all"]
    return "\n".join([frechet, f"diversity of all images {d['generated']:.3f} of {d['real']:.3f}", *lines])


def retrieval_lines(result: dict) -> list[str]:
    among = f"among {result['train']['candidates']} captions"
    lines = [f"{among:28} {'R@1':>7} {'real':>7} {'ratio':>6}   {'R@5':>7} {'real':>7} {'ratio':>6}"]
    for split in SPLITS:
        s = result[split]
        cells = [f"{s[f'r_at_{k}']:7.3f} {s[f'real_r_at_{k}']:7.3f} {s[f'r_at_{k}'] / max(s[f'real_r_at_{k}'], 1e-9):6.2f}" for k in (1, 5)]
        lines.append(f"{split.replace('_', ' '):28} {'   '.join(cells)}")
    floors = ", ".join(f"R@{k} {sum(result[split][f'floor_r_at_{k}'] for split in SPLITS) / len(SPLITS):.3f}" for k in (1, 5))
    return [*lines, f"real images scored against the caption of another one, mean of the splits: {floors}"]


def prompted_lines(result: dict) -> list[str]:
    d, c, f = (result[key] for key in ("diversity", "style_coverage", "frechet_by_style"))
    return [
        f"Fréchet distance by style: to the style in the prompt {f['asked_for']:.3f}, to the others {f['other_styles']:.3f}",
        f"diversity {d['generated']:.3f} of {d['real']:.3f} between real styles ({d['generated'] / d['real']:.2f})",
        f"style coverage over {c['seeds']} seeds {c['generated']:.2f} of {c['styles']} styles (one style only: {c['one_style_only']:.2f})",
    ]


def overview(data: Path, pipeline: Pipeline, truncation: float) -> Image.Image:
    """One image: training concepts, held-out compositions (marked *), `SEEDS` seeds of some prompts; without text, a square of seeds."""
    scale = max(1, 64 // pipeline.resolution)
    if not pipeline.conditional:
        images = pipeline(seeds=range(SQUARE**2), truncation=truncation)[0]
        return grid([images[row : row + SQUARE] for row in range(0, SQUARE**2, SQUARE)], [NO_PROMPT] * SQUARE, scale)
    splits = read_json(data / "splits.json", "make the data again")
    train = splits["train"][:: max(1, len(splits["train"]) // 60)][:60]
    held_out = splits["held_out_compositions"][:12]
    images = [row[0] for row in pipeline(train + held_out, [GRID_SEED], truncation)]
    top = sheet(images, train + [f"*{name}" for name in held_out], columns=12, scale=scale)
    prompts = train[5::10][:6]
    bottom = grid(pipeline(prompts, range(SEEDS), truncation), prompts, scale)
    canvas = Image.new("RGB", (max(top.width, bottom.width), top.height + bottom.height), "white")
    canvas.paste(top, (0, 0))
    canvas.paste(bottom, (0, top.height))
    return canvas
