"""Everything small that the tests of whole runs need: frozen networks with random weights, recipes that run in seconds, processes."""

import json
import os
import sys
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from unittest import mock

import torch
import yaml

from t2igan.config import Recipe
from t2igan.recipe import parse

ROOT = Path(__file__).resolve().parents[1]
TOKEN_DIM, TEXT_DIM, MAX_TOKENS = 32, 24, 20  # of the towers below; a transformers tower pools to TOKEN_DIM


# ------------------------------------------------------------------------------------------------ frozen networks


def write_bert(folder: Path) -> Path:
    """A two-layer BERT with random weights that spells words, as `save_pretrained` writes it."""
    from transformers import BertConfig, BertModel, BertTokenizerFast

    letters = "abcdefghijklmnopqrstuvwxyz0123456789,.'"
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{letter}" for letter in letters)]
    BertTokenizerFast(vocab={token: number for number, token in enumerate(vocabulary)}).save_pretrained(folder)
    sizes = {"hidden_size": TOKEN_DIM, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 2 * TOKEN_DIM}
    config = BertConfig(vocab_size=len(vocabulary), max_position_embeddings=128, **sizes)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        BertModel(config).save_pretrained(folder)
    return folder


def write_clip(folder: Path, size: int = 16) -> Path:
    """A two-layer CLIP with random weights in open_clip's local-dir layout."""
    import open_clip
    from safetensors.torch import save_file

    folder.mkdir(parents=True)
    model = {
        "embed_dim": TEXT_DIM,
        "vision_cfg": {"image_size": size, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8},
        "text_cfg": {"context_length": MAX_TOKENS, "vocab_size": 49408, "width": TOKEN_DIM, "heads": 2, "layers": 2},
    }
    preprocess = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": model, "preprocess_cfg": preprocess}))
    with torch.random.fork_rng():
        torch.manual_seed(2)
        clip = open_clip.CustomTextCLIP(**model)
    save_file({name: value.contiguous() for name, value in clip.state_dict().items()}, folder / "open_clip_model.safetensors")
    return folder


def write_lpips(folder: Path) -> tuple[Path, Path]:
    """VGG16's convolutions and LPIPS's heads with random weights, in the form of the published files."""
    from torchvision.models import vgg16

    from t2igan.features.vgg import CHANNELS

    folder.mkdir(parents=True)
    with torch.random.fork_rng():
        torch.manual_seed(3)
        convolutions = {f"features.{name}": value for name, value in vgg16().features.state_dict().items()}
        heads = {f"lin{i}.model.1.weight": torch.rand(1, channels, 1, 1) for i, channels in enumerate(CHANNELS.values())}
    torch.save(convolutions, folder / "vgg.pth")
    torch.save(heads, folder / "heads.pth")
    return folder / "vgg.pth", folder / "heads.pth"


@dataclass(frozen=True)
class Kit:
    """What a tiny recipe reads."""

    shards: Path
    bert: Path
    clip: Path
    vgg: Path
    heads: Path


# ------------------------------------------------------------------------------------------------ recipes


def tiny_recipe(kit: Kit, guided: bool = True) -> dict:
    """As YAML says it: every term and every kind of layer, at 16 px and 8 channels."""
    optimizer = {"lr": {"linear": [0.002, 0.001, 400]}, "warmup": 24, "weight_decay": 0.001, "attention_weight_decay": 0.01}
    recipe = {
        "name": "tiny",
        "resolution": 16,
        "seed": 3,
        "data": {"shards": str(kit.shards)},
        "text": {"kind": "transformers", "model": str(kit.bert), "token_dim": TOKEN_DIM, "max_tokens": MAX_TOKENS},
        "generator": {
            "adapter": {"depth": 1, "width": 16, "head_dim": 8, "summary": "pooled"},
            "style": {"kind": "mapping", "z_dim": 8, "style_dim": 16, "depth": 2, "lr_multiplier": 0.1, "modes": 2},
            "synthesis": {
                "kind": "gigagan",
                "input": "style",
                "channels": [8, 8, 8],
                "blocks": [1, 2, 1],
                "kernels": [1, 2, 1],
                "self_attention": [0, 1, 0],
                "cross_attention": [0, 1, 0],
                "head_dim": 8,
                "mlp_ratio": 1,
            },
        },
        "discriminator": {
            "adapter": {"depth": 1, "width": 16, "head_dim": 8, "summary": "pooled"},
            "network": {
                "kind": "gigagan",
                "channels": [8, 8, 8],
                "blocks": [0, 1, 1],
                "self_attention": [0, 1, 0],
                "head_dim": 8,
                "inputs": [16, 8],
                "outputs": [8, 1],
                "input_weights": [1.0, 0.3],
                "output_weights": [0.5, 1.0],
                "head_depth": 1,
                "minibatch_std": 2,
            },
        },
        "augment": {"probability": 0.7},
        "objective": {
            "discriminator": [
                {"kind": "nonsaturating"},
                {"kind": "matching", "weight": 0.5},
                {"kind": "r1", "gamma": 0.5, "every": 2},
            ],
            "generator": [
                {"kind": "nonsaturating"},
                {"kind": "matching", "weight": 0.5},
                {"kind": "reconstruction", "weight": 0.5, "sides": [8, 4]},
            ],
        },
        "training": {
            "images": 32,
            "batch": 8,
            "precision": "fp32",
            "drawings": f"local-dir:{kit.clip}",
            "generator_optimizer": optimizer,
            "discriminator_optimizer": optimizer,
            "ema": {"half_life": 100, "ramp": 0.5},
            "log_every": 1,
            "checkpoint_every": 16,
            "sample_every": 16,
            "prompts": ["thing 1", "number 4"],
        },
    }
    if guided:
        guide = {"kind": "clip_contrastive", "weight": 0.3, "model": f"local-dir:{kit.clip}", "negatives": 6}
        recipe["objective"]["generator"].append(guide)
    return recipe


def tiny_upsampler(kit: Kit) -> dict:
    """From 8 to 16 px, with every term that an upsampler has."""
    recipe = tiny_recipe(kit)
    recipe["name"] = "tiny_upsampler"
    recipe["data"]["caption_dropout"] = 0.3
    recipe["generator"]["style"]["modes"] = 0
    recipe["generator"]["synthesis"] = {
        "kind": "gigagan_upsampler",
        "low": 8,
        "downs": 1,
        "noise": 0.1,
        "channels": [8, 8, 8],
        "blocks": [1, 2, 1],
        "kernels": [1, 2, 1],
        "self_attention": [1, 0, 0],
        "cross_attention": [1, 0, 0],
        "head_dim": 8,
        "mlp_ratio": 1,
    }
    recipe["objective"]["generator"][2]["sides"] = [16, 8]
    recipe["objective"]["generator"].append({"kind": "lpips", "weight": 0.1, "vgg": str(kit.vgg), "heads": str(kit.heads)})
    recipe["training"] |= {"drawings": None, "prompts": []}
    return recipe


def write_recipe(path: Path, recipe: dict) -> Path:
    path.write_text(yaml.safe_dump(recipe, sort_keys=False))
    return path


def override(recipe: dict, **values) -> dict:
    """A copy with values set by path, `training__batch=4`."""
    recipe = json.loads(json.dumps(recipe))
    for path, value in values.items():
        *parents, last = path.split("__")
        target = recipe
        for parent in parents:
            target = target[parent]
        target[last] = value
    return recipe


def trainer_of(recipe: dict | Recipe, out: Path):
    """The Trainer of a recipe, as `t2igan train` makes it."""
    from t2igan.system import build_system
    from t2igan.training.trainer import Trainer

    recipe = parse(Recipe, recipe, "") if isinstance(recipe, dict) else recipe
    torch.manual_seed(recipe.seed)
    return Trainer(recipe, build_system(recipe), out)


def shrink(recipe: Recipe, kit: Kit) -> Recipe:
    """A recipe at its own resolution and number of stages, with everything it switches on, small enough for a test.

    Cut to at most: 8 channels per stage and head, width 16 of adapters, z and style of 16, depth 1 of adapters, mapping, heads and
    attention, 2 blocks per stage, 2 kernels per bank, 8 negatives, batch 2, a lazy term at every 2nd step and from the start. LPIPS at 32
    px. No attention over more than 64 x 64 places. The text tower, every CLIP and VGG are replaced by random ones of the same kind.
    float32, as few CPUs compute in bf16. Two steps are trained.
    """
    limits = {
        "channels": 8,
        "head_dim": 8,
        "width": 16,
        "z_dim": 16,
        "style_dim": 16,
        "depth": 1,
        "head_depth": 1,
        "self_attention": 1,
        "cross_attention": 1,
        "blocks": 2,
        "kernels": 2,
        "negatives": 8,
        "batch": 2,
        "micro_batch": 2,
        "every": 2,
        "after": 0,
        "minibatch_std": 2,
        "mlp_ratio": 1,
        "workers": 0,
        "warmup": 4,
    }

    def cut(config):
        def value(name, old):
            if name in limits and isinstance(old, int | tuple):
                return tuple(min(x, limits[name]) for x in old) if isinstance(old, tuple) else min(old, limits[name])
            if isinstance(old, tuple):
                return tuple(cut(item) for item in old)
            return cut(old)

        if not is_dataclass(config):
            return config
        return replace(config, **{f.name: value(f.name, getattr(config, f.name)) for f in fields(config)})

    def local(term):
        if term.kind == "lpips":
            return replace(term, options=replace(term.options, vgg=str(kit.vgg), heads=str(kit.heads), side=32))
        is_clip = term.kind.startswith("clip_")
        return replace(term, options=replace(term.options, model=f"local-dir:{kit.clip}", pretrained=None)) if is_clip else term

    def small_maps(synthesis):
        if synthesis.low is None:
            return synthesis
        sides = [(synthesis.low >> synthesis.downs) * 2**i for i in range(len(synthesis.channels))]
        depths = {name: getattr(synthesis, name) for name in ("self_attention", "cross_attention")}
        return replace(synthesis, **{name: tuple(d * (s <= 64) for d, s in zip(ds, sides, strict=True)) for name, ds in depths.items()})

    kind = type(recipe.text).__name__
    sizes = {"token_dim": TOKEN_DIM, "max_tokens": MAX_TOKENS}
    towers = {
        "TransformersTextConfig": {"model": str(kit.bert), "sha256": None, **sizes},
        "OpenClipTextConfig": {"model": f"local-dir:{kit.clip}", "pretrained": None, "text_dim": TEXT_DIM, **sizes},
        "NoTextConfig": {},
    }
    small, vision = cut(recipe), recipe.discriminator.vision_aided
    if vision is not None:
        tower = {"model": f"local-dir:{kit.clip}", "pretrained": None, "width": 32, "layers": (0, 1)}
        vision = replace(vision, **tower, channels=8, head_depth=1)
    return replace(
        small,
        generator=replace(small.generator, synthesis=small_maps(small.generator.synthesis)),
        discriminator=replace(small.discriminator, vision_aided=vision),
        data=replace(small.data, shards=str(kit.shards)),
        text=replace(recipe.text, **towers[kind]),
        objective=replace(
            small.objective,
            discriminator=tuple(map(local, small.objective.discriminator)),
            generator=tuple(map(local, small.objective.generator)),
        ),
        training=replace(
            small.training,
            drawings=small.training.drawings and f"local-dir:{kit.clip}",
            images=4,
            precision="fp32",
            log_every=1,
            sample_every=4,
            prompts=() if recipe.generator.synthesis.low else ("thing 1",),
        ),
    )


# ------------------------------------------------------------------------------------------------ commands


def environment(cache: Path) -> dict[str, str]:
    """For a process of its own: this clone's code, one thread, no GPU, nothing from the network."""
    paths = [str(ROOT), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")]
    own = {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    return os.environ | own | {"HF_HUB_OFFLINE": "1", "T2IGAN_CACHE": str(cache)}


def on_cpu():
    """This process as one of those, where there is a GPU: bits and 1e-4 are compared on one and the same kind of device."""
    return mock.patch("torch.cuda.is_available", return_value=False)


def command(*arguments) -> list[str]:
    return [sys.executable, "-m", "t2igan", *map(str, arguments)]
