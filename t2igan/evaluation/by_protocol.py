"""Images and a reference to a result by a published protocol, with everything that its numbers depend on.

Images and features are kept in a folder beside the result and are not made twice, so an interrupted evaluation resumes.
"""

import hashlib
import platform
import resource
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from t2igan.errors import UserError
from t2igan.evaluation.networks import build_networks
from t2igan.evaluation.reference import Reference
from t2igan.evaluation.sampling import GeneratedImages, Images, StoredImages
from t2igan.features.base import FeatureNetwork
from t2igan.features.open_clip import ClipScorer
from t2igan.files import is_partial
from t2igan.metrics.chunks import DistributedState, broadcast_from_main, feature_file, read_features, run_in_chunks, write_features
from t2igan.metrics.images import ImageSet
from t2igan.metrics.metric import METRICS, Metric
from t2igan.metrics.protocol import Protocol
from t2igan.text.cache import default_cache

OURS = {"plan.json", "pictures", "features"}  # what the folder beside a result may hold


@dataclass(frozen=True)
class Settings:
    """What to compute, and from what."""

    source: GeneratedImages | StoredImages
    reference: Reference
    protocol: Protocol
    out: Path  # result.json; images and features go to the folder of the same name beside it
    metrics: tuple[str, ...] = ("fid", "clip_score")
    weights: Mapping[str, str] = field(default_factory=dict)  # network to weight file, tag or folder
    count: int | None = None  # images; None takes the number that the protocol or the source gives
    force: bool = False  # compute distances of fewer images than features have dimensions

    def __post_init__(self):
        if self.count is not None and self.count < 2:
            raise UserError(f"--count is {self.count}, needs 2 images or more")
        if self.work == self.out:
            raise UserError(f"--out is {self.out}, needs a name that ends in .json")

    @property
    def work(self) -> Path:
        """The folder beside the result."""
        return self.out.with_suffix("")


class Evaluation:
    """One evaluation, in all processes that share it."""

    def __init__(self, settings: Settings, state: DistributedState):
        self.settings, self.state, self.protocol = settings, state, settings.protocol
        self.metrics = {name: METRICS[name] for name in settings.metrics}
        self.networks = build_networks(self.metrics, self.protocol, settings.weights)
        self.seconds: dict[str, float] = {}

    def run(self) -> dict:
        """`{"protocol", "model", "metrics", "run"}` in the main process, `{}` in the others.

        Raises:
            UserError: something that the evaluation reads is missing, broken or contradictory. Only a broken image or a folder of another
                model can show that later than the first minutes.
        """
        self.check_work_folder()
        reference = self.settings.reference
        self.load_networks()
        source = self.settings.source.build(reference, self.protocol, self.settings.count, self.state)
        self.check_counts(len(source.captions), len(reference.shards))
        if "clip" in self.networks and not all(source.captions):
            name = next(name for name, metric in self.metrics.items() if metric.network == "clip")
            raise UserError(f"{name} compares images with their captions, and some have none; leave it out")
        sets = self.image_sets(source, reference)
        features = self.extract(sets)
        if "clip" in self.networks:
            with self.stage("clip of captions"):
                features["captions"] = self.embed_captions(self.networks["clip"], source.captions)
        if not self.state.is_main_process:
            return {}
        with self.stage("distances"):
            metrics = {name: self.compute(metric, features, sets) for name, metric in self.metrics.items()}
        protocol = self.describe_protocol(sets, source.captions, reference)
        return {"protocol": protocol, "model": source.facts, "metrics": metrics, "run": self.costs(source.generated)}

    # ------------------------------------------------------------------------------------------------ before any image

    def check_work_folder(self) -> None:
        work = self.settings.work
        if work.exists() and not (work.is_dir() and {path.name for path in work.iterdir() if not is_partial(path)} <= OURS):
            raise UserError(f"images for {self.settings.out} go to {work}, which is something else; give --out another name")

    def load_networks(self) -> None:
        """Reads all weights first, so that a missing file is reported before hours of sampling."""
        for network in self.networks.values():
            network.load_pretrained()
        for network in self.networks.values():
            network.to(self.state.device, memory_format=torch.channels_last)

    def check_counts(self, generated: int, real: int) -> None:
        """Raises UserError where a metric needs more images."""
        dot = torch.zeros(1, 3, 8, 8, device=self.state.device)
        dimensions = {name: {layer: x.shape[1] for layer, x in network(dot).items()} for name, network in self.networks.items()}
        for name, metric in self.metrics.items():
            images = min(generated, real) if metric.reference else generated
            metric.check(name, images, dimensions[metric.network][metric.layer], self.settings.force)

    # ------------------------------------------------------------------------------------------------ images and features

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Records the seconds of a part of the evaluation."""
        start = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - start, 2)

    def image_sets(self, source: Images, reference: Reference) -> dict[str, ImageSet]:
        """Generated and real images, at the size at which the protocol compares them."""
        generated = source.images(self.settings.work, self.stage)
        side = self.protocol.side(min(ImageSet(generated, 1).stored))
        return {"generated": ImageSet(generated, side), "real": ImageSet(reference.shards, side)}

    def extract(self, sets: dict[str, ImageSet]) -> dict[tuple[str, str] | str, Path]:
        """The features of each (network, set) that a metric reads, to the folder that holds them."""
        caches = {"generated": self.settings.work / "features", "real": default_cache() / "reference"}  # later runs share the reference's
        folders = {}
        for name, network in self.networks.items():
            compared = any(metric.reference for metric in self.metrics.values() if metric.network == name)
            for kind, images in sets.items():
                if kind == "real" and not compared:
                    continue
                with self.stage(f"{name} of {kind} pictures"):
                    folder = caches[kind] / broadcast_from_main(partial(images.key, network), self.state)
                    images.extract(network, folder, self.state, f"{name}, {kind}")
                    folders[name, kind] = folder
        return folders

    def embed_captions(self, clip: ClipScorer, captions: list[str]) -> Path:
        """Embeddings of the captions, with the protocol's prefix, to the folder that holds them."""
        prompts = [self.protocol.prompt(caption) for caption in captions]
        key = hashlib.sha256("\n".join([*prompts, clip.fingerprint()]).encode()).hexdigest()[:24]
        folder = self.settings.work / "features" / key

        def make(chunk: range, file: Path) -> None:
            write_features({"embedding": clip.text(prompts[chunk.start : chunk.stop])}, file)

        run_in_chunks(len(prompts), partial(feature_file, folder), make, self.state, "captions")
        return folder

    # ------------------------------------------------------------------------------------------------ the result

    def compute(self, metric: Metric, features: dict[tuple[str, str] | str, Path], sets: dict[str, ImageSet]) -> dict:
        """`{"value"}`, for some metrics further numbers, and everything that decides the features."""

        def read(kind: str) -> Iterator[Tensor]:
            if kind == "captions":
                return read_features(features["captions"], metric.layer, len(sets["generated"]))
            return read_features(features[metric.network, kind], metric.layer, len(sets[kind]))

        network: FeatureNetwork = self.networks[metric.network]
        return metric.compute(read) | {"network": network.provenance() | {"layer": metric.layer}}

    def describe_protocol(self, sets: dict[str, ImageSet], captions: list[str], reference: Reference) -> dict:
        """Every field in which two results must agree to be compared."""
        return {
            "name": self.protocol.name,
            "extractor": self.protocol.extractor,
            "pictures": len(sets["generated"]),
            "side": sets["generated"].side,
            "crop": "centre, to the short side",
            "reduction": "Pillow Lanczos",
            "format": sets["generated"].format,
            "captions_sha256": hashlib.sha256("\n".join(captions).encode()).hexdigest(),
            "clip_prefix": self.protocol.clip_prefix,
            "reference": {"pictures": len(sets["real"]), "content_sha256": reference.content},
        }

    def costs(self, generated: int) -> dict:
        """Of the main process since it started: what an earlier run had made costs nothing here."""
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2 ** (30 if sys.platform == "darwin" else 20)
        gpu = torch.cuda.max_memory_allocated() / 2**30 if torch.cuda.is_available() else None
        return {
            "seconds": self.seconds,
            "pictures_drawn": generated,
            "pictures_drawn_per_second": round(generated / self.seconds["pictures"], 1) if generated else None,
            "peak_memory_gib": round(peak, 2),
            "peak_gpu_memory_gib": gpu and round(gpu, 2),
            "processes": self.state.num_processes,
            "versions": {"python": platform.python_version(), "torch": torch.__version__},
        }


def table(result: dict) -> str:
    protocol, run = result["protocol"], result["run"]
    lines = [f"{protocol['name']} with {protocol['extractor']}: {protocol['pictures']} images at {protocol['side']} px"]
    lines[0] += f" against {protocol['reference']['pictures']} real ones"
    for metric, found in result["metrics"].items():
        further = ", ".join(f"{name} {value:.4g}" for name, value in found.items() if name not in ("value", "network"))
        lines.append(f"{metric.replace('_', ' '):18} {found['value']:10.4f}   {further}".rstrip())
    generated = f"{run['pictures_drawn']} images generated at {run['pictures_drawn_per_second']}/s, " if run["pictures_drawn"] else ""
    lines.append(f"{generated}{sum(run['seconds'].values()):.0f} s in all, {run['peak_memory_gib']} GiB at most")
    return "\n".join(lines)
