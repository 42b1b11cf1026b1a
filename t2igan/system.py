"""A recipe to modules: the one place where dimensions that several parts share are derived."""

from dataclasses import dataclass

from t2igan.augment.base import Augment
from t2igan.config import DiscriminatorConfig, GeneratorConfig, ObjectiveConfig, Recipe
from t2igan.discriminator.base import DiscriminatorNetwork
from t2igan.errors import UserError
from t2igan.growth import check_growth
from t2igan.objective.objective import Objective, ScheduledTerm
from t2igan.synthesis.generator import Generator
from t2igan.text.encoder import TextEncoder
from t2igan.types import CheckContext, TextDims


@dataclass(frozen=True)
class System:
    """Everything that is trained, and what it is trained with."""

    generator: Generator
    discriminator: DiscriminatorNetwork
    objective: Objective
    augment: Augment
    text_encoder: TextEncoder


def build_system(recipe: Recipe) -> System:
    """Modules with random weights; nothing is read from disk but the configuration of a text tower that trains.

    Raises:
        UserError: sizes in the recipe that contradict each other.
    """
    encoder = recipe.text.build()
    text = TextDims(encoder.token_dim, encoder.text_dim, recipe.text)
    check_recipe(recipe, encoder)
    return System(
        build_generator(recipe.generator, recipe.resolution, text),
        build_discriminator(recipe.discriminator, recipe.resolution, text, num_clusters(recipe)),
        build_objective(recipe.objective),
        recipe.augment.build(),
        encoder,
    )


def build_generator(config: GeneratorConfig, resolution: int, text: TextDims) -> Generator:
    adapter = None if config.adapter is None else config.adapter.build(text)
    taken = text if adapter is None else adapter.dims
    mapper = config.style.build(taken.pooled)
    return Generator(adapter, mapper, config.synthesis.build(resolution, mapper.style_dim, taken.token))


def build_discriminator(config: DiscriminatorConfig, resolution: int, text: TextDims, clusters: int = 0) -> DiscriminatorNetwork:
    """`clusters`: how many cluster labels D is conditioned on."""
    adapter = None if config.adapter is None else config.adapter.build(text, clusters, local=False)
    return config.network.build(resolution, adapter, text)


def build_objective(config: ObjectiveConfig) -> Objective:
    def terms(entries):
        listed = [entry.kind for entry in entries]
        names = [kind if listed.count(kind) == 1 else f"{kind}.{place}" for place, kind in enumerate(listed)]
        return [ScheduledTerm(name, e.options.build(), e.weight, e.every, e.after) for name, e in zip(names, entries, strict=True)]

    return Objective(terms(config.discriminator), terms(config.generator))


def num_clusters(recipe: Recipe) -> int:
    """How many cluster labels D is conditioned on."""
    return recipe.generator.style.num_clusters if recipe.training.cluster_features else 0


def check_recipe(recipe: Recipe, encoder: TextEncoder) -> None:
    """Raises UserError where the recipe's numbers contradict each other. Each section checks what concerns itself."""
    r = recipe.resolution
    if r < 8 or r & (r - 1):
        near = max(8, 1 << (max(r, 1).bit_length() - 1))
        raise UserError(f"resolution must be a power of two >= 8, got {r}; the nearest below is {near}")
    levels, any_side = recipe.generator.synthesis.levels(r), recipe.discriminator.network.any_side
    context = CheckContext(r, levels, encoder.token_dim, encoder.num_classes, any_side, recipe.data.images_per_caption)
    for name, section in sections(recipe).items():
        try:
            section.check(context)
        except ValueError as error:
            raise UserError(f"{name}.{error}") from None
    for half, terms in vars(recipe.objective).items():
        if not any(term.every == 1 and term.after == 0 for term in terms):
            raise UserError(f"objective.{half} has no term that is due from the first step at every step; some steps would train nothing")
    if recipe.augment.reads_sign and not any(term.options.signed for term in recipe.objective.discriminator):
        raise UserError("augment.target reads the sign of D's logits, which no term of objective.discriminator decides; leave it out")
    if recipe.training.growth is not None:
        for name, part in (("generator.synthesis", recipe.generator.synthesis), ("discriminator.network", recipe.discriminator.network)):
            if not part.grows:
                raise UserError(f"training.growth is given, and {name} does not grow; leave it out")
        try:
            check_growth(recipe.training, r)
        except ValueError as error:
            raise UserError(f"training.{error}") from None
    if recipe.training.cluster_features and recipe.generator.style.num_clusters < 2:
        raise UserError("training.cluster_features has no clusters to sort images into: set generator.style.num_clusters to 2 or more")
    if recipe.training.cluster_features and recipe.discriminator.adapter is None:
        raise UserError("training.cluster_features needs discriminator.adapter, which embeds the labels; give it, or leave clusters out")
    if recipe.generator.synthesis.starts_from_image and recipe.training.prompts:
        raise UserError("training.prompts has no use for an upsampler, whose samples are images of the data; leave it out")


def sections(recipe: Recipe) -> dict:
    """The sections that check themselves, by their paths in the recipe."""
    found = {
        "data": recipe.data,
        "text": recipe.text,
        "generator.adapter": recipe.generator.adapter,
        "generator.style": recipe.generator.style,
        "generator.synthesis": recipe.generator.synthesis,
        "discriminator.adapter": recipe.discriminator.adapter,
        "discriminator.network": recipe.discriminator.network,
        "augment": recipe.augment,
        "training": recipe.training,
        "start": recipe.start,
    }
    for half, terms in vars(recipe.objective).items():
        for i, term in enumerate(terms):
            found |= {f"objective.{half}.{i}": term, f"objective.{half}.{i} ({term.kind})": term.options}
    return {name: section for name, section in found.items() if section is not None}
