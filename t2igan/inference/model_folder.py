"""A trained model to a folder and back: `config.json`, `model.safetensors` and a model card."""

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from t2igan import text
from t2igan.config import GeneratorConfig, Recipe, of_kind
from t2igan.errors import UserError
from t2igan.files import write_folder
from t2igan.layers.folded import fold
from t2igan.plain_text import parse_json
from t2igan.recipe import parse, to_dict
from t2igan.synthesis.generator import Generator
from t2igan.system import build_generator
from t2igan.text.cache import CaptionEncoder
from t2igan.types import TextDims

WEIGHTS = "model.safetensors"
CARD_TEXT = ("kind", "model", "pretrained", "max_tokens")  # fields of the text encoder that the card tells
DISCRIMINATOR = "discriminator.safetensors"  # which t2igan publish may add, for a warm start


@dataclass(frozen=True)
class ModelConfig:
    """The content of `config.json`: enough to build the generator and to find its text encoder."""

    name: str
    resolution: int
    generator: GeneratorConfig
    text: object = of_kind(text.KINDS)

    @property
    def starts_from_image(self) -> bool:
        """Whether the model enlarges images, or else starts from a latent alone."""
        return self.generator.synthesis.starts_from_image


def model_folder(path: Path) -> Path:
    """The folder with config.json: the one given, or `model` inside it.

    Raises:
        UserError: neither has one.
    """
    for candidate in (path / "model", path):
        if (candidate / "config.json").is_file():
            return candidate
    what = "has no model yet; let its training finish" if (path / "recipe.yaml").is_file() else "is not a run folder"
    raise UserError(f"{path} {what}; `t2igan train RECIPE.yaml --out RUN` makes one")


def read_config(folder: Path) -> ModelConfig:
    """The `config.json` of a model folder. Raises UserError where it is not JSON, or not the config of a model."""
    file = folder / "config.json"
    try:
        data = parse_json(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{file} is not JSON ({error}); get the folder again") from None
    try:
        return parse(ModelConfig, data, "")
    except UserError as error:
        raise UserError(f"{file} is not the config of a t2igan model: {error}") from None


def load_generator(folder: Path, config: ModelConfig, device: str | torch.device, cache: Path | None) -> tuple[Generator, CaptionEncoder]:
    """The generator of a model folder, its kernels folded, and the text encoder before it, both on the device.

    Raises:
        UserError: the weights do not load, or the text encoder is missing.
    """
    encoder = config.text.build()
    generator = build_generator(config.generator, config.resolution, TextDims(encoder.token_dim, encoder.text_dim, config.text))
    try:
        generator.load_state_dict(load_file(folder / WEIGHTS))
    except (OSError, RuntimeError, SafetensorError) as error:
        detail = " ".join(line.strip() for line in str(error).splitlines()[:2])
        raise UserError(f"the weights in {folder} do not load ({detail[:200]}); train again or get the folder again") from None
    encoder.load_pretrained()
    generator.to(device, memory_format=torch.channels_last).eval().requires_grad_(False)
    return fold(generator), CaptionEncoder(encoder, cache, device)


def save_model(folder: Path, generator: Generator, recipe: Recipe, facts: dict) -> None:
    """`config.json`, `model.safetensors` and a model card with these facts, atomically; an older model in the folder is replaced."""
    config = ModelConfig(recipe.name, recipe.resolution, recipe.generator, recipe.text)
    write_model(folder, generator, config, model_card(generator, recipe, facts))


def write_model(folder: Path, generator: Generator, config: ModelConfig, card: str) -> None:
    """`config.json`, `model.safetensors` and this model card, atomically."""
    write_folder(folder, {"model": generator.state_dict()}, {"config.json": json.dumps(to_dict(config), indent=2), "README.md": card})


def model_card(generator: Generator, recipe: Recipe, facts: dict) -> str:
    """What the model is, what it was trained on and the command that uses it, in Markdown."""
    if recipe.generator.synthesis.starts_from_image:
        what = f"An upsampler GAN, {recipe.generator.synthesis.input_resolution(recipe.resolution)} to {recipe.resolution} px"
        use = "t2igan upsample FOLDER image.png --out large"
    elif recipe.text.build().conditional:
        what, use = f"A text-to-image GAN, {recipe.resolution} px", 't2igan sample FOLDER "a prompt" --out image.png'
    else:
        what, use = f"An unconditional GAN, {recipe.resolution} px", "t2igan sample FOLDER --seeds 0-7 --out images.png"
    parameters = sum(p.numel() for p in generator.parameters())
    card = [f"# {recipe.name}", "", f"{what}, {parameters:,} parameters, trained with t2igan.", ""]
    card += [f"- {name}: {value}" for name, value in facts.items()]
    described = {name: value for name, value in to_dict(recipe)["text"].items() if value is not None and name in CARD_TEXT}
    card += [f"- data: {recipe.data.shards} (see the card beside the shards for licences)"]
    card += [f"- text: {', '.join(f'{name} {value}' for name, value in described.items())}", ""]
    return "\n".join([*card, "FOLDER is the one with this card:", "", "```", use, "```", ""])
