"""A recipe to modules: the one place where dimensions that several parts share are derived."""

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from t2igan import discriminator as discriminators
from t2igan import objective as objectives
from t2igan import style as styles
from t2igan import synthesis as syntheses
from t2igan.augment import DiffAugment
from t2igan.config import DiscriminatorConfig, GeneratorConfig, ObjectiveConfig, Recipe
from t2igan.errors import UserError
from t2igan.generator import Generator
from t2igan.objective.objective import Objective, ScheduledTerm
from t2igan.synthesis.gigagan import resolutions
from t2igan.text import TextEncoder, build_text_encoder
from t2igan.text.adapter import TextAdapter


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
    encoder = build_text_encoder(recipe.text)
    return System(
        build_generator(recipe.generator, encoder.token_dim, encoder.text_dim),
        build_discriminator(
            recipe.discriminator, encoder.token_dim, encoder.text_dim, recipe.generator.style.modes if reads_modes(recipe) else 0
        ),
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


def build_discriminator(config: DiscriminatorConfig, token_dim: int, text_dim: int, modes: int) -> nn.Module:
    adapter = None if config.adapter is None else TextAdapter(config.adapter, token_dim, text_dim)
    global_dim = text_dim if adapter is None else adapter.width
    return kind_of(config.network, discriminators.KINDS)(config.network, adapter, global_dim, modes)


def build_objective(config: ObjectiveConfig, cache: Path | None = None) -> Objective:
    def terms(entries, kinds):
        built = []
        for entry in entries:
            config_class, term_class = kinds[entry.kind]
            arguments = [] if config_class is objectives.NoOptions else [entry.options]
            extra = {"cache": cache} if config_class is objectives.ClipConfig else {}
            built.append(ScheduledTerm(entry.kind, term_class(*arguments, **extra), entry.weight, entry.every, entry.after))
        return built

    return Objective(
        terms(config.discriminator, objectives.DISCRIMINATOR_KINDS),
        terms(config.generator, objectives.GENERATOR_KINDS),
    )


def check_sizes(recipe: Recipe) -> None:
    """Raises UserError where the recipe's numbers cannot belong together."""
    r = recipe.resolution
    if r < 8 or r & (r - 1):
        near = max(8, 1 << (max(r, 1).bit_length() - 1))
        raise UserError(f"resolution must be a power of two >= 8, got {r}; the nearest below is {near}")
    sides = resolutions(r.bit_length() - 2)
    per_stage = {
        "generator.synthesis": (recipe.generator.synthesis, ("channels", "blocks", "kernels", "self_attention", "cross_attention")),
        "discriminator.network": (recipe.discriminator.network, ("channels", "blocks", "self_attention")),
    }
    for part, (config, names) in per_stage.items():
        for name in names:
            if len(getattr(config, name)) != len(sides):
                raise UserError(
                    f"{part}.{name} has {len(getattr(config, name))} entries, resolution {r} has {len(sides)} stages "
                    f"({', '.join(map(str, sides))} px); give one entry per stage"
                )
    network = recipe.discriminator.network
    if network.inputs[:1] != (r,) or not set(network.inputs) <= set(sides):
        raise UserError(f"discriminator.network.inputs is {list(network.inputs)}, needs {r} first and then any of {sides[-2::-1]}")
    for what, weights in (("inputs", network.input_weights), ("outputs", network.output_weights)):
        listed = list(getattr(network, what))
        if listed != sorted(set(listed), reverse=True):  # weights are matched to predictions by this order
            raise UserError(f"discriminator.network.{what} is {listed}, needs each side once, finest first")
        if len(weights) != len(getattr(network, what)):
            raise UserError(f"discriminator.network.{what[:-1]}_weights has {len(weights)} entries, needs one per entry of {what}")
    reached = {1, *sides[:-1]}
    if not set(network.outputs) <= reached:
        raise UserError(f"discriminator.network.outputs is {list(network.outputs)}, needs any of {sorted(reached, reverse=True)}")
    if reads_modes(recipe) and not recipe.generator.style.modes:
        raise UserError("mode_information has no mode to read: set generator.style.modes to 2 or more")
    if any(term.kind == "mode_information" and (term.every > 1 or term.after) for term in recipe.objective.discriminator):
        # a part of D that some steps leave out has no gradient to average over processes
        raise UserError("objective.discriminator: mode_information must be due at every step; leave out its 'every' and 'after'")
    training = recipe.training
    counted = ("images", "batch", "log_every", "checkpoint_every", "sample_every", "keep")
    counts = {f"training.{name}": getattr(training, name) for name in counted}
    for half, terms in vars(recipe.objective).items():
        counts |= {f"objective.{half}.{i}.every": term.every for i, term in enumerate(terms)}
        if not any(term.every == 1 and term.after == 0 for term in terms):
            raise UserError(f"objective.{half} has no term that is due from the first step at every step; some steps would train nothing")
    for name, count in counts.items():
        if count < 1:
            raise UserError(f"{name} is {count}, needs a whole number above 0")
    if training.images < training.batch:
        raise UserError(f"training.images {training.images} is less than one batch of {training.batch}; train on more pictures")
    if training.micro_batch and training.batch % training.micro_batch:
        raise UserError(f"training.batch {training.batch} must be a multiple of training.micro_batch {training.micro_batch}")


def reads_modes(recipe: Recipe) -> bool:
    """Whether any term asks D which mode of the latent drew a picture."""
    return any(term.kind == "mode_information" for term in recipe.objective.discriminator + recipe.objective.generator)
