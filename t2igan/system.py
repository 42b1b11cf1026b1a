"""A recipe to modules: the one place where dimensions that several parts share are derived."""

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from t2igan import discriminator as discriminators
from t2igan import objective as objectives
from t2igan import style as styles
from t2igan import synthesis as syntheses
from t2igan.augment.diffaugment import DiffAugment
from t2igan.config import DiscriminatorConfig, GeneratorConfig, ObjectiveConfig, Recipe
from t2igan.discriminator.ensemble import VisionAidedDiscriminator
from t2igan.errors import UserError
from t2igan.objective.objective import Objective, ScheduledTerm
from t2igan.synthesis.generator import Generator
from t2igan.text import TextEncoder
from t2igan.text.adapter import TextAdapter
from t2igan.types import PartConfig


def kind_of(config, kinds: dict) -> type[nn.Module]:
    """The class that a config of one of `kinds` builds."""
    (module,) = [module for cls, module in kinds.values() if cls is type(config)]
    return module


@dataclass(frozen=True)
class System:
    """Everything that is trained, and what it is trained with."""

    generator: Generator
    discriminator: nn.Module
    objective: Objective
    view: DiffAugment
    text_encoder: TextEncoder


def build_system(recipe: Recipe, cache: Path | None = None) -> System:
    """Modules with random weights; nothing is read from disk. `cache` is where frozen networks will keep caption features.

    Raises:
        UserError: sizes in the recipe that contradict each other.
    """
    check_sizes(recipe)
    encoder = recipe.text.build()
    return System(
        build_generator(recipe.generator, encoder.token_dim, encoder.text_dim),
        build_discriminator(recipe.discriminator, encoder.token_dim, encoder.text_dim, drawings_told(recipe)),
        build_objective(recipe.objective, cache),
        DiffAugment(recipe.augment),
        encoder,
    )


def build_generator(config: GeneratorConfig, token_dim: int, text_dim: int) -> Generator:
    adapter = None if config.adapter is None else TextAdapter(config.adapter, token_dim, text_dim)
    local_dim, global_dim = (token_dim, text_dim) if adapter is None else (adapter.width, adapter.width)
    mapper = kind_of(config.style, styles.KINDS)(config.style, global_dim)
    synthesis = kind_of(config.synthesis, syntheses.KINDS)(config.synthesis, config.style.style_dim, local_dim)
    return Generator(adapter, mapper, synthesis)


def build_discriminator(config: DiscriminatorConfig, token_dim: int, text_dim: int, drawings: int) -> nn.Module:
    adapter = None if config.adapter is None else TextAdapter(config.adapter, token_dim, text_dim)
    global_dim = text_dim if adapter is None else adapter.width
    network = kind_of(config.network, discriminators.KINDS)(config.network, adapter, global_dim, drawings)
    return network if config.vision_aided is None else VisionAidedDiscriminator(network, config.vision_aided, text_dim)


def drawings_told(recipe: Recipe) -> int:
    """How many drawings of one prompt D is told apart."""
    return recipe.generator.style.modes if recipe.training.drawings else 0


def build_objective(config: ObjectiveConfig, cache: Path | None = None) -> Objective:
    def terms(entries, kinds):
        built, listed = [], [entry.kind for entry in entries]
        for place, entry in enumerate(entries):
            config_class, term_class = kinds[entry.kind]
            name = entry.kind if listed.count(entry.kind) == 1 else f"{entry.kind}.{place}"
            arguments = [] if config_class is objectives.NoOptions else [entry.options]
            extra = {"cache": cache} if issubclass(config_class, objectives.ClipConfig) else {}
            built.append(ScheduledTerm(name, term_class(*arguments, **extra), entry.weight, entry.every, entry.after))
        return built

    return Objective(
        terms(config.discriminator, objectives.DISCRIMINATOR_KINDS),
        terms(config.generator, objectives.GENERATOR_KINDS),
    )


def check_sizes(recipe: Recipe) -> None:
    """Raises UserError where the recipe's numbers cannot belong together. What concerns one part alone, its config checks."""
    r = recipe.resolution
    if r < 8 or r & (r - 1):
        near = max(8, 1 << (max(r, 1).bit_length() - 1))
        raise UserError(f"resolution must be a power of two >= 8, got {r}; the nearest below is {near}")
    parts = {
        "data": recipe.data,
        "text": recipe.text,
        "generator.adapter": recipe.generator.adapter or PartConfig(),
        "generator.style": recipe.generator.style,
        "generator.synthesis": recipe.generator.synthesis,
        "discriminator.adapter": recipe.discriminator.adapter or PartConfig(),
        "discriminator.network": recipe.discriminator.network,
        "discriminator.vision_aided": recipe.discriminator.vision_aided or PartConfig(),
        "training": recipe.training,
    }
    for half, terms in vars(recipe.objective).items():
        for i, term in enumerate(terms):
            parts |= {f"objective.{half}.{i}": term, f"objective.{half}.{i} ({term.kind})": term.options}
        if not any(term.every == 1 and term.after == 0 for term in terms):
            raise UserError(f"objective.{half} has no term that is due from the first step at every step; some steps would train nothing")
    for name, part in parts.items():
        try:
            part.check(r)
        except ValueError as error:
            raise UserError(f"{name}.{error}") from None
    low, terms = recipe.generator.synthesis.low, recipe.objective.generator
    sides = [side for term in terms if term.kind == "reconstruction" for side in term.options.sides]
    coarse = [side for side in (*recipe.discriminator.network.inputs, *sides) if low and side < low]
    if coarse:
        raise UserError(
            f"generator.synthesis draws no picture of {coarse[0]} px, it begins at low {low} px; D's inputs and terms' sides need that"
        )
    network = recipe.discriminator.network
    if network.backend == "xformers" and any(network.self_attention) and any(term.kind == "r1" for term in recipe.objective.discriminator):
        raise UserError(
            "discriminator.network.backend is 'xformers', and r1 differentiates D's attention twice, which that cannot; "
            "use auto, or r1_finite"
        )
    if low and recipe.training.prompts:
        raise UserError("training.prompts is of no use to an upsampler, whose samples are pictures of the data; leave it out")
    token_dim = recipe.text.build().token_dim
    for part, adapter in (("generator", recipe.generator.adapter), ("discriminator", recipe.discriminator.adapter)):
        if adapter and not adapter.width and token_dim % min(adapter.head_dim, token_dim):
            raise UserError(f"{part}.adapter.head_dim is {adapter.head_dim}, needs a divisor of token_dim {token_dim}; or give a width")
    if recipe.training.drawings and recipe.generator.style.modes < 2:
        raise UserError("training.drawings has no modes to sort pictures into: set generator.style.modes to 2 or more")
