"""Prompts and seeds to pictures; a trained model to a folder and back."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import torch
from einops import repeat
from jaxtyping import Float
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from tqdm import tqdm

from t2igan.config import GeneratorConfig, Recipe, parse, to_dict
from t2igan.data.images import to_pil
from t2igan.errors import UserError
from t2igan.files import write_folder
from t2igan.layers.folded import fold
from t2igan.synthesis.generator import Generator
from t2igan.system import build_generator
from t2igan.text import KINDS
from t2igan.text.cache import CaptionEncoder
from t2igan.types import TextDescriptors


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """What `model/config.json` says: enough to build the generator and to find its text encoder."""

    name: str
    resolution: int
    generator: GeneratorConfig
    text: object = dataclasses.field(metadata={"kinds": KINDS})


@dataclasses.dataclass(frozen=True)
class StyleCodes:
    """What synthesis draws from, for each picture: a style and adapted text for every stage, coarsest first. Edits choose among them."""

    styles: Float[Tensor, "b l style_dim"]
    texts: tuple[TextDescriptors, ...]

    def __len__(self) -> int:
        return len(self.styles)

    def __getitem__(self, rows) -> "StyleCodes":
        return StyleCodes(self.styles[rows], tuple(text[rows] for text in self.texts))


class GeneratorRunner:
    """A trained generator and the text encoder before it, ready to draw."""

    def __init__(self, generator: Generator, describe: CaptionEncoder):
        self.generator, self.describe = generator, describe
        self.synthesize = generator.draw
        self.bf16 = False  # autocast: pays where the device computes faster in it, pictures differ by about a step of 1/255

    @property
    def device(self) -> torch.device:
        return next(self.generator.parameters()).device

    def compile(self) -> None:
        """Synthesis by torch.compile from now on: some seconds for the first picture of each batch size, then faster ones."""
        self.synthesize = torch.compile(self.generator.draw, dynamic=False)

    def autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16)


class Pipeline(GeneratorRunner):
    """`pipeline(["a red apple"], seeds=[0, 1])` gives a list of PIL pictures for each prompt.

    A picture depends on prompt, seed and truncation alone: each seed has a CPU generator of its own, so neither the batch nor the
    device changes it (up to rounding). `truncation` below 1 pulls styles to their prompt's mean, `global_truncation` to all prompts'.
    """

    def __init__(self, generator: Generator, describe: CaptionEncoder, resolution: int):
        super().__init__(generator, describe)
        self.resolution = resolution

    def __call__(
        self, prompts: Sequence[str], seeds: Sequence[int] = (0,), truncation: float = 1.0, batch: int = 32, global_truncation: float = 1.0
    ) -> list[list[Image.Image]]:
        """Pictures by prompt and seed.

        Raises:
            UserError: no prompt, an empty prompt, or no seed.
        """
        pictures = [to_pil(image) for image in self.images(prompts, seeds, truncation, batch, global_truncation)]
        return [pictures[i * len(seeds) : (i + 1) * len(seeds)] for i in range(len(prompts))]

    def images(
        self, prompts: Sequence[str], seeds: Sequence[int] = (0,), truncation: float = 1.0, batch: int = 32, global_truncation: float = 1.0
    ) -> Float[Tensor, "b 3 r r"]:
        """The same as one tensor [prompts * seeds, 3, r, r] in [-1, 1], prompt by prompt, on the CPU."""
        check_prompts(prompts)
        if not len(seeds):
            raise UserError("no seed given; a seed is a whole number, such as --seeds 0-7")
        every = [prompt for prompt in prompts for _ in seeds]
        return self.each(every, list(seeds) * len(prompts), truncation, batch, global_truncation)

    def each(
        self, prompts: Sequence[str], seeds: Sequence[int], truncation: float = 1.0, batch: int = 32, global_truncation: float = 1.0
    ) -> Float[Tensor, "b 3 r r"]:
        """One picture for each prompt, with the seed beside it: [prompts, 3, r, r] in [-1, 1], on the CPU."""
        check_prompts(prompts)
        done = []
        for start in tqdm(range(0, len(prompts), batch), "drawing", delay=5, disable=None, leave=False):
            part = slice(start, start + batch)
            done.append(self.draw(self.style(prompts[part], seeds[part], truncation, global_truncation)))
        return torch.cat(done)

    @torch.no_grad()
    def style(self, prompts: Sequence[str], seeds: Sequence[int], truncation: float = 1.0, global_truncation: float = 1.0) -> StyleCodes:
        """What one picture for each prompt is drawn from, with the seed beside it.

        Raises:
            UserError: global truncation by a model whose mean style was never measured.
        """
        check_prompts(prompts)
        mapper, stages = self.generator.mapper, self.generator.synthesis.stages_count
        if global_truncation != 1 and not mapper.mean_style.any():
            raise UserError("this model has no mean style to truncate to; it is measured when its training ends")
        text = self.describe(list(prompts)).to(self.device)  # what it remembers does not depend on how pictures are drawn
        z = torch.stack([self.latent(seed) for seed in seeds]).to(self.device)
        with self.autocast():
            text = self.generator.adapt(text)
            w = mapper(z, text, truncation, global_truncation)
        return StyleCodes(repeat(w, "b d -> b l d", l=stages), (text,) * stages)

    @torch.no_grad()
    def draw(self, styled: StyleCodes) -> Float[Tensor, "b 3 r r"]:
        """Pictures in [-1, 1], on the CPU."""
        with self.autocast():
            return self.synthesize(styled.styles, list(styled.texts)).pyramid.finest.cpu()

    def latent(self, seed: int) -> Float[Tensor, " z_dim"]:
        return draw_latent(seed, self.generator.mapper.z_dim)

    @classmethod
    def load(cls, folder: Path | str, device: str | torch.device = "cpu", cache: Path | None = None) -> "Pipeline":
        """From a run folder or its `model` folder.

        Raises:
            UserError: the folder holds no model, or its text encoder is missing.
        """
        config = read_config(model_folder(Path(folder)))
        if config.generator.synthesis.low is not None:
            raise UserError(f"{folder} is an upsampler, which starts from pictures; use `t2igan upsample`, or `t2igan sample --upsampler`")
        return cls(*load_generator(Path(folder), device, cache), config.resolution)


def load_generator(folder: Path, device: str | torch.device, cache: Path | None) -> tuple[Generator, CaptionEncoder]:
    """The generator of a run, folded, and the text encoder before it. Raises UserError as `Pipeline.load`."""
    folder = model_folder(folder)
    config = read_config(folder)
    encoder = config.text.build()
    generator = build_generator(config.generator, encoder.token_dim, encoder.text_dim)
    try:
        generator.load_state_dict(load_file(folder / "model.safetensors"))
    except (OSError, RuntimeError, SafetensorError) as error:
        detail = " ".join(line.strip() for line in str(error).splitlines()[:2])
        raise UserError(f"the weights in {folder} do not load ({detail[:200]}); train again or get the folder again") from None
    encoder.load_pretrained()
    generator.to(device, memory_format=torch.channels_last).eval().requires_grad_(False)
    return fold(generator), CaptionEncoder(encoder, cache, device)


def draw_latent(seed: int, z_dim: int) -> Float[Tensor, " z_dim"]:
    """A seed's latent: from a CPU generator of its own, so that neither batch nor device changes it."""
    return torch.randn(z_dim, generator=torch.Generator().manual_seed(seed))


def check_prompts(prompts: Sequence[str]) -> None:
    """Raises UserError where there is no prompt or an empty one."""
    if not prompts:
        raise UserError("no prompt given; say what to draw, such as 'a red apple'")
    for number, prompt in enumerate(prompts, 1):
        if not prompt.strip():
            raise UserError(f"prompt {number} of {len(prompts)} is empty; say what to draw, such as 'a red apple'")


def model_folder(folder: Path) -> Path:
    """The folder with config.json: the one given, or `model` inside it."""
    for candidate in (folder / "model", folder):
        if (candidate / "config.json").is_file():
            return candidate
    what = "has no model yet; let its training finish" if (folder / "recipe.yaml").is_file() else "is not a run folder"
    raise UserError(f"{folder} {what}; `t2igan train RECIPE.yaml --out RUN` makes one")


def read_config(folder: Path) -> ModelConfig:
    try:
        data = json.loads((folder / "config.json").read_text())
    except ValueError as error:
        raise UserError(f"{folder / 'config.json'} is not JSON ({error}); get the folder again") from None
    return parse(ModelConfig, data, "")


def save_model(folder: Path, generator: Generator, recipe: Recipe, facts: dict) -> None:
    """`config.json`, `model.safetensors` and a model card, atomically."""
    config = ModelConfig(recipe.name, recipe.resolution, recipe.generator, recipe.text)
    parameters = sum(p.numel() for p in generator.parameters())
    low = recipe.generator.synthesis.low
    what = f"A text-to-image GAN, {recipe.resolution} px" if low is None else f"An upsampler GAN, {low} to {recipe.resolution} px"
    card = [f"# {recipe.name}", "", f"{what}, {parameters:,} parameters, trained with t2igan.", ""]
    card += [f"- {name}: {value}" for name, value in facts.items()]
    card += [f"- data: {recipe.data.shards} (see the card beside the shards for licences)", f"- text encoder: {recipe.text}", ""]
    if low is None:
        use = f't2igan sample {folder.parent.name} "a prompt" --out picture.png'
    else:
        use = f"t2igan upsample {folder.parent.name} picture.png --out large"
    card += ["```", use, "```", ""]
    files = {"config.json": json.dumps(to_dict(config), indent=2), "README.md": "\n".join(card)}
    write_folder(folder, {"model": generator.state_dict()}, files)
