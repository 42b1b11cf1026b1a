"""The configuration files of a diffusers pipeline to a model with random weights whose speed can be measured.

Needs `pip install t2igan[compare]`.
"""

import inspect
from pathlib import Path

import torch
from torch import nn

from t2igan.errors import UserError
from t2igan.evaluation.speed import TimedModel, size_of
from t2igan.plain_text import read_json

UNUSED = ("tokenizer", "feature_extractor", "safety_checker", "image_encoder")  # no part of the time from embedding to image


def diffusion_model(folder: Path, steps: int, guidance: float, device: torch.device) -> TimedModel:
    """A pipeline with random weights, text encoder and decoder included.

    Args:
        folder: `model_index.json` and the configuration of each part; weights are not read.
        steps: denoising steps.
        guidance: guidance scale; above 1, each step runs the network twice.

    Raises:
        UserError: diffusers is not installed, the folder holds no pipeline, or the pipeline does not accept a prompt's embedding.
    """
    pipeline = build_pipeline(folder).to(device)
    pipeline.set_progress_bar_config(disable=True)
    accepted = inspect.signature(pipeline.__call__).parameters
    encoder = getattr(pipeline, "text_encoder", None)
    needed = {"prompt_embeds", "num_inference_steps", "guidance_scale", "output_type"}
    further = {"pooled_prompt_embeds", "prompt_attention_mask"} & set(accepted)
    further |= {name for name in pipeline.components if name.startswith("text_encoder_")}
    if not needed <= set(accepted) or further or not hasattr(getattr(encoder, "config", None), "max_position_embeddings"):
        raise UserError(
            f"{folder} is a {type(pipeline).__name__}; only pipelines with one CLIP text tower, such as Stable Diffusion's, can be timed"
        )
    ids = torch.zeros(1, encoder.config.max_position_embeddings, dtype=torch.long, device=device)

    def generate(batch: int) -> None:
        embeddings = encoder(ids.repeat(batch, 1))[0]
        negative = {"negative_prompt_embeds": encoder(ids.repeat(batch, 1))[0]} if guidance > 1 else {}
        pipeline(prompt_embeds=embeddings, num_inference_steps=steps, guidance_scale=guidance, output_type="pt", **negative)

    modules = [part for part in pipeline.components.values() if isinstance(part, nn.Module)]
    resolution = pipeline.unet.config.sample_size * pipeline.vae_scale_factor if hasattr(pipeline, "unet") else 0
    name = f"{type(pipeline).__name__}, {steps} step{'s' * (steps > 1)}"
    return TimedModel(name, resolution, *size_of(*modules), generate)


def build_pipeline(folder: Path):
    """Every part from its configuration, with random weights, except the parts in `UNUSED`."""
    try:
        import diffusers
    except ImportError:
        raise UserError("--beside needs diffusers: pip install 't2igan[compare]'") from None
    import transformers

    diffusers.logging.set_verbosity_error()  # its warnings are about image quality, which does not matter here
    index = folder / "model_index.json"
    if not index.is_file():
        raise UserError(f"{folder} is no diffusers pipeline (no model_index.json); give the folder of one, weights are not needed")
    described = read_json(index, "get the folder again")
    parts = {}
    for name, value in described.items():
        if not isinstance(value, list):
            continue
        library, kind = value
        found = getattr({"diffusers": diffusers, "transformers": transformers}.get(library), kind or "", None)
        if found is None or name in UNUSED:
            parts[name] = None
        elif library == "transformers":
            parts[name] = found(found.config_class.from_pretrained(folder / name)).eval()
        else:
            parts[name] = found.from_config(found.load_config(folder / name))
            if isinstance(parts[name], nn.Module):  # a scheduler is none
                parts[name].eval()
    options = {name: value for name, value in described.items() if name == "requires_safety_checker"}
    return getattr(diffusers, described["_class_name"])(**parts, **options)
