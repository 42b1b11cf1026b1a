"""The memory of a training step, counted: both halves of the first step run on the meta device, which has shapes and no numbers.

What the count leaves out is what a kernel takes inside itself and what an allocator loses between blocks.
"""

import weakref

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from t2igan.config import Recipe
from t2igan.discriminator.critic import Critic
from t2igan.draws import Draws
from t2igan.growth import micro_batch_size
from t2igan.objective.term import MicroBatch
from t2igan.system import System, build_system, num_clusters
from t2igan.training.parameters import freeze, frozen
from t2igan.types import PrepareContext, TextDescriptors, Tokens, TrainingTime

META = torch.device("meta")
CAPTIONS = [f"thing {number}" for number in range(10_000)]  # of a data set as large as any recipe draws negatives from


class LiveBytes(TorchDispatchMode):
    """Bytes of the tensors that exist (`now`), and the most at once (`peak`)."""

    def __init__(self):
        super().__init__()
        self.now = self.peak = 0
        self.sizes: dict[int, int] = {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor):
                self.watch(tensor)
        return result

    def watch(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key not in self.sizes:
            self.sizes[key] = storage.nbytes()
            self.now += self.sizes[key]
            self.peak = max(self.peak, self.now)
            weakref.finalize(storage, self.forget, key)

    def forget(self, key: int) -> None:
        self.now -= self.sizes.pop(key)


def count_step_memory(recipe: Recipe) -> dict:
    """`{"images", "gb", "fixed_gb", "gb_per_image"}` of one process in float32: the images of a pass, and what a step takes with so many.

    The fixed part has G, D and frozen networks, gradients, Adam's moments and the average of G.

    Raises:
        UserError: the architecture of a frozen network is not known before its weights are here.
    """
    config, live = recipe.training, LiveBytes()
    images = micro_batch_size(config.batch, config.micro_batch, 1)
    one_pass_of_g = config.reuse_fakes and images == config.batch
    with META, live:
        system = build_system(recipe)
        G, D = system.generator, system.discriminator
        context = PrepareContext(META, lambda: CAPTIONS, None, weights=False)
        system.generator.prepare(context)
        system.objective.prepare(context)
        D.prepare(context)
        freeze(G, config.generator_optimizer, "training.generator_optimizer")
        freeze(D, config.discriminator_optimizer, "training.discriminator_optimizer")
        trained = [p for p in (*G.parameters(), *D.parameters()) if p.requires_grad]
        held = [torch.empty_like(p) for p in (*trained, *trained, *G.parameters())]  # Adam's moments, the average of G
        few = max(2, D.batch_multiple)
        micro_batches = (blank_micro_batch(recipe, system, few), blank_micro_batch(recipe, system, 2 * few))
        halves = zip(*(peaks_of_halves(system, m, one_pass_of_g, live) for m in micro_batches), strict=True)
        del held
    lines = [(2 * at_few - at_more, (at_more - at_few) / few) for at_few, at_more in halves]
    most, fixed, slope = max((fixed + images * slope, fixed, slope) for fixed, slope in lines)
    return {"images": images, "gb": most / 1e9, "fixed_gb": fixed / 1e9, "gb_per_image": slope / 1e9}


def peaks_of_halves(system: System, m: MicroBatch, one_pass_of_g: bool, live: LiveBytes) -> tuple[int, int]:
    """The most bytes at once in D's half and in G's half of a first step, as Trainer.step takes it."""
    G, D, objective, now = system.generator, system.discriminator, system.objective, TrainingTime(0)
    critic = Critic(D, system.augment, D.levels)
    live.peak = live.now
    with torch.set_grad_enabled(one_pass_of_g):
        fake = G(m.z, m.text, condition=m.condition, draws=m.generator_draws)
    objective.discriminator(critic, m, fake.detach(), now).total.backward()
    of_d = live.peak
    D.zero_grad(set_to_none=True)
    fake = fake if one_pass_of_g else None
    live.peak = live.now
    with frozen(D):
        fake = fake or G(m.z, m.text, condition=m.condition, draws=m.generator_draws)
        objective.generator(critic, m, fake, now).total.backward()
    of_g = live.peak
    G.zero_grad(set_to_none=True)
    return of_d, of_g


def blank_micro_batch(recipe: Recipe, system: System, images: int) -> MicroBatch:
    """Images, captions of full length and latents without content, on the meta device."""
    encoder, synthesis, names = system.text_encoder, system.generator.synthesis, CAPTIONS[:images]
    tokens = torch.zeros(images, encoder.max_tokens, dtype=torch.long)
    local, pooled = torch.empty(images, encoder.max_tokens, encoder.token_dim), torch.empty(images, encoder.text_dim)
    clusters = torch.zeros(images, dtype=torch.long) if num_clusters(recipe) else None
    text = TextDescriptors(local, pooled, Tokens(tokens, tokens == 0), clusters)
    real, draws = torch.empty(images, 3, recipe.resolution, recipe.resolution), Draws(recipe.seed, torch.zeros(images, dtype=torch.long))
    z, condition = system.generator.mapper.sample_latents(draws, text), synthesis.condition(real, draws)
    return MicroBatch(real, names, names, text, text, torch.arange(images).roll(1), z, condition, draws, draws)
