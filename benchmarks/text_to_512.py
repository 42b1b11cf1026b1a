"""A prompt to a 512 px image: GigaGAN's base and upsampler, text tower included, beside SD-Turbo's architecture in one step.

    python benchmarks/text_to_512.py --rounds 3

All weights are random: only time and FLOPs are measured, alternating in one run, medians of ratios. SD-Turbo is Stable Diffusion 2.1's text
tower, UNet and decoder, one step without guidance, built by diffusers from the published configuration (pip install 't2igan[compare]').
"""

import argparse
import json
import os
import statistics
import tempfile
from functools import partial
from pathlib import Path

from t2igan.errors import UserError, run_script

ROOT = Path(__file__).resolve().parent.parent
PROMPT = "a photo of a red fox in the snow, early morning light"
CLIP_L_TEXT = {"context_length": 77, "vocab_size": 49408, "width": 768, "heads": 12, "layers": 12}  # of ViT-L/14
SD_TURBO = {
    "model_index.json": {
        "_class_name": "StableDiffusionPipeline", "feature_extractor": [None, None], "safety_checker": [None, None],
        "requires_safety_checker": False, "scheduler": ["diffusers", "EulerDiscreteScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"], "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"], "vae": ["diffusers", "AutoencoderKL"],
    },
    "scheduler/scheduler_config.json": {
        "_class_name": "EulerDiscreteScheduler", "beta_end": 0.012, "beta_schedule": "scaled_linear", "beta_start": 0.00085,
        "num_train_timesteps": 1000, "prediction_type": "epsilon", "timestep_spacing": "trailing",
    },
    "text_encoder/config.json": {
        "architectures": ["CLIPTextModel"], "model_type": "clip_text_model", "hidden_act": "gelu", "hidden_size": 1024,
        "intermediate_size": 4096, "max_position_embeddings": 77, "num_attention_heads": 16, "num_hidden_layers": 23,
        "projection_dim": 512, "vocab_size": 49408,
    },
    "unet/config.json": {
        "_class_name": "UNet2DConditionModel", "attention_head_dim": [5, 10, 20, 20], "block_out_channels": [320, 640, 1280, 1280],
        "cross_attention_dim": 1024, "down_block_types": ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"], "in_channels": 4,
        "layers_per_block": 2, "out_channels": 4, "sample_size": 64, "up_block_types": ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3,
        "use_linear_projection": True,
    },
    "vae/config.json": {
        "_class_name": "AutoencoderKL", "block_out_channels": [128, 256, 512, 512], "down_block_types": ["DownEncoderBlock2D"] * 4,
        "in_channels": 3, "latent_channels": 4, "layers_per_block": 2, "norm_num_groups": 32, "out_channels": 3, "sample_size": 768,
        "up_block_types": ["UpDecoderBlock2D"] * 4,
    },
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", default=str(ROOT / "configs" / "gigagan_64.yaml"), help="recipe of the base generator")
    parser.add_argument("--upsampler", default=str(ROOT / "configs" / "gigagan_upsampler_64_512.yaml"), help="recipe of the upsampler")
    parser.add_argument("--rounds", type=int, default=3, help="times each is timed, after one to warm up")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--bf16", action="store_true", help="autocast to bf16, for both")
    parser.add_argument("--compile", action="store_true", help="torch.compile for ours")
    parser.add_argument("--out", type=Path, help="result.json to write")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    arguments = parser.parse_args()
    if min(arguments.rounds, arguments.threads) < 1:
        raise UserError("--rounds and --threads need whole numbers above 0")
    result = measure(arguments)
    print(table(result))
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(json.dumps(result, indent=2) + "\n")


def measure(arguments: argparse.Namespace) -> dict:
    """`{"device", "precision", "rows", "ratio", "seconds_of_parts"}`; the ratio is SD-Turbo's seconds over ours."""
    import torch

    from t2igan.evaluation.diffusion import diffusion_model
    from t2igan.evaluation.speed import count_gflops, timed
    from t2igan.inference.device import default_device

    torch.manual_seed(0)
    torch.set_num_threads(arguments.threads)
    device = default_device()
    with tempfile.TemporaryDirectory() as folder:
        ours, parts = our_model(arguments, Path(folder) / "clip", device)
        for name, content in SD_TURBO.items():
            path = Path(folder) / "sd_turbo" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(content))
        theirs = diffusion_model(Path(folder) / "sd_turbo", 1, 0.0, device)
    models = (ours, theirs)
    seconds: dict[str, list[float]] = {model.name: [] for model in models}
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=arguments.bf16):
        for number in range(arguments.rounds + 1):
            for model in models:
                took = timed(partial(model.generate, 1), device)
                if number:  # the first one warms up
                    seconds[model.name].append(took)
        medians = {name: statistics.median(values) for name, values in seconds.items()}
        rows = [{"system": m.name, "seconds": medians[m.name], "gflop": count_gflops(m, 1), "parameters": m.parameters} for m in models]
        shares = {name: statistics.median(timed(part, device) for _ in range(arguments.rounds)) for name, part in parts.items()}
    ratio = statistics.median(b / a for a, b in zip(seconds[ours.name], seconds[theirs.name], strict=True))
    where = torch.cuda.get_device_name() if device.type == "cuda" else f"cpu, {arguments.threads} thread(s) of {os.cpu_count()} cores"
    how = ("bf16" if arguments.bf16 else "fp32") + (", ours compiled" if arguments.compile else "")
    return {"device": where, "precision": how, "rows": rows, "ratio": ratio, "seconds_of_parts": shares}


def our_model(arguments: argparse.Namespace, clip: Path, device):
    """(prompt to 512 px, its parts by name).

    Raises:
        UserError: the upsampler does not take what the base makes.
    """
    import torch

    from t2igan.evaluation.speed import TimedModel, size_of
    from t2igan.layers.folded import fold
    from t2igan.recipe import load_recipe
    from t2igan.system import build_generator
    from t2igan.types import TextDims

    write_clip(clip)
    overrides = [f"text.model=local-dir:{clip}", "text.pretrained=null"]
    base, upsampler = (load_recipe(path, overrides) for path in (arguments.base, arguments.upsampler))
    taken = upsampler.generator.synthesis.input_resolution(upsampler.resolution)
    if base.resolution != taken:
        needed = "takes no image" if taken is None else f"takes {taken} px"
        raise UserError(f"--upsampler {arguments.upsampler} {needed}, and --base makes {base.resolution} px; choose a pair that fits")
    encoder = base.text.build()
    encoder.load_pretrained()
    encoder.to(device)
    text_dims = TextDims(encoder.token_dim, encoder.text_dim, base.text)

    def built(recipe):
        generator = build_generator(recipe.generator, recipe.resolution, text_dims)
        return fold(generator.to(device, memory_format=torch.channels_last).eval().requires_grad_(False))

    G, U = built(base), built(upsampler)
    run_g, run_u = (torch.compile(x) if arguments.compile else x for x in (G, U))
    tokens = encoder.tokenize([PROMPT]).to(device)
    z, low_res = (torch.zeros(1, G.mapper.z_dim, device=device), torch.zeros(1, 3, base.resolution, base.resolution, device=device))
    text = encoder(tokens)

    def generate(batch: int) -> None:
        encoded = encoder(tokens)
        run_u(z, encoded, condition=run_g(z, encoded).pyramid.finest)

    parts = {"text": lambda: encoder(tokens), "base": lambda: run_g(z, text), "upsampler": lambda: run_u(z, text, condition=low_res)}
    name = f"{base.name} + {upsampler.name}"
    return TimedModel(name, upsampler.resolution, *size_of(G, U, encoder), generate), parts


def write_clip(folder: Path) -> None:
    """ViT-L/14's text tower with random weights, beside a vision tower too small to matter, in open_clip's local-dir layout."""
    import open_clip
    from safetensors.torch import save_file

    folder.mkdir(parents=True)
    vision = {"image_size": 32, "layers": 1, "width": 64, "patch_size": 16, "head_width": 64}
    model = {"embed_dim": 768, "quick_gelu": True, "vision_cfg": vision, "text_cfg": CLIP_L_TEXT}
    preprocess = {"mean": [0.5] * 3, "std": [0.5] * 3}
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": model, "preprocess_cfg": preprocess}))
    clip = open_clip.CLIP(**model)
    save_file({name: value.contiguous() for name, value in clip.state_dict().items()}, folder / "open_clip_model.safetensors")


def table(result: dict) -> str:
    width = max(len(row["system"]) for row in result["rows"])
    lines = [f"prompt to 512 px, {result['device']}, {result['precision']}, random weights"]
    lines.append(f"{'':{width}} {'seconds':>9} {'GFLOP':>10} {'GFLOP/s':>8} {'parameters':>15}")
    for row in result["rows"]:
        rate = row["gflop"] / row["seconds"]
        lines.append(f"{row['system']:{width}} {row['seconds']:9.3f} {row['gflop']:10.1f} {rate:8.0f} {row['parameters']:15,}")
    parts = ", ".join(f"{name} {seconds:.3f} s" for name, seconds in result["seconds_of_parts"].items())
    flops = result["rows"][1]["gflop"] / result["rows"][0]["gflop"]
    return "\n".join(
        [*lines, f"ours by parts: {parts}", f"SD-Turbo takes {result['ratio']:.2f} times as long, and {flops:.2f} times the FLOPs"]
    )


if __name__ == "__main__":
    run_script(main)
