"""Everything small that the tests of whole runs need: frozen networks with random weights, recipes that run in seconds, processes."""

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import torch
import yaml

from t2igan.config import Recipe
from t2igan.recipe import parse

ROOT = Path(__file__).resolve().parents[1]
TOKEN_DIM, TEXT_DIM, MAX_TOKENS, TOWER_WIDTH = 32, 24, 20, 32  # of the towers below; a transformers tower pools to TOKEN_DIM


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
        "vision_cfg": {"image_size": size, "layers": 2, "width": TOWER_WIDTH, "head_width": 16, "patch_size": 8},
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
    """As YAML would give it: every term and every kind of layer, at 16 px and 8 channels."""
    optimizer = {"lr": {"linear": [0.002, 0.001, 400]}, "warmup": 24, "weight_decay": 0.001}
    optimizer["groups"] = [{"match": "*.attention.to_*", "weight_decay": 0.01}]
    recipe = {
        "name": "tiny",
        "resolution": 16,
        "seed": 3,
        "data": {"shards": str(kit.shards)},
        "text": {"kind": "transformers", "model": str(kit.bert), "token_dim": TOKEN_DIM, "max_tokens": MAX_TOKENS},
        "generator": {
            "adapter": {"depth": 1, "width": 16, "head_dim": 8, "pooling": "pooled"},
            "style": {"kind": "mapping", "z_dim": 8, "style_dim": 16, "depth": 2, "lr_multiplier": 0.1, "num_clusters": 2},
            "synthesis": {
                "kind": "gigagan",
                "input": "style",
                "channels": [8, 8, 8],
                "blocks": [1, 2, 1],
                "num_kernels": [1, 2, 1],
                "self_attention": [0, 1, 0],
                "cross_attention": [0, 1, 0],
                "head_dim": 8,
                "mlp_ratio": 1,
            },
        },
        "discriminator": {
            "adapter": {"depth": 1, "width": 16, "head_dim": 8, "pooling": "pooled"},
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
        "augment": {"kind": "diffaugment", "probability": 0.7},
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
            "total_images": 32,
            "batch": 8,
            "precision": "fp32",
            "cluster_features": f"local-dir:{kit.clip}",
            "generator_optimizer": optimizer,
            "discriminator_optimizer": optimizer,
            "ema": {"half_life": 100, "rampup": 0.5},
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


def growing_recipe(kit: Kit, **changes) -> dict:
    """ProGAN with text, from 4 to 16 px in the first 64 of 96 images."""
    recipe = tiny_recipe(kit, guided=False)
    recipe["generator"] |= {"style": {"kind": "progan", "z_dim": 8}, "synthesis": {"kind": "progan", "channels": [8, 8, 8]}}
    recipe["discriminator"]["network"] = {"kind": "progan", "channels": [8, 8, 8], "minibatch_std": 2}
    recipe["augment"] = {"kind": "none"}
    recipe["objective"] = {
        "discriminator": [{"kind": "wasserstein"}, {"kind": "gradient_penalty", "weight": 10.0}],
        "generator": [{"kind": "wasserstein"}, {"kind": "reconstruction", "sides": [16]}],
    }
    growth = {"start": 4, "hold": 16, "fade": 16, "batches": [8, 8, 4]}
    recipe["training"] |= {"growth": growth, "total_images": 96, "cluster_features": None}
    return override(recipe, **changes)


def stylegan2_recipe(kit: Kit, **changes) -> dict:
    """StyleGAN2 with text, path lengths and adaptive augmentation, at 16 px."""
    recipe = tiny_recipe(kit, guided=False)
    style = {"kind": "stylegan2", "z_dim": 8, "style_dim": 16, "depth": 2}
    recipe["generator"] |= {"style": style, "synthesis": {"kind": "stylegan2", "channels": [8, 8, 8]}}
    recipe["discriminator"]["network"] = {"kind": "stylegan2", "channels": [8, 8, 8], "minibatch_std": 2, "mapping_depth": 2}
    recipe["augment"] = {"kind": "ada", "target": 0.6, "ramp_images": 100, "interval": 1, "probability": 0.3}
    recipe["objective"] = {
        "discriminator": [{"kind": "nonsaturating"}, {"kind": "r1", "gamma": 1.0, "every": 2}],
        "generator": [{"kind": "nonsaturating"}, {"kind": "path_length", "weight": 2.0, "every": 2}],
    }
    recipe["training"] |= {"total_images": 96, "cluster_features": None}
    return override(recipe, **changes)


def stylegan_t_recipe(kit: Kit, **changes) -> dict:
    """StyleGAN-T at 16 px: heads on the tokens of the kit's CLIP, the hinge, guidance by angles, a text tower that trains in G."""
    recipe = stylegan2_recipe(kit)
    synthesis = {"kind": "stylegan_t", "channel_base": 128, "channel_max": 8, "blocks": 1, "groups": 4}
    recipe["generator"] = {"adapter": {"kind": "tower"}, "style": {"kind": "stylegan_t", "z_dim": 8}, "synthesis": synthesis}
    clip = f"local-dir:{kit.clip}"
    network = {"kind": "stylegan_t", "model": clip, "layers": [0, 1], "widths": [TOWER_WIDTH], "channels": 8, "group": 2}
    recipe["discriminator"] = {"adapter": None, "network": network}
    recipe["augment"] = {"kind": "diffaugment", "cutout": 0.2}
    recipe["objective"] = {
        "discriminator": [{"kind": "hinge"}, {"kind": "matching", "generated": False}],
        "generator": [{"kind": "hinge"}, {"kind": "clip_spherical", "weight": 0.5, "model": clip, "crop": 12}],
    }
    for half in ("generator_optimizer", "discriminator_optimizer"):
        recipe["training"][half] = recipe["training"][half] | {"groups": []}
    return override(recipe, **changes)


def stylegan_xl_recipe(kit: Kit, **changes) -> dict:
    """StyleGAN-XL with text at 32 px, a stem and a head: a projected discriminator on a small network of timm."""
    import timm
    from safetensors.torch import save_file

    weights = kit.clip.parent / "projected.safetensors"
    with torch.random.fork_rng():
        torch.manual_seed(4)
        save_file(timm.create_model("test_efficientnet").state_dict(), weights)
    recipe = stylegan2_recipe(kit, resolution=32)
    synthesis = {"kind": "stylegan_xl", "stem_layers": 4, "head_layers": [3], "channel_base": 256, "channel_max": 8}
    recipe["generator"] |= {"style": {"kind": "stylegan_xl", "z_dim": 8, "style_dim": 16}, "synthesis": synthesis}
    view = {"model": "test_efficientnet", "weights": str(weights), "layers": [1, 2, 3, 4], "widths": [24, 32, 48, 64]}
    sizes = {"mixed": [4, 4, 8, 8], "head_channels": [4, 4, 8, 8], "head_blocks": 0, "group": 2}
    recipe["discriminator"]["network"] = {"kind": "stylegan_xl", "views": [view], **sizes}
    recipe["augment"] = {"kind": "diffaugment", "cutout": 0.2}
    recipe["objective"] = {"discriminator": [{"kind": "hinge"}], "generator": [{"kind": "hinge"}]}
    return override(recipe, **changes)


def tiny_upsampler(kit: Kit) -> dict:
    """From 8 to 16 px, with every term that an upsampler has."""
    recipe = tiny_recipe(kit)
    recipe["name"] = "tiny_upsampler"
    recipe["data"]["caption_dropout"] = 0.3
    recipe["generator"]["style"]["num_clusters"] = 0
    recipe["generator"]["synthesis"] = {
        "kind": "gigagan_upsampler",
        "low_resolution": 8,
        "num_downsamples": 1,
        "noise": 0.1,
        "channels": [8, 8, 8],
        "blocks": [1, 2, 1],
        "num_kernels": [1, 2, 1],
        "self_attention": [1, 0, 0],
        "cross_attention": [1, 0, 0],
        "head_dim": 8,
        "mlp_ratio": 1,
    }
    recipe["objective"]["generator"][2]["sides"] = [16, 8]
    recipe["objective"]["generator"].append({"kind": "lpips", "weight": 0.1, "vgg": str(kit.vgg), "heads": str(kit.heads)})
    recipe["training"] |= {"cluster_features": None, "prompts": []}
    return recipe


def without_text(recipe: dict) -> dict:
    """The same generator in an unconditional system: no adapter and no attention to words."""
    synthesis = recipe["generator"]["synthesis"]
    return override(
        recipe,
        text={"kind": "none"},
        generator__adapter=None,
        generator__synthesis__cross_attention=[0] * len(synthesis["cross_attention"]),
        discriminator__adapter=None,
        training__cluster_features=None,
    )


def generator_of(recipe: Recipe):
    """The generator of a recipe, with random weights."""
    from t2igan.system import build_generator
    from t2igan.types import TextDims

    encoder = recipe.text.build()
    return build_generator(recipe.generator, recipe.resolution, TextDims(encoder.token_dim, encoder.text_dim))


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


def run_of(recipe: dict | Recipe, out: Path):
    """The Run of a recipe, as `t2igan train` makes it; nothing is written before its `train`."""
    from t2igan.system import build_system
    from t2igan.training.run import Run

    recipe = parse(Recipe, recipe, "") if isinstance(recipe, dict) else recipe
    torch.manual_seed(recipe.seed)
    return Run(recipe, build_system(recipe), out)


def take_steps(run, count: int) -> list[dict[str, torch.Tensor]]:
    """So many steps from where the run stands, without its folder; the values of each."""
    trainer, values = run.trainer, []
    for _ in range(count):
        data = run.dataset[trainer.images]
        values.append(trainer.step(*data if isinstance(data, tuple) else (data,)))
    return values


def record_gradients(trainer) -> dict[str, list[dict[str, torch.Tensor | None]]]:
    """{"D": [...], "G": [...]}: a mapping for each update from now on, from every parameter that is trained to its gradient."""
    found = {"D": [], "G": []}

    def record(half, optimizer):
        step = optimizer.step

        def recorded(now):
            parameters = {name: p for name, p in optimizer.module.named_parameters() if p.requires_grad}
            found[half].append({name: None if p.grad is None else p.grad.clone() for name, p in parameters.items()})
            return step(now)

        optimizer.step = recorded

    record("D", trainer.d_optimizer)
    record("G", trainer.g_optimizer)
    return found


def weights(module) -> dict[str, torch.Tensor]:
    """A copy of every parameter, by name."""
    return {name: p.detach().clone() for name, p in module.named_parameters()}


def moved(module, before: dict[str, torch.Tensor]) -> set[str]:
    """The names of the parameters that differ from those of `weights`."""
    return {name for name, p in module.named_parameters() if not torch.equal(p, before[name])}


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
