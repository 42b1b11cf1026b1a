"""The training step, for every system of the lineage."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from t2igan.config import Recipe
from t2igan.discriminator.critic import Critic
from t2igan.draws import Draws
from t2igan.growth import Growth
from t2igan.objective.matching import mismatched_captions
from t2igan.objective.objective import Losses
from t2igan.objective.term import MicroBatch
from t2igan.system import System
from t2igan.training.clusters import Clusters
from t2igan.training.ema import EMA
from t2igan.training.optimizer import ScheduledAdam
from t2igan.training.parameters import freeze, frozen
from t2igan.training.precision import faster_in_bf16
from t2igan.types import Batch, Fake, TextDescriptors, TrainingTime


class Trainer:
    """G and D, their optimizers, the average of G, and the one clock: real images that D has seen.

    Args:
        encode_text: captions to frozen TextDescriptors on the CPU.
    """

    def __init__(self, recipe: Recipe, system: System, accelerator: Accelerator, encode_text: Callable[[list[str]], TextDescriptors]):
        config = recipe.training
        self.config, self.seed = config, recipe.seed
        self.accelerator, self.device, self.encode_text = accelerator, accelerator.device, encode_text
        groups = system.discriminator.batch_multiple, recipe.data.images_per_caption
        self.growth = Growth(config, recipe.resolution, accelerator.num_processes, *groups)
        self.objective = system.objective.to(self.device)
        self.clusters: Clusters | None = None
        freeze(system.generator, config.generator_optimizer, "training.generator_optimizer")
        freeze(system.discriminator, config.discriminator_optimizer, "training.discriminator_optimizer")
        layout = torch.channels_last
        self.ema = EMA(system.generator.to(self.device, memory_format=layout), config.ema)
        self.G = accelerator.prepare_model(system.generator)
        self.D = accelerator.prepare_model(system.discriminator.to(self.device, memory_format=layout))
        self.critic = Critic(self.D, system.augment.to(self.device), system.discriminator.levels)
        self.frozen_critic = replace(self.critic, network=self.discriminator)
        args = ("training.generator_optimizer", "training.discriminator_optimizer")
        self.g_optimizer = ScheduledAdam(self.generator, config.generator_optimizer, args[0])
        self.d_optimizer = ScheduledAdam(self.discriminator, config.discriminator_optimizer, args[1])
        self.bf16 = config.precision == "bf16" or (config.precision == "auto" and faster_in_bf16(self.device))
        self.images, self.steps, self.last_batch = 0, 0, 0  # of the last step: its images

    @property
    def generator(self) -> nn.Module:
        return self.accelerator.unwrap_model(self.G)

    @property
    def discriminator(self) -> nn.Module:
        return self.accelerator.unwrap_model(self.D)

    def now(self) -> TrainingTime:
        return TrainingTime(self.images, self.steps, self.growth.batch(self.images), self.growth.stage(self.images))

    def step(self, batch: Batch, generator_batch: Batch | None = None) -> dict[str, Tensor]:
        """One update of D and one of G; returns the named values of every loss, averaged over micro-batches.

        `generator_batch`, where given, holds the real images of G's half; otherwise both halves take those of `batch`.
        """
        now, log = self.now(), {}
        critic, frozen_critic = self.critic.at(now.stage), self.frozen_critic.at(now.stage)
        self.generator.stage = self.ema.model.stage = now.stage
        if self.growth.begins_phase(now.images):
            self.g_optimizer.reset_moments()
            self.d_optimizer.reset_moments()
        size = self.growth.micro_batch_size(now.images)
        parts = batch.split(size)
        micro_batches = [self.prepare(part, "D") for part in parts]
        share = self.config.reuse_fakes and len(parts) == 1  # one pass of G; with several parts it is repeated, to save memory
        fakes: list[Fake | None] = []
        for m in self.accumulate(self.D, micro_batches):
            with self.autocast(), torch.set_grad_enabled(share):
                fake = self.generate(m)
            with self.autocast():
                losses = self.objective.discriminator(critic, m, fake.detach(), now)
            self.backward(losses, len(parts), log)
            fakes.append(fake if share else None)
        log["D/gradient_norm"] = self.d_optimizer.step(now)

        if generator_batch is None:
            micro_batches = [self.second_half(m, part) for m, part in zip(micro_batches, parts, strict=True)]
        else:
            micro_batches = [self.prepare(part, "G") for part in generator_batch.split(size)]
        with frozen(self.discriminator):
            for m, fake in zip(self.accumulate(self.G, micro_batches), fakes, strict=True):
                with self.autocast():
                    fake = self.generate(m) if fake is None else fake
                    losses = self.objective.generator(frozen_critic, m, fake, now)
                self.backward(losses, len(parts), log)
        log["G/gradient_norm"] = self.g_optimizer.step(now)

        self.images, self.steps, self.last_batch = self.images + now.batch, self.steps + 1, now.batch
        self.discriminator.update()
        self.generator.synthesis.update(now.batch, self.sum_over_processes)
        self.ema.update(self.generator, self.images, now.batch)
        self.objective.update(now, self.sum_over_processes)
        return log | self.critic.augment.update(self.now(), now.batch, self.sum_over_processes)

    def sum_over_processes(self, x: Tensor) -> Tensor:
        return self.accelerator.reduce(x, "sum")

    def prepare(self, part: Batch, half: str) -> MicroBatch:
        """A micro-batch on the device, with what G makes images for it from."""
        images, text = part.images.to(self.device), self.encode(part.captions, part.sample_ids)
        critic_text, mismatched = self.captions_for_critic(part, text)
        names = part.captions, part.primary_captions
        return MicroBatch(images, *names, text, critic_text, mismatched, **self.drawn(part, images, text, half))

    def encode(self, captions: list[str], sample_ids: list[int]) -> TextDescriptors:
        text = self.encode_text(captions)
        if self.clusters is not None:
            text = replace(text, cluster=self.clusters.labels(captions, sample_ids))
        return text.to(self.device)

    def captions_for_critic(self, part: Batch, text: TextDescriptors) -> tuple[TextDescriptors, Tensor]:
        """What D reads, and for each image the row there with a caption of another thing, where any loss needs one."""
        own = len(part)
        if not self.objective.needs("mismatched"):
            return text, torch.arange(own, device=self.device)
        rows = mismatched_captions(part.primary_captions, part.captions, part.following)
        wanted = rows[rows >= own].unique()
        if len(wanted):
            others = [part.following[row - own] for row in wanted.tolist()]
            text = text.followed_by(self.encode([other.text for other in others], [other.sample_id for other in others]))
            rows = torch.where(rows >= own, own + torch.searchsorted(wanted, rows), rows)
        return text, rows.to(self.device)

    def drawn(self, part: Batch, images: Tensor, text: TextDescriptors, half: str) -> dict:
        """The fields of a micro-batch that are random, for one half."""
        draws = self.draws(part, half)
        for_generator = draws.scoped("generator")
        z = self.generator.mapper.sample_latents(for_generator, text)
        condition = self.generator.synthesis.condition(images, for_generator)
        return {"z": z, "condition": condition, "draws": draws, "generator_draws": for_generator}

    def second_half(self, m: MicroBatch, part: Batch) -> MicroBatch:
        """The micro-batch of D's half for G's half: with latents of its own, unless the recipe reuses the generated images."""
        if self.config.reuse_fakes:
            return replace(m, draws=self.draws(part, "G"))
        return replace(m, **self.drawn(part, m.images, m.text, "G"))

    def draws(self, part: Batch, half: str) -> Draws:
        return Draws(self.seed, part.positions.to(self.device)).scoped(half)

    def generate(self, m: MicroBatch) -> Fake:
        return self.G(m.z, m.text, condition=m.condition, draws=m.generator_draws)

    def accumulate(self, model: nn.Module, micro_batches: list[MicroBatch]) -> Iterator[MicroBatch]:
        """The micro-batches in turn; gradients are synchronised between processes in the last one."""
        for m in micro_batches[:-1]:
            with self.accelerator.no_sync(model):
                yield m
        yield micro_batches[-1]

    def backward(self, losses: Losses, parts: int, log: dict[str, Tensor]) -> None:
        """Outside autocast, as fp32 islands have fp32 gradients; the mean over micro-batches is the mean over the batch."""
        self.accelerator.backward(losses.total / parts)
        for name, value in losses.parts.items():
            log[name] = log.get(name, 0) + value.detach().float() / parts

    def autocast(self) -> contextlib.AbstractContextManager:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16)

    def tensors(self) -> dict[str, dict[str, Tensor]]:
        """Everything that a checkpoint holds, by file."""
        modules = {"generator": self.generator, "discriminator": self.discriminator, "ema": self.ema.model}
        modules |= {"objective": self.objective, "augment": self.critic.augment}
        states = {name: module.state_dict() for name, module in modules.items()}
        return states | {"generator_optimizer": self.g_optimizer.state(), "discriminator_optimizer": self.d_optimizer.state()}

    def load_tensors(self, tensors: Mapping) -> None:
        """Takes what `tensors` returned, file by file. Raises RuntimeError or KeyError where the tensors are those of another system."""
        self.generator.load_state_dict(tensors["generator"])
        self.discriminator.load_state_dict(tensors["discriminator"])
        self.ema.model.load_state_dict(tensors["ema"])
        self.objective.load_state_dict(tensors["objective"])
        self.critic.augment.load_state_dict(tensors["augment"])
        self.g_optimizer.load_state(tensors["generator_optimizer"])
        self.d_optimizer.load_state(tensors["discriminator_optimizer"])
