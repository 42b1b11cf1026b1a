"""Edits by styles and words: truncation, style mixing, prompt interpolation, prompt mixing; movements; as grids and animations.

Kang et al. 2023 (arXiv:2303.05511), section 4 and appendix; style mixing by layers: Karras et al. 2019 (arXiv:1812.04948), 3.1; movements:
Karras et al. 2021 (arXiv:2106.12423), section 3.2.
"""

import contextlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from t2igan.data.images import save_image, to_pil
from t2igan.errors import UserError
from t2igan.files import atomic_file
from t2igan.grids import grid
from t2igan.inference.invert import Inversion
from t2igan.inference.pipeline import Pipeline, StyleCodes
from t2igan.types import TextDescriptors, Tokens

Rows = list[list[Image.Image]]
INVERTED = "@"  # before the file of an inverted picture, in place of a prompt


def codes_of(pipeline: Pipeline, prompt: str, seed: int, truncation: float = 1.0, global_truncation: float = 1.0) -> StyleCodes:
    """The style codes of a prompt and a seed; of `@FILE`, those of the picture that t2igan invert wrote there, whatever the seed."""
    if is_inverted(prompt):
        return Inversion.load(inverted_file(prompt)).codes(pipeline, truncation, global_truncation)
    return pipeline.map_prompts([prompt], [seed], truncation, global_truncation)


def is_inverted(prompt: str) -> bool:
    return prompt.startswith(INVERTED)


def inverted_file(prompt: str) -> Path:
    return Path(prompt.removeprefix(INVERTED))


def lerp(a: StyleCodes, b: StyleCodes, weight: float) -> StyleCodes:
    """`weight` of the way from a to b, in styles and, position by position, in words; a word that only one prompt has fades in or out."""
    texts = tuple(_lerp_text(x, y, weight) for x, y in zip(a.texts, b.texts, strict=True))
    return StyleCodes(torch.lerp(a.styles, b.styles, weight), texts)


def _lerp_text(a: TextDescriptors, b: TextDescriptors, weight: float) -> TextDescriptors:
    parts = (1 - weight) * a.source.mask, weight * b.source.mask
    counts = parts[0] + parts[1]  # 1 where both prompts have a word, towards 0 where only one has it and fades out
    local = (parts[0][..., None] * a.local + parts[1][..., None] * b.local) / counts.clamp(min=1e-12)[..., None]
    source = Tokens(a.source.ids, counts > 0)
    return replace(a, local=local, pooled=torch.lerp(a.pooled, b.pooled, weight), source=source, attention_bias=counts.log())


def mix(coarse: StyleCodes, fine: StyleCodes, layer: int, words: bool = True) -> StyleCodes:
    """Stages before `layer` from `coarse`, the others from `fine`: their styles and, with `words`, their texts.

    Raises:
        UserError: no stage on one of the sides.
    """
    stages = coarse.styles.shape[1]
    if not 1 <= layer < stages:
        raise UserError(f"--layer is {layer}, needs 1 to {stages - 1}: the model has {stages} stages, 0 is the coarsest")
    styles = torch.cat([coarse.styles[:, :layer], fine.styles[:, layer:]], 1)
    return StyleCodes(styles, coarse.texts[:layer] + (fine.texts[layer:] if words else coarse.texts[layer:]))


def interpolate(pipeline: Pipeline, prompts: Sequence[str], seeds: Sequence[int], steps: int, truncation: float = 1.0) -> Rows:
    """From prompt to prompt with the same latent: a row of images for each seed, `steps` of them from one prompt to the next."""
    if len(prompts) < 2:
        raise UserError(f"interpolate goes from prompt to prompt, got {len(prompts)}; give two or more")
    _check_steps(steps)
    ways = [(a, b, i / steps) for a, b in zip(prompts, prompts[1:], strict=False) for i in range(steps)] + [(prompts[-1], prompts[-1], 0.0)]
    rows = []
    for seed in seeds:
        codes = {prompt: codes_of(pipeline, prompt, seed, truncation) for prompt in dict.fromkeys(prompts)}
        rows.append([_image(pipeline, lerp(codes[a], codes[b], weight)) for a, b, weight in ways])
    return rows


def interpolate_square(pipeline: Pipeline, corners: Sequence[str], seed: int, steps: int, truncation: float = 1.0) -> Rows:
    """Four prompts at the corners of a square (two above, two below) and interpolations between them, all from one latent."""
    if len(corners) != 4:
        raise UserError(f"--square has four prompts at its corners, got {len(corners)}")
    _check_steps(steps)
    a, b, c, d = (codes_of(pipeline, prompt, seed, truncation) for prompt in corners)
    part = [i / steps for i in range(steps + 1)]
    return [[_image(pipeline, lerp(lerp(a, b, x), lerp(c, d, x), y)) for x in part] for y in part]


def style_mix(pipeline: Pipeline, prompt: str, coarse: Sequence[int], fine: Sequence[int], layer: int, truncation: float = 1.0) -> Rows:
    """A row for each seed of `coarse`, which gives the stages before `layer`, and a column for each of `fine`, after the sources.

    An inverted picture is the row, and the columns are images of its prompt.
    """
    words = Inversion.load(inverted_file(prompt)).prompt if is_inverted(prompt) else prompt
    rows = [codes_of(pipeline, prompt, seed, truncation) for seed in coarse]
    columns = [codes_of(pipeline, words, seed, truncation) for seed in fine]
    head = [_blank(pipeline)] + [_image(pipeline, source) for source in columns]
    mixed = [[_image(pipeline, a)] + [_image(pipeline, mix(a, b, layer)) for b in columns] for a in rows]
    return [head, *mixed]


def prompt_mix(pipeline: Pipeline, layout: str, look: Sequence[str], seeds: Sequence[int], layer: int, truncation: float = 1.0) -> Rows:
    """A row for each seed: `layout` alone, then with each prompt of `look` in the stages from `layer` on, both styles and words."""
    if not look:
        raise UserError("prompt-mix takes the layout from one prompt and the look from others, got one; give two or more")
    rows = []
    for seed in seeds:
        base = codes_of(pipeline, layout, seed, truncation)
        others = [codes_of(pipeline, prompt, seed, truncation) for prompt in look]
        rows.append([_image(pipeline, base)] + [_image(pipeline, mix(base, other, layer)) for other in others])
    return rows


def truncate(pipeline: Pipeline, prompt: str, seeds: Sequence[int], values: Sequence[float], towards: str) -> Rows:
    """A row for each seed, a column for each value; `towards` is the mean of the prompt, of all prompts ("global"), or both in turn."""
    if not values or not all(0 <= value <= 1 for value in values):
        raise UserError(f"--values is {', '.join(map(str, values))}, needs numbers from 0 (the mean) to 1 (as trained)")
    rows = []
    for seed in seeds:
        psi = [(1.0 if towards == "global" else value, 1.0 if towards == "prompt" else value) for value in values]
        rows.append([_image(pipeline, codes_of(pipeline, prompt, seed, own, of_all)) for own, of_all in psi])
    return rows


def movement(translate: Sequence[float] = (0.0, 0.0), degrees: float = 0.0, zoom: float = 1.0) -> Float[Tensor, "3 3"]:
    """What moves the Fourier features that a model starts from, so that its image is enlarged by `zoom`, turned and then translated.

    Args:
        translate: to the right and down, in widths of the image.
        degrees: from the axis to the right to the axis down.
    """
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    image = torch.tensor([[zoom * c, -zoom * s, translate[0]], [zoom * s, zoom * c, translate[1]], [0, 0, 1]], dtype=torch.float64)
    return torch.linalg.inv(image).float()


@contextlib.contextmanager
def moved_input(pipeline: Pipeline, matrix: Float[Tensor, "3 3"]) -> Iterator[None]:
    """Inside, the model starts from Fourier features that are moved so. Raises UserError where it starts from a grid."""
    waves = pipeline.generator.synthesis.fourier_input
    if waves is None:
        raise UserError("this model starts from a grid, not from Fourier features, and cannot be moved; systems such as stylegan3 can")
    before = waves.transform.clone()
    waves.transform.copy_(matrix)
    try:
        yield
    finally:
        waves.transform.copy_(before)


def move(
    pipeline: Pipeline,
    prompt: str,
    seeds: Sequence[int],
    steps: int,
    translate: Sequence[float] = (0.0, 0.0),
    degrees: float = 0.0,
    zoom: float = 1.0,
    truncation: float = 1.0,
) -> Rows:
    """A row for each seed: from the image as it is, in `steps` equal steps, to the one that is translated, turned and enlarged so."""
    _check_steps(steps)
    if zoom <= 0:
        raise UserError(f"--zoom is {zoom}, needs a number above 0")
    rows = []
    for seed in seeds:
        codes = codes_of(pipeline, prompt, seed, truncation)
        row = []
        for part in (i / steps for i in range(steps + 1)):
            with moved_input(pipeline, movement([part * x for x in translate], part * degrees, zoom**part)):
                row.append(_image(pipeline, codes))
        rows.append(row)
    return rows


def save(rows: Rows, captions: Sequence[str], out: Path, fps: int | None = None) -> None:
    """A captioned grid; with `fps` an animation of the columns in turn: .webp, .gif, or .mp4, which needs PyAV."""
    out.parent.mkdir(parents=True, exist_ok=True)
    if fps is None:
        save_image(grid(rows, list(captions)), out)
        return
    frames = [grid([[row[i]] for row in rows], list(captions)) for i in range(len(rows[0]))]
    if out.suffix.lower() == ".mp4":
        _write_mp4(frames, out, fps)
    else:
        save_image(frames[0], out, save_all=True, append_images=frames[1:], duration=round(1000 / fps), loop=0)


def _write_mp4(frames: list[Image.Image], out: Path, fps: int) -> None:
    import av

    width, height = (side - side % 2 for side in frames[0].size)  # the codec halves its colour planes
    with atomic_file(out) as temporary, av.open(str(temporary), "w", format="mp4") as file:
        stream = file.add_stream("libx264", rate=fps)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for frame in frames:
            file.mux(stream.encode(av.VideoFrame.from_image(frame.crop((0, 0, width, height)))))
        file.mux(stream.encode())


def _image(pipeline: Pipeline, codes: StyleCodes) -> Image.Image:
    return to_pil(pipeline.synthesize(codes)[0])


def _blank(pipeline: Pipeline) -> Image.Image:
    return Image.new("RGB", (pipeline.resolution, pipeline.resolution), "white")


def _check_steps(steps: int) -> None:
    if steps < 1:
        raise UserError(f"--steps is {steps}, needs a whole number above 0")
