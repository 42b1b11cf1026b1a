"""Prompts and seeds to pictures; a trained model to a folder and back."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file
from tqdm import tqdm

from t2igan.config import GeneratorConfig, Recipe, parse, to_dict
from t2igan.data.images import to_pil
from t2igan.errors import UserError
from t2igan.folders import write_folder
from t2igan.generator import Generator
from t2igan.system import build_generator
from t2igan.text import KINDS, build_text_encoder
from t2igan.text.cache import CaptionEncoder


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """What `model/config.json` says: enough to build the generator and to find its text encoder."""

    name: str
    resolution: int
    generator: GeneratorConfig
    text: object = dataclasses.field(metadata={"kinds": {name: config for name, (config, _) in KINDS.items()}})


class Pipeline:
    """`pipeline(["a red apple"], seeds=[0, 1])` gives a list of PIL pictures for each prompt.

    A picture depends on prompt, seed and truncation alone: each seed has a CPU generator of its own, so neither the batch nor the
    device changes it (up to rounding).
    """

    def __init__(self, generator: Generator, describe: CaptionEncoder, resolution: int):
        self.generator, self.describe, self.resolution = generator, describe, resolution

    @property
    def device(self) -> torch.device:
        return next(self.generator.parameters()).device

    def __call__(
        self, prompts: Sequence[str], seeds: Sequence[int] = (0,), truncation: float = 1.0, batch: int = 32
    ) -> list[list[Image.Image]]:
        """Pictures by prompt and seed.

        Raises:
            UserError: no prompt, an empty prompt, or no seed.
        """
        pictures = [to_pil(image) for image in self.images(prompts, seeds, truncation, batch)]
        return [pictures[i * len(seeds) : (i + 1) * len(seeds)] for i in range(len(prompts))]

    def images(self, prompts: Sequence[str], seeds: Sequence[int] = (0,), truncation: float = 1.0, batch: int = 32) -> torch.Tensor:
        """The same as one tensor [prompts * seeds, 3, r, r] in [-1, 1], prompt by prompt, on the CPU."""
        check_prompts(prompts)
        if not len(seeds):
            raise UserError("no seed given; a seed is a whole number, such as --seeds 0-7")
        return self.each([prompt for prompt in prompts for _ in seeds], list(seeds) * len(prompts), truncation, batch)

    @torch.no_grad()
    def each(self, prompts: Sequence[str], seeds: Sequence[int], truncation: float = 1.0, batch: int = 32) -> torch.Tensor:
        """One picture for each prompt, with the seed beside it: [prompts, 3, r, r] in [-1, 1], on the CPU."""
        check_prompts(prompts)
        distinct = {prompt: row for row, prompt in enumerate(dict.fromkeys(prompts))}
        text = self.describe(list(distinct)).to(self.device)
        rows = torch.tensor([distinct[prompt] for prompt in prompts])
        latents = {seed: self.latent(seed) for seed in dict.fromkeys(seeds)}
        done = []
        for start in tqdm(range(0, len(rows), batch), "drawing", delay=5, disable=None, leave=False):
            part = slice(start, start + batch)
            z = torch.stack([latents[seed] for seed in seeds[part]]).to(self.device)
            fake = self.generator(z, text[rows[part].to(self.device)], truncation=truncation)
            done.append(fake.pyramid.finest.cpu())
        return torch.cat(done)

    def latent(self, seed: int) -> torch.Tensor:
        return torch.randn(self.generator.mapper.z_dim, generator=torch.Generator().manual_seed(seed))

    @classmethod
    def load(cls, folder: Path | str, device: str | torch.device = "cpu", cache: Path | None = None) -> "Pipeline":
        """From a run folder or its `model` folder.

        Raises:
            UserError: the folder holds no model, or its text encoder is missing.
        """
        folder = model_folder(Path(folder))
        config = read_config(folder)
        encoder = build_text_encoder(config.text)
        generator = build_generator(config.generator, encoder.token_dim, encoder.text_dim)
        try:
            generator.load_state_dict(load_file(folder / "model.safetensors"))
        except (OSError, RuntimeError, SafetensorError) as error:
            raise UserError(
                f"the weights in {folder} do not load ({str(error).splitlines()[0]}); train again or get the folder again"
            ) from None
        encoder.load_pretrained()
        generator.to(device, memory_format=torch.channels_last).eval().requires_grad_(False)
        return cls(generator, CaptionEncoder(encoder, cache, device), config.resolution)


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
    card = [f"# {recipe.name}", "", f"A text-to-image GAN, {recipe.resolution} px, {parameters:,} parameters, trained with t2igan.", ""]
    card += [f"- {name}: {value}" for name, value in facts.items()]
    card += [f"- data: {recipe.data.shards} (see the card beside the shards for licences)", f"- text encoder: {recipe.text}", ""]
    card += ["```", f't2igan sample {folder.parent.name} "a prompt" --out picture.png', "```", ""]
    files = {"config.json": json.dumps(to_dict(config), indent=2), "README.md": "\n".join(card)}
    write_folder(folder, {"model": generator.state_dict()}, files)
