"""Zero-shot COCO in the protocols of StyleGAN-T and GigaGAN: draws 30,000 captions of val2014 and scores the pictures.

    python eval/zero_shot_coco.py --model RUN --data data/coco_val2014 --protocol gigagan --weights clip=openai --out RUN/coco.json
    accelerate launch --num_processes 8 eval/zero_shot_coco.py ...      # the same figures
    python eval/zero_shot_coco.py --pictures 'other/*.tar' --data ...   # pictures that another system drew

Pictures and features lie beside the result, in the folder of its name, and are not made twice: a killed run goes on where it was.
Nothing is downloaded that is not asked for by name; docs/evaluation.md says which file each metric needs.
"""

import argparse
import dataclasses
import hashlib
import json
import platform
import resource
import sys
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # runs from a clone that is not installed

from t2igan.errors import UserError, run_script

METRICS = ("fid", "kid", "inception_score", "sfid", "rfid", "precision_recall", "fdd", "cmmd", "clip_score", "r_precision")
RANDOM_SEED = 0
OURS = {"plan.json", ".plan.json", "pictures", "features"}  # what the folder beside a result may hold
WEIGHTED = ("inception", "vgg16", "dinov2", "clip", "clip_336")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--model", type=Path, help="run folder")
    source.add_argument("--pictures", help="shards of pictures drawn elsewhere, each with its caption")
    parser.add_argument("--data", type=Path, required=True, help="reference made by data_prep/coco.py")
    parser.add_argument("--protocol", required=True, choices=("stylegan_t", "gigagan"))
    parser.add_argument("--extractor", choices=("torch_fidelity", "clean_fid"), help="how pictures come to Inception, if not as published")
    parser.add_argument("--metrics", nargs="+", default=["fid", "clip_score"], choices=METRICS, metavar="METRIC", help=", ".join(METRICS))
    parser.add_argument(
        "--weights", nargs="+", default=[], metavar="NETWORK=WHAT", help=f"file, local-dir:FOLDER or tag for {', '.join(WEIGHTED)}"
    )
    parser.add_argument("--captions", type=Path, help="a recorded list, one caption per line, in place of drawn ones")
    parser.add_argument("--count", type=int, help="pictures (published: 30000)")
    parser.add_argument("--seed", type=int, help="of the captions and the latents (default: 0)")
    parser.add_argument("--truncation", type=float, help="(published: 1)")
    parser.add_argument("--batch", type=int, help="pictures drawn at a time, 50 at most (default: 25)")
    parser.add_argument("--force", action="store_true", help="compute distances of fewer pictures than features have dimensions")
    parser.add_argument("--out", type=Path, required=True, help="result.json to write")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    arguments = parser.parse_args()

    from t2igan.metrics.chunks import distributed_state

    state = distributed_state()
    try:
        result = Evaluation(arguments, state).run()
    except UserError:
        if state.is_main_process:
            raise
        raise SystemExit(2) from None  # one process says it
    if state.is_main_process:
        arguments.out.write_text(json.dumps(result, indent=2) + "\n")
        print(table(result))
    state.destroy_process_group()


class Evaluation:
    """One model or set of pictures, one reference, one protocol."""

    def __init__(self, arguments: argparse.Namespace, state):
        from t2igan.metrics.chunks import SIZE
        from t2igan.metrics.measures import MEASURES
        from t2igan.metrics.protocol import PROTOCOLS

        self.arguments, self.state = arguments, state
        for option, default in (("captions", None), ("seed", 0), ("truncation", 1.0), ("batch", 25)):
            if arguments.pictures and getattr(arguments, option) is not None:
                raise UserError(f"--{option} is for pictures that are drawn; --pictures are there, with their captions")
            if getattr(arguments, option) is None:
                setattr(arguments, option, default)
        self.protocol = PROTOCOLS[arguments.protocol].with_extractor(arguments.extractor)
        if (arguments.count is not None and arguments.count < 2) or not 1 <= arguments.batch <= SIZE:
            raise UserError(
                f"--count {arguments.count} and --batch {arguments.batch}: needs 2 pictures or more, drawn 1 to {SIZE} at a time"
            )
        self.weights = read_weight_arguments(arguments.weights)
        self.reference, self.content = read_reference(arguments.data)
        self.work = arguments.out.with_suffix("")
        if self.work == arguments.out:
            raise UserError(f"--out is {arguments.out}, needs a name that ends in .json")
        if self.work.exists() and not (self.work.is_dir() and {path.name for path in self.work.iterdir()} <= OURS):
            raise UserError(f"pictures for {arguments.out} go to {self.work}, which is something else; give --out another name")
        self.measures = {metric: MEASURES[metric] for metric in arguments.metrics}
        self.networks = {name: self.network(name) for name in dict.fromkeys(measure.network for measure in self.measures.values())}
        for network in self.networks.values():  # what is missing is told before an hour of drawing
            network.load_pretrained()
        self.seconds: dict[str, float] = {}
        self.made = 0  # pictures that this process drew now, not before it was killed

    def network(self, name: str):
        from t2igan.features.inception import Inception
        from t2igan.features.open_clip import ClipScorer
        from t2igan.text.cache import default_cache

        given, protocol = self.weights.get(name), self.protocol
        file = Path(given).expanduser() if given else None
        if name == "inception":
            from t2igan.metrics.protocol import EXTRACTORS

            layers = sorted({measure.layer for measure in self.measures.values() if measure.network == name})
            return Inception(EXTRACTORS[protocol.extractor], tuple(layers), file)
        if name == "random_inception":
            return Inception("tensorflow", seed=RANDOM_SEED)
        if name == "vgg16":
            from t2igan.features.vgg import Vgg16

            return Vgg16(file)
        if name == "dinov2":
            from t2igan.features.vision_transformer import VisionTransformer

            return VisionTransformer(file)
        model, tag = (protocol.clip, protocol.clip_pretrained) if name == "clip" else ("ViT-L-14-336-quickgelu", "openai")
        if given is None:
            raise UserError(
                f"{name} is {model} {tag}: say --weights {name}={tag} to have open_clip load it (and download it where it must), "
                f"{name}=FILE for weights of that model, or {name}=local-dir:FOLDER for another CLIP"
            )
        other = given.startswith(("local-dir:", "hf-hub:"))
        antialias = protocol.clip_antialias if name == "clip" else True
        return ClipScorer(given if other else model, None if other else given, default_cache(), antialias)

    # ------------------------------------------------------------------------------------------------ stages

    def run(self) -> dict:
        import torch

        from t2igan.metrics.chunks import broadcast_from_main
        from t2igan.metrics.images import ImageSet
        from t2igan.text.cache import default_cache

        for network in self.networks.values():
            network.to(self.state.device, memory_format=torch.channels_last)
        drawn, captions, model = self.given() if self.arguments.pictures else self.draw()
        stored = ImageSet(drawn, 1).stored
        side = self.protocol.side(min(stored))
        sets = {"generated": ImageSet(drawn, side), "real": ImageSet(self.reference, side)}
        features = {name: {} for name in sets}
        keep = {"generated": self.work / "features", "real": default_cache() / "reference"}  # the reference serves every later run
        for name, network in self.networks.items():
            compared = any(measure.reference for measure in self.measures.values() if measure.network == name)
            for kind, pictures in sets.items():
                if kind == "real" and not compared:
                    continue
                with self.stage(f"{name} of {kind} pictures"):
                    features[kind][name] = keep[kind] / broadcast_from_main(partial(pictures.key, network), self.state)
                    pictures.extract(network, features[kind][name], self.state, f"{name}, {kind}")
        if "clip" in self.networks:
            with self.stage("clip of captions"):
                features["generated"]["captions"] = self.embed(captions)
        if not self.state.is_main_process:
            return {}
        with self.stage("distances"):
            counts = {kind: len(pictures) for kind, pictures in sets.items()}
            metrics = {metric: self.measure(measure, features, counts) for metric, measure in self.measures.items()}
        return {"protocol": self.account(sets, captions), "model": model, "metrics": metrics, "run": self.costs()}

    @contextmanager
    def stage(self, name: str):
        start = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - start, 2)

    def check_counts(self, generated: int, real: int) -> None:
        """Refuses too few pictures before any is drawn."""
        import torch

        dot = torch.zeros(1, 3, 8, 8, dtype=torch.uint8, device=self.state.device)
        sizes = {name: {layer: x.shape[1] for layer, x in network(dot).items()} for name, network in self.networks.items()}
        for metric, measure in self.measures.items():
            fewest = min(generated, real) if measure.reference else generated
            measure.check(metric, fewest, sizes[measure.network][measure.layer], self.arguments.force)

    def draw(self):
        """(shards of generated pictures, their captions, what is known of the model)."""
        from t2igan.data.images import to_pil
        from t2igan.data.render import png_bytes
        from t2igan.data.shards import Shards
        from t2igan.data.write import Sample, write_shard
        from t2igan.inference.pipeline import Pipeline, model_folder
        from t2igan.metrics.chunks import broadcast_from_main, run_in_chunks
        from t2igan.metrics.protocol import captions_hash
        from t2igan.text.cache import default_cache

        folder = model_folder(self.arguments.model)
        pipeline = Pipeline.load(folder, self.state.device, default_cache())
        pipeline.describe.max_truncation_warnings = int(self.state.is_main_process)  # of thousands of captions that are too long, one
        requests = broadcast_from_main(self.requests, self.state)
        self.check_counts(len(requests), len(self.reference))
        digest = broadcast_from_main(partial(model_hash, folder, pipeline.describe.encoder), self.state)
        settings = {"truncation": self.arguments.truncation, "seed": self.arguments.seed}
        self.check_plan({"model": digest, "captions": captions_hash(requests), "batch size": self.arguments.batch} | settings)

        def make(piece: range, file: Path) -> None:
            part = requests[piece.start : piece.stop]
            prompts, seeds = [request.caption for request in part], [request.seed for request in part]
            images = pipeline.each(prompts, seeds, self.arguments.truncation, self.arguments.batch)
            rows = zip(piece, part, images, strict=True)
            write_shard(
                (
                    Sample(f"{number:06d}", png_bytes(to_pil(image), level=1), [request.caption], dataclasses.asdict(request))
                    for number, request, image in rows
                ),
                file,
            )

        pictures = self.work / "pictures"
        with self.stage("pictures"):
            self.made = run_in_chunks(len(requests), lambda number: pictures / f"{number:05d}.tar", make, self.state, "drawing")
        drawn = Shards(str(pictures))
        if len(drawn) != len(requests):
            raise UserError(f"{pictures} holds {len(drawn)} pictures, not {len(requests)}; remove {self.work}")
        parameters = sum(p.numel() for p in pipeline.generator.parameters())
        model = {"sha256": digest, "resolution": pipeline.resolution, "parameters": parameters} | settings
        return drawn, [request.caption for request in requests], model

    def requests(self) -> list:
        from t2igan.metrics.protocol import draw_requests, given_requests

        arguments = self.arguments
        if arguments.captions:
            if not arguments.captions.is_file():
                raise UserError(f"no list of captions at {arguments.captions}")
            try:
                lines = arguments.captions.read_text(encoding="utf-8").removesuffix("\n").split("\n")
            except UnicodeDecodeError:
                raise UserError(f"{arguments.captions} is not UTF-8 text; save it as UTF-8") from None
            lines = lines if lines != [""] else []
            if lines and (arguments.count or 0) > len(lines):
                raise UserError(f"--count is {arguments.count}, {arguments.captions} has {len(lines)} captions")
            return given_requests(lines[: arguments.count], arguments.seed)
        captions = [record.captions for record in records(self.reference)]
        return draw_requests(captions, self.protocol, arguments.count or self.protocol.pictures, arguments.seed)

    def check_plan(self, plan: dict) -> None:
        """What lies in the work folder belongs to this model and these captions, or nothing is touched."""
        file = self.work / "plan.json"
        if self.state.is_main_process and not file.is_file():
            self.work.mkdir(parents=True, exist_ok=True)
            temporary = file.with_name(".plan.json")
            temporary.write_text(json.dumps(plan, indent=2) + "\n")
            temporary.replace(file)
        self.state.wait_for_everyone()
        found = json.loads(file.read_text())
        other = [name for name in plan if found.get(name) != plan[name]]
        if other:
            raise UserError(f"{self.work} holds pictures of another {other[0]}; give another --out, or remove that folder")

    def given(self):
        from t2igan.data.shards import Shards

        shards = Shards(self.arguments.pictures)
        if self.arguments.count not in (None, len(shards)):
            raise UserError(f"--count {self.arguments.count}, but {self.arguments.pictures} holds {len(shards)} pictures")
        self.check_counts(len(shards), len(self.reference))
        return shards, [record.captions[0] for record in records(shards)], {"pictures": self.arguments.pictures}

    def embed(self, captions: list[str]) -> Path:
        """Caption embeddings by CLIP, as the protocol words them."""
        from t2igan.metrics.chunks import feature_file, run_in_chunks, write_features

        clip, prompts = self.networks["clip"], [self.protocol.prompt(caption) for caption in captions]
        folder = self.work / "features" / hashlib.sha256("\n".join([*prompts, clip.fingerprint()]).encode()).hexdigest()[:24]

        def make(piece: range, file: Path) -> None:
            write_features({"embedding": clip.text(prompts[piece.start : piece.stop])}, file)

        run_in_chunks(len(prompts), lambda number: feature_file(folder, number), make, self.state, "captions")
        return folder

    # ------------------------------------------------------------------------------------------------ figures

    def measure(self, measure, features: dict, counts: dict[str, int]) -> dict:
        """{"value", perhaps more} and the account of the network."""
        from t2igan.metrics.chunks import read_features

        def read(which: str):
            kind, name = ("generated", "captions") if which == "captions" else (which, measure.network)
            return read_features(features[kind][name], measure.layer, counts[kind])

        account = self.networks[measure.network].provenance()
        return measure.compute(read) | {"network": account | {"layer": measure.layer}}

    def account(self, sets: dict, captions: list[str]) -> dict:
        """Every field that must agree for two results to be compared."""
        side = sets["generated"].side
        return {
            "name": self.protocol.name,
            "extractor": self.protocol.extractor,
            "pictures": len(sets["generated"]),
            "side": side,
            "crop": "centre, to the short side",
            "reduction": "Pillow Lanczos",
            "format": sets["generated"].format,
            "captions_sha256": hashlib.sha256("\n".join(captions).encode()).hexdigest(),
            "clip_prefix": self.protocol.clip_prefix,
            "reference": {"pictures": len(sets["real"]), "content_sha256": self.content},
        }

    def costs(self) -> dict:
        """Of this start of the main process: what was there already cost nothing."""
        import torch

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2 ** (30 if sys.platform == "darwin" else 20)
        gpu = torch.cuda.max_memory_allocated() / 2**30 if torch.cuda.is_available() else None
        versions = {"python": platform.python_version(), "torch": torch.__version__}
        return {
            "seconds": self.seconds,
            "pictures_drawn": self.made,
            "pictures_drawn_per_second": round(self.made / self.seconds["pictures"], 1) if self.made else None,
            "peak_memory_gib": round(peak, 2),
            "peak_gpu_memory_gib": gpu and round(gpu, 2),
            "processes": self.state.num_processes,
            "versions": versions,
        }


def read_reference(folder: Path):
    """(shards, hash of pixels and captions as data_prep/coco.py has reported it, the same wherever the reference was made)."""
    from t2igan.data.shards import Shards

    try:
        report = json.loads((folder / "report.json").read_text())
        content, pictures = report["content_sha256"], report["pictures"]
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(f"{folder} is no reference; data_prep/coco.py makes one from val2014") from None
    shards = Shards(str(folder))
    if len(shards) != pictures:
        raise UserError(f"{folder} holds {len(shards)} of the {pictures} pictures that its report names; copy it again")
    return shards, content


def model_hash(folder: Path, encoder) -> str:
    """Of everything that a picture depends on beside prompt and seed: generator, its configuration, and text tower."""
    digest = hashlib.sha256(encoder.fingerprint().encode())
    for name in ("config.json", "model.safetensors"):
        with open(folder / name, "rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def records(shards):
    """Every record. Raises UserError where one is broken."""
    for number in range(len(shards)):
        try:
            yield shards.read(number)
        except (OSError, ValueError) as error:
            raise UserError(f"sample {number} of {shards.files[0].parent} is broken ({error}); make the shards again") from None


def read_weight_arguments(given: list[str]) -> dict[str, str]:
    """`inception=FILE` and so on. Raises UserError for a name that no metric knows."""
    weights = dict(text.partition("=")[::2] for text in given)
    for name, value in weights.items():
        if name not in WEIGHTED or not value:
            raise UserError(f"--weights {name}={value}: needs NETWORK=WHAT with a network of {', '.join(WEIGHTED)}")
    return weights


def table(result: dict) -> str:
    protocol, run = result["protocol"], result["run"]
    lines = [f"{protocol['name']} with {protocol['extractor']}: {protocol['pictures']} pictures at {protocol['side']} px"]
    lines[0] += f" against {protocol['reference']['pictures']} real ones"
    for metric, found in result["metrics"].items():
        more = ", ".join(f"{name} {value:.4g}" for name, value in found.items() if name not in ("value", "network"))
        lines.append(f"{metric.replace('_', ' '):18} {found['value']:10.4f}   {more}".rstrip())
    drawn = f"{run['pictures_drawn']} pictures drawn at {run['pictures_drawn_per_second']}/s, " if run["pictures_drawn"] else ""
    lines.append(f"{drawn}{sum(run['seconds'].values()):.0f} s in all, {run['peak_memory_gib']} GiB at most")
    return "\n".join(lines)


if __name__ == "__main__":
    run_script(main)
