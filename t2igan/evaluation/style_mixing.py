"""A model to StyleGAN's figure of style mixing, and to how much each stage's style decides.

Karras et al. 2019 (arXiv:1812.04948), section 3.1 and Fig. 3: images of latents A with the coarse, the middle or the fine styles of latents
B. Ours: the change of the image by stage.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from PIL import Image
from torch import Tensor

from t2igan.data.images import to_pil
from t2igan.errors import UserError
from t2igan.grids import grid
from t2igan.inference.pipeline import Pipeline, StyleCodes

PAPERS_CUTS = (4, 8)  # first style of the middle and of the fine ones: those of 16 px and of 64 px
ROWS = 2  # rows of each group in the figure


@dataclass(frozen=True)
class StyleMixing:
    result: dict
    image: Image.Image


def style_mixing(
    pipeline: Pipeline, prompts: Sequence[str], sources: Sequence[int], others: Sequence[int], cuts: tuple[int, int] | None = None
) -> StyleMixing:
    """The figure of the first prompt, and the change by stage over all prompts.

    Args:
        sources: seeds of the images A, the rows, whose styles are replaced.
        others: seeds of the images B, the columns, which give the new styles.
        cuts: first style of the middle and of the fine ones; None: the paper's, or thirds where there are fewer than ten.

    Raises:
        UserError: the model has fewer than three styles, or cuts do not lie in order between them.
    """
    pipeline.check(prompts)
    stages = pipeline.generator.synthesis.num_styles
    if stages < 3:
        raise UserError(f"the model has {stages} style(s); coarse, middle and fine ones need three or more")
    first, second = cuts or (PAPERS_CUTS if stages > 9 else (stages // 3, 2 * stages // 3))
    if not 0 < first < second < stages:
        raise UserError(f"--cuts is {first} {second}, needs two rising numbers from 1 to {stages - 1}: the model has {stages} styles")
    groups = {"coarse": (0, first), "middle": (first, second), "fine": (second, stages)}
    changes = torch.stack([changes_by_stage(pipeline, prompt, sources, others) for prompt in prompts]).mean(0)
    result = {
        "change_by_stage": changes.tolist(),
        "change_by_group": {name: group_change(pipeline, prompts, sources, others, part) for name, part in groups.items()},
        "styles": {name: f"{begin} to {end - 1}" for name, (begin, end) in groups.items()},
        "prompts": len(prompts),
        "pairs": len(sources) * len(others),
    }
    return StyleMixing(result, figure(pipeline, prompts[0], sources, others, groups))


def mixed(a: StyleCodes, b: StyleCodes, begin: int, end: int) -> StyleCodes:
    """Styles `begin` to `end` - 1 from b, the others and the words from a."""
    place = torch.arange(a.styles.shape[1], device=a.styles.device)[None, :, None]
    return replace(a, styles=torch.where((place >= begin) & (place < end), b.styles, a.styles))


def every_pair(pipeline: Pipeline, prompt: str, sources: Sequence[int], others: Sequence[int]) -> tuple[StyleCodes, StyleCodes]:
    """The styles of A and of B for every pair of seeds, row by row."""
    codes = [pipeline.map_prompts([prompt] * len(seeds), list(seeds)) for seeds in (sources, others)]
    rows, columns = torch.arange(len(sources)).repeat_interleave(len(others)), torch.arange(len(others)).repeat(len(sources))
    return codes[0][rows], codes[1][columns]


def difference(pipeline: Pipeline, a: StyleCodes, b: StyleCodes) -> Tensor:
    """The mean over pairs of the root mean square difference of their images, of values from -1 to 1."""
    return (pipeline.synthesize(a) - pipeline.synthesize(b)).square().mean((1, 2, 3)).sqrt().mean()


def changes_by_stage(pipeline: Pipeline, prompt: str, sources: Sequence[int], others: Sequence[int]) -> Tensor:
    """How much the image changes when one style comes from another latent, for each style."""
    a, b = every_pair(pipeline, prompt, sources, others)
    return torch.stack([difference(pipeline, a, mixed(a, b, stage, stage + 1)) for stage in range(a.styles.shape[1])])


def group_change(pipeline: Pipeline, prompts: Sequence[str], sources: Sequence[int], others: Sequence[int], part: tuple[int, int]) -> float:
    pairs = (every_pair(pipeline, prompt, sources, others) for prompt in prompts)
    return float(torch.stack([difference(pipeline, a, mixed(a, b, *part)) for a, b in pairs]).mean())


def figure(
    pipeline: Pipeline, prompt: str, sources: Sequence[int], others: Sequence[int], groups: dict[str, tuple[int, int]]
) -> Image.Image:
    """Images B above; below, for each group of styles, images A with those styles of B."""
    blank = Image.new("RGB", (pipeline.resolution,) * 2, "white")
    b = pipeline.map_prompts([prompt] * len(others), list(others))
    rows, captions = [[blank, *map(to_pil, pipeline.synthesize(b))]], [f"{prompt}: B gives styles to A, the first of each row".lstrip(": ")]
    for name, part in groups.items():
        for seed in sources[:ROWS]:
            a = pipeline.map_prompts([prompt] * len(others), [seed] * len(others))
            rows.append([to_pil(pipeline.synthesize(a[:1])[0]), *map(to_pil, pipeline.synthesize(mixed(a, b, *part)))])
            captions.append(f"{name} styles from B")
    return grid(rows, captions)
