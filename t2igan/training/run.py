"""A run: its folder, its loop, its checkpoints, its samples and the model at its end."""

import contextlib
import time
from functools import cached_property
from pathlib import Path

import torch
from accelerate.utils import broadcast_object_list

from t2igan.config import Recipe
from t2igan.data.batches import PairedBatches, TrainingBatches, batches
from t2igan.data.shards import Shards
from t2igan.errors import UserError
from t2igan.files import one_writer, write_text
from t2igan.growth import Growth
from t2igan.inference.model_folder import save_model
from t2igan.inference.open import runner_class
from t2igan.inference.run_log import SNAPSHOTS
from t2igan.memory import hand_back_freed_memory
from t2igan.recipe import differences, dump_recipe, load_recipe
from t2igan.system import System
from t2igan.text.cache import CaptionEncoder
from t2igan.training.checkpoint import Checkpoints, RunState
from t2igan.training.clusters import Clusters, find_clusters
from t2igan.training.precision import use_deterministic_kernels
from t2igan.training.processes import accelerator, check_agreement, checksum, share_weights
from t2igan.training.report import Report
from t2igan.training.start import check_meaning, start_from
from t2igan.training.trainer import Trainer
from t2igan.types import PrepareContext

MEAN_PROMPTS = 1000  # captions that the mean style is measured over
MAX_CACHED = 100_000  # images whose captions' features are kept on disk where the recipe leaves it open: 2.5 GB at 25 kB a caption
GENERATOR_STREAM = 1  # the order of the real images of G's half, where it has its own

MAY_CHANGE = (
    *("training.total_images", "training.keep_checkpoints", "training.max_skipped_steps", "training.prompts", "training.micro_batch"),
    *("training.deterministic", "data.shards", "data.workers", "data.cache_captions"),
)
MAY_CHANGE_ENDINGS = ("_every", ".activation_checkpointing", ".backend")  # what costs time or memory alone, up to rounding


class Run:
    """Trains a system by a recipe in a folder.

    Args:
        out: the run folder.
        cache: where text features are kept on disk, if the recipe does not forbid it; None keeps them in memory.
    """

    def __init__(self, recipe: Recipe, system: System, out: Path, cache: Path | None = None):
        torch.set_flush_denormal(True)  # gradients reach 1e-38, where some CPUs compute 30 times slower; costs no digit elsewhere
        if recipe.training.deterministic:
            use_deterministic_kernels()
        self.accelerator = accelerator(recipe.generator.synthesis.grows or recipe.discriminator.network.grows)
        self.recipe, self.config, self.out = recipe, recipe.training, Path(out)
        self.main, self.device = self.accelerator.is_main_process, self.accelerator.device
        groups = system.discriminator.batch_multiple, recipe.data.images_per_caption
        self.growth = Growth(recipe.training, recipe.resolution, self.accelerator.num_processes, *groups)
        self.shards = Shards(recipe.data.shards, system.text_encoder.conditional, system.text_encoder.check_caption)
        self.dataset = self._batches()
        self.dataset[0]  # data that cannot be read is refused before anything is written
        cache = cache if self._caches_captions() else None
        system.text_encoder.load_pretrained()
        encode_text = CaptionEncoder(system.text_encoder, cache, self.device, max_truncation_warnings=1 if self.main else 0)
        context = PrepareContext(self.device, lambda: self._primary_captions, cache)
        system.generator.prepare(context)
        system.objective.prepare(context)
        system.discriminator.prepare(context)
        self.trainer = Trainer(recipe, system, self.accelerator, encode_text)
        self.checkpoints = Checkpoints(self.out, self.config.keep_checkpoints)
        self.replaced = 0  # broken samples that this process replaced; what a resumed run counted before is the main process's

    def _caches_captions(self) -> bool:
        wanted = self.recipe.data.cache_captions
        return len(self.shards) <= MAX_CACHED if wanted is None else wanted

    @cached_property
    def _primary_captions(self) -> list[str]:
        """Read by the main process for all of them."""
        return broadcast_object_list([self.shards.primary_captions() if self.main else None])[0]

    def _batches(self) -> TrainingBatches | PairedBatches:
        data = self.recipe.data
        where = self.accelerator.process_index, self.accelerator.num_processes
        args = (self.shards, self.recipe.resolution, self.growth.batch, self.recipe.seed, *where, data.caption_dropout, data.mirror)
        halves = (0, GENERATOR_STREAM) if self.config.own_reals else (0,)
        made = [TrainingBatches(*args, stream, data.images_per_caption) for stream in halves]
        return PairedBatches(*made) if self.config.own_reals else made[0]

    # ------------------------------------------------------------------------------------------------ the loop

    def train(self, resume: bool = False) -> Path:
        """Trains to the end of the recipe and returns the folder of the model; `resume` continues from the newest checkpoint.

        Raises:
            UserError: the folder holds another run and `resume` is off, there is nothing to resume, another process trains in the folder,
                or gradients are no longer finite; then the last checkpoint and the model that were there stay.
        """
        with one_writer(self.out) if self.main else contextlib.nullcontext():
            return self._train(resume)

    def _train(self, resume: bool) -> Path:
        self.open(resume)
        trainer, total = self.trainer, self.growth.end
        report = Report(self.out, total, trainer.images, self.main, trainer.objective.headline())
        due = False  # whether a checkpoint is due; it waits for a step that was not skipped
        waited = time.perf_counter()
        for data in batches(self.dataset, self.growth.steps_from(trainer.images), self.recipe.data.workers):
            report.waited(time.perf_counter() - waited)
            halves = data if isinstance(data, tuple) else (data,)
            report.add(trainer.step(*halves))
            self.replaced += sum(half.num_replaced for half in halves)
            last = trainer.images >= total
            if trainer.steps % self.config.log_every == 0 or last:
                report.write(trainer.images, self._mean_over_processes(report.take()), self._figures())
            self._check_progress(last)
            if self._passed(self.config.sample_every) or last:
                self._sample(report)
            due = due or last or self._passed(self.config.checkpoint_every)
            if due and (last or not self._skipped_in_a_row()):
                self.save()
                due = False
            if self.config.snapshot_every and self._passed(self.config.snapshot_every) and self.main:
                self._publish(self.out / SNAPSHOTS / f"{trainer.images:09d}")
            waited = time.perf_counter()
        report.close()
        if self.main:
            self._publish(self.out / "model")
        self.accelerator.wait_for_everyone()
        return self.out / "model"

    def open(self, resume: bool) -> None:
        """Makes the folder, or restores the newest checkpoint in it: the one that the main process finds.

        Raises:
            UserError: as `train`; or processes read other weights, another clock or other shards than the main one.
        """
        (latest,) = broadcast_object_list([self.checkpoints.latest() if self.main else None])
        if resume and latest is None:
            raise UserError(f"{self.out} has no checkpoint to resume from; leave out --resume to start it")
        if not resume and latest is not None:
            raise UserError(f"{self.out} already holds a run; add --resume to continue it, or choose another --out")
        is_run = (self.out / "recipe.yaml").is_file()
        if self.main and self.out.is_dir() and any(self.out.iterdir()) and not is_run:
            raise UserError(f"{self.out} holds something else than a run; choose another --out")
        if latest is None:
            self.begin()
        else:
            self._check_same_recipe()
            self.restore(latest)
        hand_back_freed_memory()  # what setting up took: pieces of it would lie between the tensors of the first step
        self._check_agreement()  # all have read the recipe, which is written anew
        if self.main:
            self.out.mkdir(parents=True, exist_ok=True)
            write_text(self.out / "recipe.yaml", dump_recipe(self.recipe))
        self.accelerator.print(
            f"{self.recipe.name}: {len(self.shards)} images, {self.accelerator.num_processes} process(es) on {self.device.type}, "
            f"{'bf16' if self.trainer.bf16 else 'fp32'}, batch {self.config.batch}, "
            f"{self.trainer.images} of {self.config.total_images} images seen"
        )

    def begin(self) -> None:
        """What a new run starts from: another run's weights, and cluster labels that all processes share."""
        if self.recipe.start is not None:
            start = self.recipe.start
            check_meaning(start, self.recipe.generator.synthesis)
            copied = start_from(start, self.trainer.generator, self.trainer.ema.model, self.trainer.discriminator)
            for part, what in copied.items():
                self.accelerator.print(f"{part} begins with {start.run}: {what}")
        if self.config.cluster_features:
            found = [None]
            if self.main:
                clusters = self.recipe.generator.style.num_clusters
                found = [find_clusters(self.shards, self.recipe.resolution, self.config.cluster_features, clusters, self.device)]
            self.trainer.clusters = broadcast_object_list(found)[0]
        if self.accelerator.num_processes > 1:
            share_weights((self.trainer.generator, self.trainer.ema.model, self.trainer.discriminator))

    def _check_agreement(self) -> None:
        """Raises UserError, on every process, where one of them does not begin as the others do."""
        trainer, shards = self.trainer, int(self.shards.fingerprint[:15], 16)
        weights = sum(checksum(module) for module in (trainer.generator, trainer.ema.model, trainer.discriminator))
        check_agreement(self.accelerator, {"images seen": trainer.images, "steps": trainer.steps, "weights": weights, "shards": shards})

    def _check_same_recipe(self) -> None:
        """A run is resumed under its own recipe; its length and how it is watched may change."""
        changed = [
            f"{path} from {old} to {new}"
            for path, old, new in differences(load_recipe(self.out), self.recipe)
            if path not in MAY_CHANGE and not path.endswith(MAY_CHANGE_ENDINGS)
        ]
        if changed:
            what = "; ".join(changed[:3])
            raise UserError(f"{self.out} was trained under another recipe ({what}); resume with {self.out / 'recipe.yaml'}")

    # ------------------------------------------------------------------------------------------------ figures and samples

    def _passed(self, every: int) -> bool:
        """Whether the last step carried the clock over a multiple of `every`."""
        return self.trainer.images // every > (self.trainer.images - self.trainer.last_batch) // every

    def _figures(self) -> dict[str, float]:
        """What is not a mean over steps: rates and counts."""
        trainer = self.trainer
        figures = {"G/lr": trainer.g_optimizer.lr, "D/lr": trainer.d_optimizer.lr}
        figures |= {"ema/decay": trainer.ema.decay(trainer.images, trainer.last_batch), "skipped_steps": float(self._skipped())}
        return figures | {"data/replaced": float(self._all_replaced())}

    def _check_progress(self, last: bool) -> None:
        """Raises UserError where steps are skipped one after another, or where the run ends in steps that were skipped most of its time."""
        in_a_row, bound = self._skipped_in_a_row(), self.config.max_skipped_steps
        if in_a_row >= bound or (last and in_a_row > self.trainer.steps // 2):
            latest = self.checkpoints.latest()
            kept = f"the last good checkpoint is {latest}" if latest else "there is no checkpoint"
            raise UserError(
                f"{in_a_row} steps in a row were skipped, as their gradients are not finite, so the run stops at "
                f"{self.trainer.images} images ({kept}); lower the learning rates or raise the gradient penalty"
            )

    def _skipped_in_a_row(self) -> int:
        return max(self.trainer.g_optimizer.skipped_in_a_row, self.trainer.d_optimizer.skipped_in_a_row)

    def _skipped(self) -> int:
        return self.trainer.g_optimizer.skipped + self.trainer.d_optimizer.skipped

    def _all_replaced(self) -> int:
        return int(self.accelerator.reduce(torch.tensor(self.replaced, device=self.device), "sum"))

    def _mean_over_processes(self, values: dict[str, float]) -> dict[str, float]:
        names = sorted(values)
        mean = self.accelerator.reduce(torch.tensor([values[name] for name in names], device=self.device), "mean")
        return dict(zip(names, mean.tolist(), strict=True))

    def _sample(self, report: Report) -> None:
        if not self.main:
            return
        data = self.dataset[0]
        batch = data[0] if isinstance(data, tuple) else data
        rows, captions = self.runner().preview(list(self.config.prompts), batch.images, batch.primary_captions)
        report.grid(self.trainer.images, rows, captions)

    def runner(self):
        """The averaged generator, ready for prompts or for images."""
        runner = runner_class(self.recipe.generator.synthesis)
        return runner(self.trainer.ema.model, self.trainer.encode_text, self.recipe.resolution)

    # ------------------------------------------------------------------------------------------------ checkpoints and the model

    def save(self) -> None:
        """A checkpoint of everything, by the main process."""
        replaced = self._all_replaced()
        if self.main:
            trainer = self.trainer
            state = RunState(
                images=trainer.images,
                steps=trainer.steps,
                dataset_size=len(self.shards),
                fingerprint=self.shards.fingerprint,
                replaced=replaced,
                skipped_steps={"G": trainer.g_optimizer.skipped, "D": trainer.d_optimizer.skipped},
                clusters=trainer.clusters.to_json() if trainer.clusters else None,
            )
            self.checkpoints.write(trainer.tensors(), state)
        self.accelerator.wait_for_everyone()

    def restore(self, path: Path) -> None:
        """Sets everything to a checkpoint, on every process.

        Raises:
            UserError: the checkpoint belongs to other shards, or lacks a part.
        """
        tensors, state = self.checkpoints.read(path)
        if state.dataset_size != len(self.shards):
            raise UserError(f"{path} was trained on {state.dataset_size} images, the shards hold {len(self.shards)}; give the same")
        if state.fingerprint != self.shards.fingerprint:
            raise UserError(f"{path} was trained on other images than the {len(self.shards)} in {self.recipe.data.shards}; give the same")
        trainer = self.trainer
        try:
            trainer.load_tensors(tensors)
            if state.clusters:  # which cluster has which number is as arbitrary as weights, and must stay
                trainer.clusters = Clusters.from_json(state.clusters)
        except (RuntimeError, KeyError) as error:
            detail = " ".join(line.strip() for line in str(error).splitlines()[:2])  # the second line names the tensors
            raise UserError(f"{path} does not fit the recipe ({detail[:200]}); resume with {self.out / 'recipe.yaml'}") from None
        trainer.images, trainer.steps = state.images, state.steps
        trainer.g_optimizer.skipped, trainer.d_optimizer.skipped = state.skipped_steps["G"], state.skipped_steps["D"]
        self.replaced = state.replaced if self.main else 0

    def _publish(self, folder: Path) -> None:
        captions = self.shards.primary_captions()  # the main process alone is here
        average = self.trainer.ema.model
        text = self.trainer.encode_text(captions[:: -(-len(captions) // MEAN_PROMPTS)]).to(self.device)
        average.mapper.measure_mean(average.adapt(text))
        save_model(folder, average, self.recipe, {"images_seen": self.trainer.images, "dataset_size": len(self.shards)})
