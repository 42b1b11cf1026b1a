"""Prompts and seeds to images."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, TypeVar

import torch
from jaxtyping import Float
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from tqdm import tqdm

from t2igan.data.images import to_pil
from t2igan.errors import UserError
from t2igan.inference.device import default_device
from t2igan.inference.hub import resolve
from t2igan.inference.model_folder import ModelConfig, load_generator, model_folder, read_config
from t2igan.plain_text import check_encodable, is_invisible
from t2igan.synthesis.generator import Generator
from t2igan.text.cache import CaptionEncoder
from t2igan.types import TextDescriptors

Runner = TypeVar("Runner", bound="GeneratorRunner")  # beartype takes no Self where methods alone are checked
Rows = list[list[Image.Image]]
PREVIEW_SEEDS, PREVIEW_IMAGES = 4, 8
NO_PROMPT = ""  # of each image of an unconditional model, and of images whose content is left open


@dataclass(frozen=True)
class StyleCodes:
    """The inputs of synthesis for each image: a style and adapted text for every stage, coarsest first. Edits mix them."""

    styles: Float[Tensor, "b l style_dim"]
    texts: tuple[TextDescriptors, ...]

    def __len__(self) -> int:
        return len(self.styles)

    def __getitem__(self, rows) -> "StyleCodes":
        return StyleCodes(self.styles[rows], tuple(text[rows] for text in self.texts))


class GeneratorRunner:
    """A trained generator and the text encoder before it, ready to use. Subclasses define the inputs that they take.

    Args:
        encode_text: prompts to frozen descriptors.
        resolution: px, the side of the images that the generator was trained to make.
    """

    starts_from_image: ClassVar[bool]  # the kind of synthesis that this class runs
    other_kind: ClassVar[str]  # what a model of the other kind is, and what to use for it

    def __init__(self, generator: Generator, encode_text: CaptionEncoder, resolution: int):
        self.generator, self.encode_text, self.resolution = generator, encode_text, resolution
        self.bf16 = False  # autocast: pays where the device computes faster in it, images differ by about a step of 1/255
        self._synthesize = generator.synthesize

    @property
    def device(self) -> torch.device:
        return next(self.generator.parameters()).device

    @property
    def conditional(self) -> bool:
        """Whether the model was trained with text; one that was not takes no prompt."""
        return self.encode_text.encoder.conditional

    def compile(self) -> None:
        """Uses torch.compile for synthesis from now on: some seconds for the first image of each batch size, then faster ones."""
        self._synthesize = torch.compile(self.generator.synthesize, dynamic=False)

    def autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16)

    def preview(self, prompts: Sequence[str], images: Float[Tensor, "b 3 r r"], captions: Sequence[str]) -> tuple[Rows, list[str]]:
        """Rows of images and a caption for each, which show what the model does: for prompts, or with the first images of the data."""
        raise TypeError(f"{type(self).__name__} shows nothing")

    def refuse_unusable(self, prompts: Sequence[str]) -> None:
        """Raises UserError where the model takes no prompt and there is one."""
        given = next((prompt for prompt in prompts if prompt != NO_PROMPT), None)
        if given is not None and not self.conditional:
            raise UserError(f"this model was trained without text and takes no prompt, got {given!r}; leave it out")

    @classmethod
    def load(cls: type[Runner], path_or_hub_id: Path | str, device: str | torch.device | None = None, cache: Path | None = None) -> Runner:
        """From a run folder, its `model` folder or a hub id ORG/NAME.

        Args:
            device: None means CUDA where there is one, else the CPU.
            cache: the folder of the cache of text features; None keeps them in memory.

        Raises:
            UserError: there is no model, it is of the other kind, its weights do not load, or its text encoder is missing.
        """
        folder = model_folder(resolve(path_or_hub_id))
        config = read_config(folder)
        if config.starts_from_image != cls.starts_from_image:
            raise UserError(f"{path_or_hub_id} {cls.other_kind}")
        return cls.from_folder(folder, config, device, cache)

    @classmethod
    def from_folder(
        cls: type[Runner], folder: Path, config: ModelConfig, device: str | torch.device | None = None, cache: Path | None = None
    ) -> Runner:
        """From a model folder whose config has been read."""
        return cls(*load_generator(folder, config, default_device() if device is None else device, cache), config.resolution)


class Pipeline(GeneratorRunner):
    """`pipeline(["a red apple"], seeds=[0, 1])` gives a list of PIL images for each prompt; a string is one prompt.

    An image depends on prompt, seed and truncation alone: each seed has a CPU generator of its own, so neither the batch nor the device
    changes it (up to rounding). `truncation` below 1 pulls styles to their prompt's mean, `global_truncation` to the mean of all prompts.
    An unconditional model takes no prompts: `pipeline(seeds=range(8))` gives one list.
    """

    starts_from_image = False
    other_kind = "is an upsampler, which starts from images; use `t2igan upsample`, or `t2igan sample --upsampler`"

    def __call__(
        self,
        prompts: str | Sequence[str] = (),
        seeds: Sequence[int] = (0,),
        truncation: float = 1.0,
        batch: int = 32,
        global_truncation: float = 1.0,
    ) -> list[list[Image.Image]]:
        """Images by prompt and seed.

        Raises:
            UserError: no prompt, an empty prompt, a prompt for an unconditional model, or no seed.
        """
        images = [to_pil(image) for image in self.sample_tensor(prompts, seeds, truncation, batch, global_truncation)]
        return [images[start : start + len(seeds)] for start in range(0, len(images), len(seeds))]

    def preview(self, prompts: Sequence[str], images: Float[Tensor, "b 3 r r"], captions: Sequence[str]) -> tuple[Rows, list[str]]:
        """A row of a few seeds for each prompt, or else for each of some captions of the images; without text, one row."""
        shown = (list(prompts) or list(dict.fromkeys(captions))[:PREVIEW_IMAGES]) if self.conditional else [NO_PROMPT]
        return self(shown, seeds=range(PREVIEW_SEEDS if self.conditional else PREVIEW_IMAGES)), shown

    def sample_tensor(
        self,
        prompts: str | Sequence[str] = (),
        seeds: Sequence[int] = (0,),
        truncation: float = 1.0,
        batch: int = 32,
        global_truncation: float = 1.0,
    ) -> Float[Tensor, "b 3 r r"]:
        """The same as one tensor [prompts * seeds, 3, r, r] in [-1, 1], prompt by prompt, on the CPU."""
        prompts = as_list(prompts)
        if not prompts and not self.conditional:
            prompts = [NO_PROMPT]
        self.check(prompts)
        if not len(seeds):
            raise UserError("no seed given; a seed is a whole number, such as --seeds 0-7")
        repeated = [prompt for prompt in prompts for _ in seeds]
        return self.sample_pairs(repeated, list(seeds) * len(prompts), truncation, batch, global_truncation)

    def sample_pairs(
        self, prompts: str | Sequence[str], seeds: Sequence[int], truncation: float = 1.0, batch: int = 32, global_truncation: float = 1.0
    ) -> Float[Tensor, "b 3 r r"]:
        """One image for each prompt and the seed at its place: [prompts, 3, r, r] in [-1, 1], on the CPU."""
        prompts = as_list(prompts)
        self.check(prompts)
        done = []
        for start in tqdm(range(0, len(prompts), batch), "sampling", delay=5, disable=None, leave=False):
            rows = slice(start, start + batch)
            done.append(self.synthesize(self.map_prompts(prompts[rows], seeds[rows], truncation, global_truncation)))
        return torch.cat(done)

    @torch.no_grad()
    def map_prompts(
        self, prompts: str | Sequence[str], seeds: Sequence[int], truncation: float = 1.0, global_truncation: float = 1.0
    ) -> StyleCodes:
        """The style codes of one image for each prompt and the seed at its place.

        Raises:
            UserError: prompts as in `__call__`, or global truncation by a model whose mean style was never measured.
        """
        prompts = as_list(prompts)
        self.check(prompts)
        mapper, stages = self.generator.mapper, self.generator.synthesis.num_styles
        if global_truncation != 1 and not mapper.mean_style.any():
            raise UserError("this model has no mean style to truncate to; it is measured when its training ends")
        text = self.encode_text(prompts).to(self.device)  # outside autocast, so that cached features do not depend on it
        z = torch.stack([self.latent(seed) for seed in seeds]).to(self.device)
        with self.autocast():
            text = self.generator.adapt(text)
            styles = mapper(z, text, stages, truncation, global_truncation)
        return StyleCodes(styles, (text,) * stages)

    @torch.no_grad()
    def synthesize(self, codes: StyleCodes) -> Float[Tensor, "b 3 r r"]:
        """Images in [-1, 1], on the CPU."""
        with self.autocast():
            return self._synthesize(codes.styles, list(codes.texts)).pyramid.finest.cpu()

    def load_centroids(self, file: Path) -> None:
        """From now on truncation pulls styles to the nearest of these centroids (eval/centroids.py makes the file).

        Raises:
            UserError: there is no such file, or it holds styles of another model.
        """
        mapper = self.generator.mapper
        try:
            centroids = load_file(file)["centroids"]
        except (OSError, KeyError, SafetensorError):
            raise UserError(f"no centroids at {file}; make them with eval/centroids.py") from None
        if centroids.ndim != 2 or centroids.shape[1] != mapper.style_dim:
            shape = tuple(centroids.shape)
            raise UserError(f"{file} holds centroids of shape {shape}, this model's styles have {mapper.style_dim} numbers")
        mapper.centroids = centroids.to(self.device)

    def latent(self, seed: int) -> Float[Tensor, " z_dim"]:
        return draw_latent(seed, self.generator.mapper.z_dim)

    def check(self, prompts: Sequence[str]) -> None:
        """Raises UserError where this model cannot sample these prompts."""
        self.refuse_unusable(prompts)
        if self.conditional:
            check_prompts(prompts)


def draw_latent(seed: int, z_dim: int) -> Float[Tensor, " z_dim"]:
    """A seed's latent: from a CPU generator of its own, so that neither batch nor device changes it."""
    return torch.randn(z_dim, generator=torch.Generator().manual_seed(seed))


def as_list(prompts: str | Sequence[str]) -> list[str]:
    """A bare string is one prompt, not a prompt per letter."""
    return [prompts] if isinstance(prompts, str) else list(prompts)


def check_prompts(prompts: Sequence[str]) -> None:
    """Raises UserError where there is no prompt, one that shows nothing, or one that is no text."""
    if not prompts:
        raise UserError("no prompt given; describe an image, such as 'a red apple'")
    for number, prompt in enumerate(prompts, 1):
        if is_invisible(prompt):
            raise UserError(f"prompt {number} of {len(prompts)} is empty; describe an image, such as 'a red apple'")
        try:
            check_encodable(prompt)
        except ValueError as error:
            raise UserError(f"prompt {number} of {len(prompts)} holds {error}") from None
