"""How closely a model draws given pictures, by a latent and by styles (inference/invert.py), and how far edits then carry them.

Each figure is a mean over pictures: PSNR in dB, and the cosine between embeddings of a CLIP that took no part in the search; of the latent,
of the styles and, beside them, of what the caption gives without the picture. An edit takes words and styles of the finer stages from
another prompt; the cosine between the edited image and that prompt says whether it obeys, beside that of the image before the edit.
"""

import statistics
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from t2igan.data.images import decode, to_pil, to_signed
from t2igan.data.shards import Shards
from t2igan.errors import UserError
from t2igan.evaluation.reference import naming_broken
from t2igan.features.open_clip import ClipScorer
from t2igan.grids import grid
from t2igan.inference.edit import mix
from t2igan.inference.invert import by_clip, invert
from t2igan.inference.pipeline import NO_PROMPT, Pipeline
from t2igan.metrics.similarity import psnr

Images = Float[Tensor, "1 3 r r"]


@dataclass
class Inversions:
    """Scores picture by picture, and rows to look at: the picture, one seed of its caption, its latent, its styles, each edit."""

    scores: dict[str, list[float]] = field(default_factory=dict)
    rows: list[list[Image.Image]] = field(default_factory=list)
    captions: list[str] = field(default_factory=list)

    def add(self, **values: float) -> None:
        for name, value in values.items():
            self.scores.setdefault(name, []).append(value)

    @property
    def grid(self) -> Image.Image:
        return grid(self.rows, self.captions)

    def result(self) -> dict[str, float | int]:
        count = len(next(iter(self.scores.values())))
        return {"pictures": count} | {name: statistics.fmean(values) for name, values in self.scores.items()}


def measure_inversion(
    pipeline: Pipeline, data: str, count: int, guide: ClipScorer, scorer: ClipScorer, edits: list[str], layer: int, steps: tuple[int, int]
) -> Inversions:
    """Inverts `count` pictures, spread evenly over the shards, each with its first caption as the prompt.

    Args:
        guide: the CLIP whose features the search compares.
        scorer: another CLIP, for the scores.
        edits: prompts; each takes over the stages from `layer` on, words and styles.
        steps: of the latent's search and of the styles'.

    Raises:
        UserError: the shards hold fewer pictures, or the model has no such stage or no text for an edit.
    """
    for edit in edits:  # refused before the work
        pipeline.check([edit])
        codes = pipeline.map_prompts([edit], [0])
        mix(codes, codes, layer)
    shards, found = Shards(data, captioned=pipeline.conditional), Inversions()
    if count > len(shards):
        raise UserError(f"{data} holds {len(shards)} pictures, asked for are {count}")
    for number in (i * len(shards) // count for i in range(count)):
        record = shards.read(number)
        with naming_broken(shards, number):
            picture = to_signed(decode(record.image, pipeline.resolution)[None]).to(pipeline.device)
        prompt = record.captions[0] if pipeline.conditional else NO_PROMPT
        inverted = invert(pipeline, prompt, by_clip(picture[0], guide), *steps)
        codes = inverted.inversion.codes(pipeline)
        edited = [pipeline.synthesize(mix(codes, pipeline.map_prompts([edit], [0]), layer)) for edit in edits]
        untouched = pipeline.sample_tensor([prompt], range(1))  # what the prompt gives without the picture
        drawn = {"one seed": untouched, "latent": inverted.by_latent[None], "styles": inverted.by_styles[None]}
        for name, image in drawn.items():
            image = image.to(picture)
            found.add(**{f"psnr of {name}": float(psnr(image, picture)), f"cosine of {name}": cosine(scorer, image, picture)})
        for edit, image in zip(edits, edited, strict=True):
            found.add(**{f"{edit}: cosine before": agreement(scorer, drawn["styles"].to(picture), edit)})
            found.add(**{f"{edit}: cosine after": agreement(scorer, image.to(picture), edit)})
        found.rows.append([to_pil(image[0].cpu()) for image in (picture, *drawn.values(), *edited)])
        found.captions.append(f"{prompt}: true, one seed, latent, styles; {', '.join(edits)}".removesuffix("; "))
    return found


@torch.no_grad()
def cosine(scorer: ClipScorer, a: Images, b: Images) -> float:
    """Between the embeddings of two images."""
    return float((scorer.images(a) * scorer.images(b)).sum())


@torch.no_grad()
def agreement(scorer: ClipScorer, image: Images, prompt: str) -> float:
    """Between the embeddings of an image and a prompt."""
    return float((scorer.images(image) * scorer.text([prompt]).to(image.device)).sum())
