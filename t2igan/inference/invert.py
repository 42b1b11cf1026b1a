"""A picture to the latent and the styles that a generator draws it from, so that every edit works on it.

The latent first, then a style of its own for every stage: Abdal et al. 2019 (arXiv:1904.03189), section 4, begin with the mean style; the
prompt's best latent of many is closer, and keeps what the prompt decides.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from tqdm import tqdm

from t2igan.errors import UserError
from t2igan.features.lpips import Lpips
from t2igan.features.open_clip import ClipScorer
from t2igan.files import atomic_file
from t2igan.inference.pipeline import Pipeline, StyleCodes, draw_latent

Images = Float[Tensor, "b 3 r r"]
Distance = Callable[[Images], Float[Tensor, " b"]]  # of images to the picture

CANDIDATES = 64  # latents tried before the best one is optimised
LATENT_RATE, STYLE_RATE = 0.05, 0.02  # of Adam, at the beginning; both fall to zero along a cosine
PIXELS = 1.0  # weight of the mean square difference of pixels in [-1, 1] beside the features' distance


@dataclass(frozen=True)
class Inversion:
    """What a picture was found to be drawn from.

    Attributes:
        prompt: what the picture shows; the words that synthesis attends to.
        z: of the first stage of the search.
        styles: of every stage of synthesis, coarsest first.
    """

    prompt: str
    z: Float[Tensor, " z_dim"]
    styles: Float[Tensor, "l style_dim"]

    def save(self, file: Path) -> None:
        with atomic_file(file) as temporary:
            save_file({"z": self.z, "styles": self.styles}, temporary, {"prompt": self.prompt})

    @classmethod
    def load(cls, file: Path) -> Inversion:
        """Raises UserError where there is no such file, or it is of another kind."""
        try:
            with safe_open(file, "pt") as data:
                return cls((data.metadata() or {})["prompt"], data.get_tensor("z"), data.get_tensor("styles"))
        except (OSError, KeyError, SafetensorError):
            raise UserError(f"{file} holds no inverted picture; make one with t2igan invert") from None

    def codes(self, pipeline: Pipeline, truncation: float = 1.0, global_truncation: float = 1.0) -> StyleCodes:
        """What edits and synthesis take; truncation pulls the styles of the stages that it pulls for a prompt.

        Raises:
            UserError: it was made with another model, or global truncation by a model whose mean style was never measured.
        """
        mapper, stages = pipeline.generator.mapper, pipeline.generator.synthesis.num_styles
        if self.styles.shape != (stages, mapper.style_dim):
            shapes = f"{tuple(self.styles.shape)}, this model's are {(stages, mapper.style_dim)}"
            raise UserError(f"an inverted picture has styles of shape {shapes}; invert it again")
        codes = pipeline.map_prompts([self.prompt], [0], global_truncation=global_truncation)  # checks that there is a mean to truncate to
        own = pulled = self.styles.to(pipeline.device)
        if truncation != 1:
            target = mapper.truncation_target(own.mean(0, keepdim=True), codes.texts[0])
            pulled = torch.lerp(target.to(own.dtype), own, truncation)
        if global_truncation != 1:
            pulled = torch.lerp(mapper.mean_style.to(own.dtype), pulled, global_truncation)
        if mapper.truncated_styles is not None:
            pulled = torch.cat([pulled[: mapper.truncated_styles], own[mapper.truncated_styles :]])
        return StyleCodes(pulled[None], codes.texts)


@dataclass(frozen=True)
class Found:
    """An inversion, and the picture as the latent and as the styles draw it, [3, r, r] in [-1, 1] on the CPU."""

    inversion: Inversion
    by_latent: Float[Tensor, "3 r r"]
    by_styles: Float[Tensor, "3 r r"]
    distances: dict[str, float]  # to it, of the best z tried, of the optimised one and of the styles


def invert(pipeline: Pipeline, prompt: str, distance: Distance, latent_steps: int, style_steps: int) -> Found:
    """Searches the latent, then the styles, from which the generator draws a picture with this prompt.

    Args:
        distance: of images at the model's resolution to the picture, differentiable.
    """
    generator, stages = pipeline.generator, pipeline.generator.synthesis.num_styles
    tried = range(CANDIDATES)
    codes = pipeline.map_prompts([prompt] * CANDIDATES, tried)
    text = codes.texts[0][:1]

    def draw(styles: Float[Tensor, "1 l style_dim"]) -> Float[Tensor, "1 3 r r"]:
        return generator.synthesize(styles, [text] * stages).pyramid.finest

    with torch.no_grad():
        of_each = torch.cat([distance(pipeline.synthesize(codes[row : row + 8]).to(pipeline.device)) for row in range(0, CANDIDATES, 8)])
    best = int(of_each.argmin())
    latent = draw_latent(best, generator.mapper.z_dim)[None].to(pipeline.device)
    latent = descend(latent, lambda z: distance(draw(generator.mapper(z, text, stages))), LATENT_RATE, latent_steps, "z")
    with torch.no_grad():
        styles = generator.mapper(latent, text, stages)
        by_latent = draw(styles)
    refined = descend(styles, lambda w: distance(draw(w)), STYLE_RATE, style_steps, "styles")
    with torch.no_grad():
        by_styles = draw(refined)
        distances = {"best z tried": of_each[best], "z": distance(by_latent)[0], "styles": distance(by_styles)[0]}
    inversion = Inversion(prompt, latent[0].cpu(), refined[0].float().cpu())
    return Found(inversion, by_latent[0].cpu(), by_styles[0].cpu(), {name: float(value) for name, value in distances.items()})


def descend(start: Tensor, loss: Callable[[Tensor], Tensor], rate: float, steps: int, name: str) -> Tensor:
    """The point of the smallest loss that Adam meets in so many steps; the start, if none is smaller."""
    point = start.detach().clone().requires_grad_(True)
    optimizer = torch.optim.Adam([point], rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(steps, 1))
    best, least = start.detach().clone(), float("inf")
    for _ in tqdm(range(steps), name, delay=2, disable=None, leave=False):
        value = loss(point).sum()
        if value.item() < least:
            best, least = point.detach().clone(), value.item()
        (point.grad,) = torch.autograd.grad(value, [point])
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        return point.detach().clone() if steps and loss(point).sum().item() < least else best


def by_lpips(picture: Float[Tensor, "3 r r"], vgg: Path | None = None, heads: Path | None = None) -> Distance:
    """LPIPS and the pixels' mean square difference.

    Args:
        vgg, heads: weight files, or None for torch hub's cache.
    """
    lpips = Lpips(vgg, heads)
    lpips.load_pretrained()
    lpips.to(picture.device)
    return lambda images: lpips(images, picture[None].expand_as(images)) + PIXELS * pixels(images, picture)


def by_clip(picture: Float[Tensor, "3 r r"], clip: ClipScorer) -> Distance:
    """One minus the cosine of CLIP's embeddings, and the pixels' mean square difference."""
    with torch.no_grad():
        embedding = clip.images(picture[None])
    return lambda images: 1 - F.cosine_similarity(clip.images(images), embedding) + PIXELS * pixels(images, picture)


def pixels(images: Images, picture: Float[Tensor, "3 r r"]) -> Float[Tensor, " b"]:
    return (images - picture).square().mean((1, 2, 3))
