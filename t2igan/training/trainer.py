"""The loop that trains every system of the lineage."""

import contextlib
import os
import time
import warnings
from dataclasses import replace
from pathlib import Path

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.utils import GradientAccumulationPlugin, broadcast_object_list
from PIL import Image
from torch import nn

from t2igan import pyramid as pyramids
from t2igan.augment.diffaugment import uniform_rows
from t2igan.config import OptimizerConfig, Recipe, differences, dump_recipe, load_recipe
from t2igan.data.images import to_pil
from t2igan.data.shards import Shards, StepBatches, batches
from t2igan.errors import UserError
from t2igan.inference.pipeline import Pipeline, save_model
from t2igan.inference.upsampler import Upsampler
from t2igan.system import System
from t2igan.text.cache import CaptionEncoder
from t2igan.training.checkpoint import Checkpoints, optimizer_tensors, restore_optimizer
from t2igan.training.clusters import Drawings, place_modes, read_drawings
from t2igan.training.ema import EMA
from t2igan.training.precision import faster_in_bf16
from t2igan.training.randomness import generator
from t2igan.training.report import Report
from t2igan.types import Batch, Fake, ImagePyramid, TextDescriptors, TrainingTime

MEAN_PROMPTS = 1000  # captions that the mean style is measured over


class Trainer:
    """G and D, their optimizers, the average of G, and the one clock: pictures seen.

    Args:
        out: the run folder.
        cache: where text features are kept; None keeps them in memory.
    """

    def __init__(self, recipe: Recipe, system: System, out: Path, cache: Path | None = None):
        torch.set_flush_denormal(True)  # gradients reach 1e-38, where some CPUs compute 30 times slower; costs no digit elsewhere
        warnings.filterwarnings("ignore", message=".*(Grad strides|broadcast_buffers|forward_sync_buffers)")  # no news for a user
        self.accelerator = Accelerator(
            cpu=not torch.cuda.is_available(),
            mixed_precision="no",  # precision and accumulation are the recipe's, whatever a launcher's settings say
            gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=1),
            kwargs_handlers=[DistributedDataParallelKwargs(broadcast_buffers=False)],
        )
        self.recipe, self.config, self.out, self.device = recipe, recipe.training, Path(out), self.accelerator.device
        self.sides = recipe.discriminator.network.inputs
        self.share = self.config.batch // self.accelerator.num_processes
        self.micro = min(self.config.micro_batch or self.share, self.share)
        self.shards = Shards(recipe.data.shards)
        rank, world = self.accelerator.process_index, self.accelerator.num_processes
        blank = recipe.data.caption_dropout
        self.dataset = StepBatches(self.shards, recipe.resolution, self.config.batch, recipe.seed, rank, world, blank)
        if self.share % self.micro:
            raise UserError(f"training.micro_batch {self.micro} does not divide the {self.share} pictures of one process; choose a divisor")
        self.dataset[0]  # data that cannot be read is refused before anything is written
        group = recipe.discriminator.network.minibatch_std
        if group and self.micro % group:
            raise UserError(f"discriminator.network.minibatch_std {group} does not divide {self.micro} pictures per pass; choose a divisor")
        system.text_encoder.load_pretrained()
        self.describe = CaptionEncoder(system.text_encoder, cache, self.device, max_truncation_warnings=1 if self.accelerator.is_main_process else 0)
        self.objective, self.view = system.objective, system.view
        self.objective.prepare(self.shards.primary_captions, self.device)
        system.discriminator.prepare(self.device)
        self.drawings = self._sort_drawings() if self.config.drawings else None
        layout = torch.channels_last
        self.ema = EMA(system.generator.to(self.device, memory_format=layout), self.config.ema)
        self.G = self.accelerator.prepare_model(system.generator)
        self.D = self.accelerator.prepare_model(system.discriminator.to(self.device, memory_format=layout))
        self.g_optimizer = self._adam(self.generator, self.config.generator_optimizer)
        self.d_optimizer = self._adam(self.discriminator, self.config.discriminator_optimizer)
        self.bf16 = self.config.precision == "bf16" or (self.config.precision == "auto" and faster_in_bf16(self.device))
        self.checkpoints = Checkpoints(self.out, self.config.keep)
        self.images = 0
        self.skipped = 0  # steps whose gradients were not finite
        self.replaced = 0  # broken samples that this process has read over; what a resumed run did before counts in the main process

    @property
    def generator(self) -> nn.Module:
        return self.accelerator.unwrap_model(self.G)

    @property
    def discriminator(self) -> nn.Module:
        return self.accelerator.unwrap_model(self.D)

    def now(self) -> TrainingTime:
        return TrainingTime(self.images, self.images // self.config.batch)

    def _sort_drawings(self) -> Drawings:
        """Done once, by the main process, so that all processes have the same modes."""
        found = [None]
        if self.accelerator.is_main_process:
            modes = self.recipe.generator.style.modes
            found = [read_drawings(self.shards, self.recipe.resolution, self.config.drawings, modes, self.device)]
        return broadcast_object_list(found)[0]

    # ------------------------------------------------------------------------------------------------ one step

    def step(self, batch: Batch) -> dict[str, torch.Tensor]:
        """One update of D and one of G; returns the named values of every loss, averaged over micro-batches."""
        now, report = self.now(), {}
        micro = batch.split(self.micro)
        texts = [self._text(part).to(self.device) for part in micro]
        rows = self._draw(now)
        latents = [self._place(z, text) for z, text in zip(rows["latents"], texts, strict=True)]
        lows = [self._low(part, rows, i) for i, part in enumerate(micro)]
        once = len(micro) == 1  # then one pass of G serves both halves; else the second half repeats it, to save memory
        fakes: list[Fake | None] = [None] * len(micro)

        for i, (part, text) in enumerate(zip(micro, texts, strict=True)):
            with self.autocast(), contextlib.nullcontext() if once else torch.no_grad():
                fake = self.G(latents[i], text, low=lows[i])
            fakes[i] = fake if once else None
            with self._synchronised(self.D, last=i == len(micro) - 1), self.autocast():
                losses = self.discriminator_losses(part, fake.detach(), text, rows, i, now)
                self.accelerator.backward(losses.total / len(micro))
            self._note(report, losses, len(micro))
        self._update(self.d_optimizer, self.discriminator, self.config.discriminator_optimizer, now, report, "D")

        with frozen(self.discriminator):
            for i, (part, text) in enumerate(zip(micro, texts, strict=True)):
                with self._synchronised(self.G, last=i == len(micro) - 1), self.autocast():
                    fake = fakes[i] if once else self.G(latents[i], text, low=lows[i])
                    losses = self.generator_losses(part, fake, text, rows, i, now)
                    self.accelerator.backward(losses.total / len(micro))
                self._note(report, losses, len(micro))
        self._update(self.g_optimizer, self.generator, self.config.generator_optimizer, now, report, "G")

        self.images += self.config.batch
        self.ema.update(self.generator, self.images, self.config.batch)
        return report

    def _text(self, part: Batch) -> TextDescriptors:
        text = self.describe(part.captions)
        return replace(text, drawing=self.drawings.of(part)) if self.drawings else text

    def _place(self, z: torch.Tensor, text: TextDescriptors) -> torch.Tensor:
        """Latents [b z_dim] with the modes of their pictures' drawings."""
        return z if text.drawing is None else place_modes(z, text.drawing, self.generator.mapper.modes)

    def _low(self, part: Batch, rows, i: int) -> torch.Tensor | None:
        """The noisy small pictures that an upsampler starts from; Kang et al. 2023, section 3.4."""
        synthesis = self.generator.synthesis
        if synthesis.low is None:
            return None
        level = synthesis.noise * rows["noise level"][i][:, None, None, None]
        return pyramids.shrink(part.images.to(self.device), synthesis.low) + level * rows["noise"][i]

    def discriminator_losses(self, part: Batch, fake: Fake, text: TextDescriptors, rows, i: int, now: TrainingTime):
        real = self.view(pyramids.build_pyramid(part.images.to(self.device), self.sides), rows["real view"][i])
        seen = self._seen(fake, rows["fake view in D's half"][i])
        noise = ImagePyramid(tuple(rows[f"nudge {side}"][i] for side in self.sides)) if self.objective.step_of_nudge(now) else None
        return self.objective.discriminator_losses(self.D, real, fake, seen, text, part.captions, part.names, now, noise)

    def generator_losses(self, part: Batch, fake: Fake, text: TextDescriptors, rows, i: int, now: TrainingTime):
        seen = self._seen(fake, rows["fake view in G's half"][i])
        images = part.images.to(self.device)
        return self.objective.generator_losses(self.discriminator, images, fake, seen, text, part.captions, part.names, now)

    def _seen(self, fake: Fake, rows: torch.Tensor) -> ImagePyramid:
        return self.view(pyramids.select(fake.pyramid, self.sides), rows)

    def _draw(self, now: TrainingTime) -> dict[str, list[torch.Tensor]]:
        """Every random number of this step: drawn for the whole batch, this process's rows kept, split in micro-batches."""
        drawn = {"latents": torch.randn(self.config.batch, self.generator.mapper.z_dim, generator=self._random(now, "latents"))}
        for purpose in ("real view", "fake view in D's half", "fake view in G's half"):
            drawn[purpose] = uniform_rows(self.config.batch, self._random(now, purpose))
        if low := self.generator.synthesis.low:
            drawn["noise level"] = torch.rand(self.config.batch, generator=self._random(now, "noise level"))
            drawn["noise"] = torch.randn(self.config.batch, 3, low, low, generator=self._random(now, "noise"))
        if self.objective.step_of_nudge(now):
            random = self._random(now, "nudge")
            drawn |= {f"nudge {side}": torch.randn(self.config.batch, 3, side, side, generator=random) for side in self.sides}
        first = self.accelerator.process_index * self.share
        return {name: list(rows[first : first + self.share].to(self.device).split(self.micro)) for name, rows in drawn.items()}

    def _random(self, now: TrainingTime, purpose: str) -> torch.Generator:
        return generator(self.recipe.seed, now.step, purpose)

    def _synchronised(self, model: nn.Module, last: bool):
        return contextlib.nullcontext() if last else self.accelerator.no_sync(model)

    def autocast(self):
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16)

    def _update(self, optimizer, module: nn.Module, config: OptimizerConfig, now: TrainingTime, report: dict, half: str) -> None:
        """Steps the optimizer, unless a gradient is not finite: then the step is skipped and counted."""
        gradients = [p.grad for p in module.parameters() if p.grad is not None]
        norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
        report[f"{half}/gradient_norm"] = norm
        if torch.isfinite(norm):
            warmup = min(1.0, (now.images + self.config.batch) / config.warmup) if config.warmup else 1.0
            for group in optimizer.param_groups:
                group["lr"] = config.lr(now.images) * warmup * group["rate"]
            optimizer.step()
        else:
            self.skipped += 1
        optimizer.zero_grad(set_to_none=True)

    @staticmethod
    def _adam(module: nn.Module, config: OptimizerConfig) -> torch.optim.AdamW:
        """AdamW; attention's projections decay at a rate of their own (Kang et al. 2023, section 3.1), kernels may learn at one."""
        groups = {
            "others": {"params": [], "weight_decay": config.weight_decay, "rate": 1.0},
            "kernels": {"params": [], "weight_decay": config.weight_decay, "rate": config.kernel_lr},
            "attention": {"params": [], "weight_decay": config.attention_weight_decay, "rate": 1.0},
        }
        for name, p in module.named_parameters():
            kind = "attention" if ".attention.to_" in name else "kernels" if p.ndim == 4 and p.shape[-1] > 1 else "others"
            groups[kind]["params"].append(p)
        filled = [group for group in groups.values() if group["params"]]
        return torch.optim.AdamW(filled, lr=config.lr(0), betas=tuple(map(float, config.betas)), eps=1e-8, fused=True)

    @staticmethod
    def _note(report: dict, losses, micro: int) -> None:
        for name, value in losses.parts.items():
            report[name] = report.get(name, 0) + value.detach().float() / micro

    # ------------------------------------------------------------------------------------------------ the run

    def train(self, resume: bool = False) -> Path:
        """Trains to the end of the recipe and returns the folder of the model; `resume` goes on from the newest checkpoint.

        Raises:
            UserError: the folder holds another run and `resume` is off, or there is nothing to resume.
        """
        self._open(resume)
        total = self.config.images // self.config.batch
        loader = batches(self.dataset, self.now().step, total, self.recipe.data.workers)
        report = Report(self.out, total * self.config.batch, self.images, main=self.accelerator.is_main_process)
        waited = time.perf_counter()
        for batch in loader:
            report.waited(time.perf_counter() - waited)
            report.add(self.step(batch))
            step = self.now().step
            self.replaced += batch.replaced
            if step % self.config.log_every == 0 or step == total:
                report.write(self.images, self._mean_over_ranks(report.take()), self._rates())
            last = step == total
            if self._passed(self.config.sample_every) or last:
                self._sample(report)
            if self._passed(self.config.checkpoint_every) or last:
                self.save()
            waited = time.perf_counter()
        report.close()
        if self.accelerator.is_main_process:
            self._publish()
        self.accelerator.wait_for_everyone()
        return self.out / "model"

    def _open(self, resume: bool) -> None:
        latest = self.checkpoints.latest()
        if resume and latest is None:
            raise UserError(f"{self.out} has no checkpoint to resume from; leave out --resume to start it")
        if not resume and latest is not None:
            raise UserError(f"{self.out} already holds a run; add --resume to go on with it, or choose another --out")
        is_run = (self.out / "recipe.yaml").is_file()
        if self.accelerator.is_main_process and self.out.is_dir() and any(self.out.iterdir()) and not is_run:
            raise UserError(f"{self.out} holds something else than a run; choose another --out")
        if latest is not None:
            self._check_same_recipe()
            self.restore(latest)
        self.accelerator.wait_for_everyone()  # before the recipe that all have read is written anew
        if self.accelerator.is_main_process:
            self.out.mkdir(parents=True, exist_ok=True)
            partial = self.out / ".recipe.yaml.partial"
            partial.write_text(dump_recipe(self.recipe))
            os.replace(partial, self.out / "recipe.yaml")
        self.accelerator.print(
            f"{self.recipe.name}: {len(self.shards)} pictures, {self.accelerator.num_processes} process(es) on {self.device.type}, "
            f"{'bf16' if self.bf16 else 'fp32'}, batch {self.config.batch}, {self.images} of {self.config.images} pictures seen"
        )

    def _check_same_recipe(self) -> None:
        """A run is resumed under its own recipe; how long it is and how it is watched may change."""
        free = (
            "training.images",
            "training.keep",
            "training.prompts",
            "data.shards",
            "data.workers",
        )  # and what costs memory or time alone, up to rounding
        changed = [
            f"{path} from {old} to {new}"
            for path, old, new in differences(load_recipe(self.out), self.recipe)
            if path not in free and not path.endswith(("_every", ".activation_checkpointing", ".backend"))
        ]
        if changed:
            what = "; ".join(changed[:3])
            raise UserError(f"{self.out} was trained under another recipe ({what}); resume with {self.out / 'recipe.yaml'}")

    def _passed(self, every: int) -> bool:
        """Whether the last step carried the clock over a multiple of `every`."""
        return self.images // every > (self.images - self.config.batch) // every

    def _rates(self) -> dict[str, float]:
        rates = {f"{name}/lr": optimizer.param_groups[0]["lr"] for name, optimizer in (("G", self.g_optimizer), ("D", self.d_optimizer))}
        rates |= {"ema/decay": self.ema.decay(self.images, self.config.batch), "skipped_steps": float(self.skipped)}
        return rates | {"data/replaced": float(self._all_replaced())}

    def _all_replaced(self) -> int:
        return int(self.accelerator.reduce(torch.tensor(self.replaced, device=self.device), "sum"))

    def _mean_over_ranks(self, values: dict[str, float]) -> dict[str, float]:
        names = sorted(values)
        mean = self.accelerator.reduce(torch.tensor([values[name] for name in names], device=self.device), "mean")
        return dict(zip(names, mean.tolist(), strict=True))

    def _sample(self, report: Report) -> None:
        if not self.accelerator.is_main_process:
            return
        if self.generator.synthesis.low is not None:
            report.grid(self.images, *self._enlarged())
        elif self.config.prompts:
            report.grid(self.images, self.pipeline()(list(self.config.prompts), seeds=range(4)), list(self.config.prompts))

    def _enlarged(self, count: int = 8) -> tuple[list[list], list[str]]:
        """Rows of a small picture, what the upsampler makes of it and the real one, with their captions: the first ones of the data."""
        batch = self.dataset[0]
        real, captions = batch.images[:count], batch.names[:count]
        small = [to_pil(image) for image in pyramids.shrink(real, self.generator.synthesis.low)]
        large = self.upsampler()(small, captions)
        real = [to_pil(image) for image in real]
        return [[a.resize(b.size, Image.Resampling.NEAREST), b, c] for a, b, c in zip(small, large, real, strict=True)], captions

    def pipeline(self) -> Pipeline:
        """The averaged generator, ready for prompts."""
        return Pipeline(self.ema.model, self.describe, self.recipe.resolution)

    def upsampler(self) -> Upsampler:
        """The averaged generator, ready for pictures."""
        return Upsampler(self.ema.model, self.describe, self.recipe.resolution)

    def save(self) -> None:
        """A checkpoint of everything, by the main process."""
        replaced = self._all_replaced()
        if self.accelerator.is_main_process:
            modules = {"generator": self.generator, "discriminator": self.discriminator, "ema": self.ema.model}
            tensors = {name: module.state_dict() for name, module in modules.items()}
            tensors["generator_optimizer"] = optimizer_tensors(self.g_optimizer, self.generator)
            tensors["discriminator_optimizer"] = optimizer_tensors(self.d_optimizer, self.discriminator)
            state = {"images": self.images, "skipped_steps": self.skipped, "replaced": replaced, "pictures": len(self.shards)}
            state["drawings"] = self.drawings.to_json() if self.drawings else None
            self.checkpoints.write(self.images, tensors, state)
        self.accelerator.wait_for_everyone()

    def restore(self, path: Path) -> None:
        """Sets everything to a checkpoint, on every process.

        Raises:
            UserError: the checkpoint belongs to other shards, or lacks a part.
        """
        tensors, state = self.checkpoints.read(path)
        if state["pictures"] != len(self.shards):
            raise UserError(f"{path} was trained on {state['pictures']} pictures, the shards hold {len(self.shards)}; give the same")
        try:
            self.generator.load_state_dict(tensors["generator"])
            self.discriminator.load_state_dict(tensors["discriminator"])
            self.ema.model.load_state_dict(tensors["ema"])
            restore_optimizer(self.g_optimizer, self.generator, tensors["generator_optimizer"])
            restore_optimizer(self.d_optimizer, self.discriminator, tensors["discriminator_optimizer"])
        except (RuntimeError, KeyError) as error:
            detail = " ".join(line.strip() for line in str(error).splitlines()[:2])  # the second line names the tensors
            raise UserError(f"{path} does not fit the recipe ({detail[:200]}); resume with {self.out / 'recipe.yaml'}") from None
        self.images, self.skipped = state["images"], state["skipped_steps"]
        self.replaced = state["replaced"] if self.accelerator.is_main_process else 0
        if self.drawings:  # which mode is which is as arbitrary as weights, and must stay
            self.drawings = Drawings.from_json(state["drawings"])

    def _publish(self) -> None:
        names = self.shards.primary_captions()
        text = self.describe(names[:: -(-len(names) // MEAN_PROMPTS)]).to(self.device)
        self.ema.model.mapper.measure_mean(self.ema.model.adapt(text))
        save_model(self.out / "model", self.ema.model, self.recipe, {"images_seen": self.images, "pictures": len(self.shards)})


@contextlib.contextmanager
def frozen(module: nn.Module):
    """No gradients for the parameters of `module` inside; their flags as before afterwards."""
    flags = [(parameter, parameter.requires_grad) for parameter in module.parameters()]
    module.requires_grad_(False)
    try:
        yield
    finally:
        for parameter, flag in flags:
            parameter.requires_grad_(flag)
