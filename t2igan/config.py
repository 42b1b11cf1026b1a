"""The sections of a recipe as frozen, typed dataclasses. A part's own section stands beside its class, in its room."""

from dataclasses import dataclass, field
from typing import Any, Literal

from t2igan import augment, discriminator, objective, style, synthesis, text
from t2igan.augment import NoAugmentConfig
from t2igan.ranges import Amount, AmountOverTime, Count, Positive, Seed, ShareBelow1, ShareBelow1OverTime, Whole
from t2igan.schedule import constant
from t2igan.text.adapter import AdapterConfig
from t2igan.types import REACH, CheckContext, PartConfig


def of_kind(kinds: dict[str, type], default_kind: str | None = None, **options):
    """A field whose `kind:` key picks the config class from a room's table; a `default_kind` need not be written."""
    return field(metadata={"kinds": lambda: kinds, "default_kind": default_kind}, **options)


@dataclass(frozen=True, kw_only=True)
class DataConfig(PartConfig):
    shards: str  # a folder of .tar files, one file, or a pattern with {00000..00099}
    workers: Whole = 0  # processes that decode; 0 decodes in the training process
    cache_captions: bool | None = None  # whether text features are kept on disk; none: of at most 100,000 images
    caption_dropout: ShareBelow1 = 0.0  # share of the visits that leave out the caption: for upsamplers that are to work without one
    images_per_caption: Count = 1  # Ours: so many consecutive images share their first caption, where the data set has so many of it
    mirror: bool = False  # half of the visits, by chance, show images mirrored; not where images or captions know left and right

    def check(self, context: CheckContext) -> None:
        if self.images_per_caption > 1 and not context.token_dim:
            raise ValueError(f"images_per_caption is {self.images_per_caption}, and the system has no text; leave it out")
        if self.images_per_caption > REACH:  # the first of a group must see another caption within reach
            raise ValueError(f"images_per_caption is {self.images_per_caption}, needs at most {REACH}, among which mismatched captions lie")


@dataclass(frozen=True, kw_only=True)
class GeneratorConfig:
    adapter: PartConfig | None = of_kind(text.ADAPTERS, text.DEFAULT_ADAPTER, default_factory=AdapterConfig)
    style: Any = of_kind(style.KINDS)
    synthesis: Any = of_kind(synthesis.KINDS)


@dataclass(frozen=True, kw_only=True)
class DiscriminatorConfig:
    adapter: AdapterConfig | None = field(default_factory=AdapterConfig)
    network: Any = of_kind(discriminator.KINDS)


@dataclass(frozen=True, kw_only=True)
class TermConfig(PartConfig):
    kind: str
    options: Any
    weight: AmountOverTime = constant(1.0)  # factor of the loss
    every: Count = 1  # steps from one time it is due to the next; the weight is multiplied by it
    after: Whole = 0  # images seen before it is first due


@dataclass(frozen=True, kw_only=True)
class ObjectiveConfig:
    discriminator: tuple[TermConfig, ...] = field(metadata={"terms": objective.DISCRIMINATOR_KINDS})
    generator: tuple[TermConfig, ...] = field(metadata={"terms": objective.GENERATOR_KINDS})


@dataclass(frozen=True, kw_only=True)
class ParameterGroup:
    """What holds for the parameters whose names match a pattern; of several patterns that match, later ones override earlier ones."""

    match: str  # as in a shell, over the whole name: * is any part, [12] one of these, {4,8} one of these
    lr: Amount | None = None  # times the optimizer's rate; none: as it is
    weight_decay: Amount | None = None  # none: the optimizer's
    frozen: bool | None = None  # not trained


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    lr: AmountOverTime = constant(0.0025)  # learning rate
    betas: tuple[ShareBelow1OverTime, ...] = (constant(0.0), constant(0.99))  # two, of AdamW
    weight_decay: Amount = 0.0  # of AdamW
    warmup: Whole = 0  # images over which the rate rises from 0
    groups: tuple[ParameterGroup, ...] = ()  # parameters that are treated otherwise

    def check(self) -> None:
        if len(self.betas) != 2:
            raise ValueError(f"betas is [{', '.join(map(str, self.betas))}], needs two numbers")


@dataclass(frozen=True, kw_only=True)
class EMAConfig:
    half_life: AmountOverTime = constant(500_000.0)  # images until an old weight counts half
    rampup: Positive | None = 0.05  # the half-life is at most this share of the images seen; none: no limit


@dataclass(frozen=True, kw_only=True)
class GrowthConfig:
    """Training that begins at a small side; growth.py makes a schedule of it."""

    start: Count = 4  # px
    hold: Count = 600_000  # images for which a side stays as it is
    fade: Count = 600_000  # images over which the next side fades in
    batches: tuple[Count, ...] = ()  # images per step at each side, `start` first; empty: `training.batch` at every side


@dataclass(frozen=True, kw_only=True)
class TrainingConfig(PartConfig):
    total_images: Count  # real images shown to D in all
    batch: Count  # images per step, over all processes
    growth: GrowthConfig | None = None  # none: the whole training is at the recipe's resolution
    micro_batch: Count | None = None  # images per forward pass in one process; none: the process's whole share
    precision: Literal["auto", "fp32", "bf16"] = "auto"  # auto: bf16 where the device computes faster in it
    deterministic: bool = False  # on CUDA: kernels whose result is the same in every run, at a cost in speed
    reuse_fakes: bool = False  # Ours: one pass of G, with one z per image, serves both halves of a step; the papers draw z anew for each
    own_reals: bool = False  # G's half takes real images of its own (R3GAN), not those of D's half
    generator_optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    discriminator_optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    ema: EMAConfig = field(default_factory=EMAConfig)
    cluster_features: str | None = None  # local-dir:CLIP by whose embeddings images are clustered (generator.style.num_clusters); none: not
    log_every: Count = 50  # steps
    checkpoint_every: Count = 100_000  # images
    sample_every: Count = 100_000  # images
    keep_checkpoints: Count = 2  # newest ones
    snapshot_every: Count | None = None  # images after which the model of that moment is kept; none: only the last
    max_skipped_steps: Count = 20  # in a row, by gradients that are not finite; then the run stops
    prompts: tuple[str, ...] = ()  # of the sample grids at every `sample_every`; empty: captions of the data

    def check(self, context: CheckContext) -> None:
        if self.total_images < self.batch:
            raise ValueError(f"total_images {self.total_images} is less than one batch of {self.batch}; train on more images")
        if self.micro_batch is not None and self.batch % self.micro_batch:
            raise ValueError(f"batch {self.batch} must be a multiple of training.micro_batch {self.micro_batch}")
        if self.reuse_fakes and self.own_reals:
            raise ValueError("reuse_fakes needs the same real images in both halves, and own_reals takes others; choose one")
        for name in ("generator_optimizer", "discriminator_optimizer"):
            try:
                getattr(self, name).check()
            except ValueError as error:
                raise ValueError(f"{name}.{error}") from None
        for number, prompt in enumerate(self.prompts, 1):
            if not prompt.strip():
                raise ValueError(f"prompts has an empty one, number {number}; remove it or write a prompt")


@dataclass(frozen=True, kw_only=True)
class StartConfig(PartConfig):
    """Another run's weights to begin with."""

    run: str  # a run folder with a checkpoint; with `fitting` also a model folder or a hub id
    parts: tuple[Literal["generator", "discriminator"], ...] = ("generator",)  # networks that start from it; G's average too
    average: bool = False  # G, too, begins with the other run's average; otherwise only the parameters that the recipe freezes do
    fitting: bool = False  # what fits is taken from the model's average, the rest is new; otherwise tensors of other shapes are refused

    def check(self, context: CheckContext) -> None:
        if not self.parts:
            raise ValueError("parts is empty, needs generator, discriminator or both")
        if self.fitting and self.average:
            raise ValueError("average is set, and with fitting G begins with the average anyway; leave it out")
        if self.fitting and "generator" not in self.parts:
            raise ValueError("parts has no generator, which fitting begins with a model; add it")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A system, its data and its training, whole."""

    name: str  # of the recipe
    resolution: int  # px, a power of two
    data: DataConfig
    generator: GeneratorConfig
    discriminator: DiscriminatorConfig
    objective: ObjectiveConfig
    training: TrainingConfig
    text: Any = of_kind(text.KINDS)
    augment: Any = of_kind(augment.KINDS, default_factory=NoAugmentConfig)
    start: StartConfig | None = None
    seed: Seed = 0  # of the initial weights and of every random number of the training
