"""Seconds, FLOPs and memory per picture, by batch size and model, with the text tower and without, beside a diffusers pipeline.

    python eval/speed.py --model runs/demo --batches 1 8 32
    python eval/speed.py --recipe configs/emoji_32.yaml configs/emoji_64.yaml --beside sd_turbo --steps 1 --out speed.json

Speed depends on sizes, not on weights: --recipe builds recipes with random ones, at their resolutions, and --beside takes the folder of a
diffusers pipeline with one text tower (Stable Diffusion and its distillations) of which only the configuration files are there
(model_index.json and a config.json for each part; `pip install t2igan[compare]`). All are timed alternately in one process; a figure is
the median of the rounds. Float32 is float32: TF32 is off.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # runs from a clone that is not installed

from t2igan.errors import UserError, run_script
from t2igan.memory import hand_back_freed_memory

PROMPT = "a red apple on a wooden table"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--model", type=Path, help="run folder")
    source.add_argument("--recipe", nargs="+", help="YAML files, built with random weights")
    parser.add_argument("--beside", type=Path, help="folder of a diffusers pipeline, configuration files only")
    parser.add_argument("--steps", type=int, default=1, help="denoising steps of that pipeline (default: %(default)s)")
    parser.add_argument("--guidance", type=float, default=0.0, help="its guidance scale; above 1 doubles its work (default: none)")
    parser.add_argument("--batches", type=int, nargs="+", default=[1], help="pictures at a time (default: 1)")
    parser.add_argument("--rounds", type=int, default=5, help="times each is timed, after one to warm up (default: %(default)s)")
    parser.add_argument("--bf16", action="store_true", help="autocast to bf16")
    parser.add_argument("--out", type=Path, help="result.json to write")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    arguments = parser.parse_args()
    if min(*arguments.batches, arguments.rounds, arguments.steps) < 1:
        raise UserError("--batches, --rounds and --steps need whole numbers above 0")
    result = measure(arguments)
    print(table(result))
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(json.dumps(result, indent=2) + "\n")


@dataclass(frozen=True)
class System:
    """Something that draws `batch` pictures; `parameters` of everything that works for it, `weights_gib` of their bytes."""

    name: str
    resolution: int
    parameters: int
    weights_gib: float
    draw: Callable[[int], None]


@dataclass(frozen=True)
class Row:
    """Figures of one system at one batch size; per picture, but for memory."""

    system: str
    resolution: int
    batch: int
    seconds: float
    gflops: float
    memory_gib: float | None  # weights, and what a call holds beside them at most
    parameters: int


def measure(arguments: argparse.Namespace) -> dict:
    import torch

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    loaded = [load_run(arguments.model)] if arguments.model else [load_recipes_model(recipe) for recipe in arguments.recipe]
    systems = [system for parts in loaded for system in our_systems(*parts, device)]
    if arguments.beside:
        systems.append(diffusers_system(arguments.beside, arguments.steps, arguments.guidance, device))
    rows, times = [], {}
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=arguments.bf16):
        for batch in arguments.batches:
            for round in range(arguments.rounds + 1):
                for system in systems:
                    seconds = timed(lambda system=system, batch=batch: system.draw(batch), device)
                    if round:  # the first one warms up
                        times.setdefault((system.name, batch), []).append(seconds)
            for system in systems:
                seconds = statistics.median(times[system.name, batch]) / batch
                gflops, beside = counted(system, batch), held(system, batch, device)
                memory = None if beside is None else system.weights_gib + beside
                rows.append(Row(system.name, system.resolution, batch, seconds, gflops, memory, system.parameters))
    threads = torch.get_num_threads()
    where = torch.cuda.get_device_name() if device.type == "cuda" else f"cpu, {threads} thread{'s' * (threads > 1)}"
    return {"device": where, "precision": "bf16" if arguments.bf16 else "fp32", "rows": [asdict(row) for row in rows]}


def timed(draw: Callable[[], None], device) -> float:
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    draw()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def counted(system: System, batch: int) -> float:
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:  # the counter does not know every fused attention
        system.draw(batch)
    return counter.get_total_flops() / batch / 1e9


def held(system: System, batch: int, device) -> float | None:
    """GiB that a call holds at most beside what was there before it; None where the machine does not tell."""
    import torch

    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        system.draw(batch)
        return (torch.cuda.max_memory_allocated() - before) / 2**30
    reset = Path("/proc/self/clear_refs")
    if not reset.exists():  # no Linux
        return None
    hand_back_freed_memory()
    reset.write_text("5")  # the peak starts again from what is resident now
    before = resident("VmHWM")
    system.draw(batch)
    return max(resident("VmHWM") - before, 0) / 2**20


def resident(field: str) -> int:
    """KiB, from Linux's account of this process."""
    return next(int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field))


def size(*modules) -> tuple[int, float]:
    """(parameters, GiB of them and of buffers)."""
    parameters = [p for module in modules for p in module.parameters()]
    held = parameters + [b for module in modules for b in module.buffers()]
    return sum(p.numel() for p in parameters), sum(t.nbytes for t in held) / 2**30


def our_systems(generator, encoder, name: str, resolution: int, device) -> list[System]:
    """The generator alone, on a prompt that is already encoded, and with the text tower before it."""
    import torch

    from t2igan.layers.folded import fold

    generator = fold(generator.to(device, memory_format=torch.channels_last).eval().requires_grad_(False))
    encoder.to(device)
    tokens = encoder.tokenize([PROMPT]).to(device)
    text = encoder(tokens)

    def latents(batch: int):
        return torch.zeros(batch, generator.mapper.z_dim, device=device)

    def alone(batch: int) -> None:
        generator(latents(batch), text.repeat(batch))

    def whole(batch: int) -> None:
        generator(latents(batch), encoder(tokens[torch.zeros(batch, dtype=torch.long, device=device)]))

    return [
        System(f"{name}, text given", resolution, *size(generator), alone),
        System(f"{name} with text tower", resolution, *size(generator, encoder), whole),
    ]


def load_run(folder: Path):
    """(generator, text encoder, name, resolution) of a run."""
    from t2igan.inference.pipeline import Pipeline, model_folder, read_config

    pipeline = Pipeline.load(folder)
    return pipeline.generator, pipeline.describe.encoder, read_config(model_folder(folder)).name, pipeline.resolution


def load_recipes_model(path: str):
    """The same of a recipe, with random weights."""
    from t2igan.config import load_recipe
    from t2igan.system import build_generator

    recipe = load_recipe(path)
    encoder = recipe.text.build()
    encoder.load_pretrained()
    return build_generator(recipe.generator, encoder.token_dim, encoder.text_dim), encoder, recipe.name, recipe.resolution


def diffusers_system(folder: Path, steps: int, guidance: float, device) -> System:
    """A pipeline of diffusers with random weights, text tower and decoder included.

    Raises:
        UserError: diffusers is not installed, no pipeline there, or one that does not take a prompt by its embedding.
    """
    import inspect

    import torch

    pipeline = build_pipeline(folder).to(device)
    pipeline.set_progress_bar_config(disable=True)
    accepted = inspect.signature(pipeline.__call__).parameters
    encoder = getattr(pipeline, "text_encoder", None)
    needed = {"prompt_embeds", "num_inference_steps", "guidance_scale", "output_type"}
    more = {"pooled_prompt_embeds", "prompt_attention_mask"} & set(accepted) | {
        n for n in pipeline.components if n.startswith("text_encoder_")
    }
    if not needed <= set(accepted) or more or not hasattr(getattr(encoder, "config", None), "max_position_embeddings"):
        raise UserError(
            f"{folder} is a {type(pipeline).__name__}; only pipelines with one CLIP text tower, such as Stable Diffusion's, are timed"
        )
    ids = torch.zeros(1, encoder.config.max_position_embeddings, dtype=torch.long, device=device)

    def draw(batch: int) -> None:
        embeddings = encoder(ids.repeat(batch, 1))[0]
        negative = {"negative_prompt_embeds": encoder(ids.repeat(batch, 1))[0]} if guidance > 1 else {}
        pipeline(prompt_embeds=embeddings, num_inference_steps=steps, guidance_scale=guidance, output_type="pt", **negative)

    modules = [part for part in pipeline.components.values() if isinstance(part, torch.nn.Module)]
    side = pipeline.unet.config.sample_size * pipeline.vae_scale_factor if hasattr(pipeline, "unet") else 0
    name = f"{type(pipeline).__name__}, {steps} step{'s' * (steps > 1)}"
    return System(name, side, *size(*modules), draw)


def build_pipeline(folder: Path):
    """Every part from its configuration, with random weights; what reads or judges text and pictures stays out."""
    try:
        import diffusers
    except ImportError:
        raise UserError("--beside needs diffusers: pip install 't2igan[compare]'") from None
    import transformers

    diffusers.logging.set_verbosity_error()  # its advice is for pictures, and none is looked at here
    index = folder / "model_index.json"
    if not index.is_file():
        raise UserError(f"{folder} is no diffusers pipeline (no model_index.json); give the folder of one, weights are not needed")
    described = json.loads(index.read_text())
    parts = {}
    for name, value in described.items():
        if not isinstance(value, list):
            continue
        library, kind = value
        found = getattr({"diffusers": diffusers, "transformers": transformers}.get(library), kind or "", None)
        if found is None or name in ("tokenizer", "feature_extractor", "safety_checker", "image_encoder"):
            parts[name] = None
        elif library == "transformers":
            parts[name] = found(found.config_class.from_pretrained(folder / name)).eval()
        else:
            parts[name] = found.from_config(found.load_config(folder / name))
            if hasattr(parts[name], "eval"):
                parts[name].eval()
    options = {name: value for name, value in described.items() if name == "requires_safety_checker"}
    return getattr(diffusers, described["_class_name"])(**parts, **options)


def table(result: dict) -> str:
    width = max(len(row["system"]) for row in result["rows"])
    lines = [f"{result['device']}, {result['precision']}; per picture, memory in all"]
    lines.append(f"{'':{width}} {'px':>5} {'batch':>5} {'seconds':>9} {'GFLOP':>10} {'GFLOP/s':>8} {'GiB':>6} {'parameters':>13}")
    for row in result["rows"]:
        rate = row["gflops"] / row["seconds"]
        memory = "" if row["memory_gib"] is None else f"{row['memory_gib']:.2f}"
        figures = f"{row['seconds']:9.4f} {row['gflops']:10.2f} {rate:8.0f} {memory:>6} {row['parameters']:13,}"
        lines.append(f"{row['system']:{width}} {row['resolution'] or '':>5} {row['batch']:>5} {figures}")
    return "\n".join(lines)


if __name__ == "__main__":
    run_script(main)
