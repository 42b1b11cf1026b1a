"""The two sources of images for an evaluation: a model that generates them, or shards that another system filled.

Each source is a configuration; `build` gives an object with `captions`, `facts` (what the result records about the model) and
`images(folder, stage)`, the shards of the images.
"""

import dataclasses
import hashlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol as Interface
from typing import runtime_checkable

from t2igan.data.images import png_bytes, to_pil
from t2igan.data.shards import Shards
from t2igan.data.write import Sample, write_shard
from t2igan.errors import UserError
from t2igan.evaluation.reference import Reference, read_captions_of, read_records
from t2igan.files import write_json
from t2igan.inference.pipeline import NO_PROMPT, Pipeline, model_folder
from t2igan.metrics.chunks import CHUNK_SIZE, DistributedState, broadcast_from_main, run_in_chunks
from t2igan.metrics.protocol import Protocol, SampleRequest, captions_hash, given_requests, sample_requests
from t2igan.plain_text import read_json, read_text
from t2igan.text.cache import default_cache
from t2igan.text.encoder import TextEncoder

Stage = Callable[[str], AbstractContextManager]  # times a named part of the evaluation


@runtime_checkable
class Images(Interface):
    """What a source becomes."""

    captions: list[str]
    facts: dict[str, object]
    generated: int  # images that this process generated since it started

    def images(self, work: Path, stage: Stage) -> Shards: ...


@dataclass(frozen=True)
class GeneratedImages:
    """Images that a model generates, for captions of the reference unless a list is given."""

    model: Path  # run folder
    captions: Path | None = None  # file with one caption per line
    seed: int = 0  # of the captions and the latents
    truncation: float = 1.0
    batch: int = 25  # images at a time

    def __post_init__(self):
        if not 1 <= self.batch <= CHUNK_SIZE:
            raise UserError(f"--batch is {self.batch}; images are generated 1 to {CHUNK_SIZE} at a time")

    def build(self, reference: Reference, protocol: Protocol, count: int | None, state: DistributedState) -> "Sampler":
        """Loads the model. Raises UserError where model or captions are missing, or do not suit `count`."""
        folder = model_folder(self.model)
        pipeline = Pipeline.load(folder, state.device, default_cache())
        pipeline.encode_text.max_truncation_warnings = int(state.is_main_process)  # one warning for thousands of long captions
        requests = broadcast_from_main(partial(self.requests, reference, protocol, count, pipeline.conditional), state)
        digest = broadcast_from_main(partial(model_hash, folder, pipeline.encode_text.encoder), state)
        return Sampler(self, pipeline, requests, digest, state)

    def requests(self, reference: Reference, protocol: Protocol, count: int | None, conditional: bool) -> list[SampleRequest]:
        """What to generate; a model that is not conditional takes no prompt."""
        if self.captions:
            lines = read_captions(self.captions)
            if lines and (count or 0) > len(lines):
                raise UserError(f"--count is {count}, {self.captions} has {len(lines)} captions")
            return given_requests(lines[:count], self.seed)
        captions = read_captions_of(reference.shards) if conditional else [[NO_PROMPT]]
        return sample_requests(captions, protocol, count or protocol.images, self.seed)


class Sampler:
    """A loaded model and its requests. All processes share the work; an interrupted run resumes."""

    def __init__(self, source: GeneratedImages, pipeline: Pipeline, requests: list[SampleRequest], digest: str, state: DistributedState):
        self.source, self.pipeline, self.requests, self.state = source, pipeline, requests, state
        self.captions = [request.caption for request in requests]
        self.digest = digest
        self.settings = {"truncation": source.truncation, "seed": source.seed}
        self.generated = 0

    @property
    def facts(self) -> dict[str, object]:
        parameters = sum(p.numel() for p in self.pipeline.generator.parameters())
        return {"sha256": self.digest, "resolution": self.pipeline.resolution, "parameters": parameters} | self.settings

    def images(self, work: Path, stage: Stage) -> Shards:
        """Generates what `work` does not hold yet. Raises UserError where it holds images of another model or other settings."""
        self.check_plan(work)
        folder = work / "pictures"
        with stage("pictures"):
            files = partial(shard_file, folder)
            self.generated = run_in_chunks(len(self.requests), files, self.write_chunk, self.state, "generating")
        shards = Shards(str(folder), captioned=self.pipeline.conditional)
        if len(shards) != len(self.requests):
            raise UserError(f"{folder} holds {len(shards)} images, not {len(self.requests)}; remove {work}")
        return shards

    def check_plan(self, work: Path) -> None:
        """Records in `work` what its images depend on, or compares with what is recorded there."""
        plan = {"model": self.digest, "captions": captions_hash(self.requests), "batch size": self.source.batch} | self.settings
        file = work / "plan.json"
        if self.state.is_main_process and not file.is_file():
            write_json(file, plan)
        self.state.wait_for_everyone()
        found = read_json(file, f"remove {work}")
        other = [name for name in plan if found.get(name) != plan[name]]
        if other:
            raise UserError(f"{work} holds images of another {other[0]}; give another --out, or remove that folder")

    def write_chunk(self, chunk: range, file: Path) -> None:
        """Generates the images of a chunk and writes them to a shard, each with its caption."""
        requests = self.requests[chunk.start : chunk.stop]
        prompts, seeds = [request.caption for request in requests], [request.seed for request in requests]
        images = self.pipeline.sample_pairs(prompts, seeds, self.source.truncation, self.source.batch)
        samples = (
            Sample(f"{number:06d}", png_bytes(to_pil(image), level=1), [request.caption], dataclasses.asdict(request))
            for number, request, image in zip(chunk, requests, images, strict=True)
        )
        write_shard(samples, file)


@dataclass(frozen=True)
class StoredImages:
    """Images of shards, each with its caption."""

    shards: str

    def build(self, reference: Reference, protocol: Protocol, count: int | None, state: DistributedState) -> "StoredSet":
        """Opens the shards. Raises UserError where they do not hold `count` images."""
        shards = Shards(self.shards, captioned=False)
        if count not in (None, len(shards)):
            raise UserError(f"--count is {count}, but {self.shards} holds {len(shards)} images")
        return StoredSet(shards, {"pictures": self.shards})


class StoredSet:
    """Images that are there already."""

    generated = 0

    def __init__(self, shards: Shards, facts: dict[str, object]):
        self.shards, self.facts = shards, facts
        self.captions = [record.captions[0] for record in read_records(shards)]

    def images(self, work: Path, stage: Stage) -> Shards:
        return self.shards


def shard_file(folder: Path, number: int) -> Path:
    return folder / f"{number:05d}.tar"


def read_captions(file: Path) -> list[str]:
    """The lines of a file. Raises UserError where there is no such file, or it is not text."""
    if not file.is_file():
        raise UserError(f"no list of captions at {file}; give a file with one caption per line")
    lines = read_text(file).replace("\r\n", "\n").removesuffix("\n").split("\n")
    return lines if lines != [""] else []


def model_hash(folder: Path, encoder: TextEncoder) -> str:
    """SHA-256 of everything besides prompt and seed that decides an image: generator, its configuration, and text encoder."""
    digest = hashlib.sha256(encoder.fingerprint().encode())
    for name in ("config.json", "model.safetensors"):
        with open(folder / name, "rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
