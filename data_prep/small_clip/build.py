"""Captioned shards to the folder of a trained small CLIP."""

import hashlib
import json
import time
from dataclasses import asdict
from pathlib import Path

import torch

from small_clip.batches import BatchSampler
from small_clip.checkpoint import Checkpoint
from small_clip.config import ClipTraining
from small_clip.data import CaptionedImages, divide, read_images
from small_clip.evaluation import CANDIDATES, MANY_CANDIDATES, mega_macs, retrieve_captions
from small_clip.model import SmallClip
from small_clip.progress import Progress
from small_clip.recolor import with_recolored
from small_clip.save import CLIP_MARKER, cache_embeddings, save
from small_clip.text import encode_sentences, load_sentence_encoder
from small_clip.training import train
from t2igan.data.shards import Shards
from t2igan.data.write import REPORT, check_replaceable
from t2igan.errors import UserError
from t2igan.files import atomic_folder, write_json
from t2igan.text.cache import CaptionEncoder, default_cache
from t2igan.training.precision import faster_in_bf16


def build(
    data: str,
    out: Path,
    config: ClipTraining,
    seed: int,
    size: int,
    minutes: float | None,
    progress: Progress,
    unseen: float = 0.0,
    precision: str = "auto",
) -> dict:
    """Trains, saves to the folder `out` and fills the caption cache; returns the report. An interrupted training goes on.

    Args:
        unseen: share of the images that training does not see; the report has the accuracy on them.
        precision: bf16, fp32, or auto: bf16 where this CPU computes faster in it.
    """
    began = time.monotonic()
    check_replaceable(out, CLIP_MARKER)
    with atomic_folder(out) as folder:
        images = read_images(Shards(data), size, lambda done, total: progress(f"{out}: reading images", done / total))
        count, primary = len(images.captions), images.primary_captions
        images, apart = divide(images, unseen) if unseen else (images, None)
        if apart and not apart.captions_of:
            raise UserError(f"--unseen is {unseen:g}, of which {len(images.captions_of)} images leave none; raise it")
        if config.recolor:
            images = with_recolored(images, config.new_captions)
        encoder = load_sentence_encoder(config.max_tokens)
        cached = CaptionEncoder(encoder, default_cache())
        sentences = encode_sentences(images.captions, cached, lambda done, total: progress(f"{out}: encoding captions", done / total))

        torch.manual_seed(seed)
        model = SmallClip(config)
        model.whiten_projection(sentences, config.whitening)
        model.to(memory_format=torch.channels_last)
        sampler = BatchSampler(images, config, torch.Generator().manual_seed(seed))
        bf16 = precision == "bf16" or (precision == "auto" and faster_in_bf16(torch.device("cpu")))
        machine = {"threads": torch.get_num_threads(), "torch": str(torch.__version__), "precision": "bf16" if bf16 else "fp32"}
        options = asdict(config) | machine | {"seed": seed, "size": size, "minutes": minutes, "unseen": unseen}
        checkpoint = Checkpoint(out.resolve().with_name(f".{out.resolve().name}.checkpoint"), options | {"images": content_of(images)})
        clock = (lambda: checkpoint.seconds() / (60 * minutes)) if minutes else None
        losses = train(
            model,
            sampler,
            sentences,
            config,
            lambda done, loss: progress(f"{out}: training", done, f", loss {loss:.3f}"),
            clock,
            checkpoint,
            bf16,
        )
        progress.end()

        with torch.no_grad():
            embeddings = model.text(sentences[:count])
        report = {
            "data": data,
            "seed": seed,
            "recipe": asdict(config) | {"steps": len(losses)},
            "size": size,
            "precision": machine["precision"],
            "pictures": len(images.captions_of),
            "skipped": images.skipped,
            "names": len(images.primary_captions),
            "captions": count,
            "mmac_per_picture": mega_macs(model, size),
            "loss": [round(sum(part) / len(part), 4) for part in (losses[:20], losses[-20:])],
            **retrieve_captions(model.embed(images.pixels), embeddings, images, primary),
        }
        if apart:
            found, of = model.embed(apart.pixels), (CANDIDATES, MANY_CANDIDATES)
            report["unseen"] = {str(most): retrieve_captions(found, embeddings, apart, primary, most) for most in of}
            report["unseen"] |= {"share": unseen, "pictures": len(apart.captions_of)}
        save(model.to(memory_format=torch.contiguous_format), config, encoder, folder, out.resolve())
        cache_embeddings(folder, images.captions[:count], embeddings)
        report["seconds"] = round(time.monotonic() - began + checkpoint.seconds_before, 1)
        write_json(folder / REPORT, report)
    checkpoint.remove()
    return report


def content_of(images: CaptionedImages) -> str:
    """A hash of images, captions, and which belongs to which."""
    digest = hashlib.sha256(images.pixels.numpy())
    digest.update(json.dumps([images.captions, images.captions_of]).encode())
    return digest.hexdigest()
