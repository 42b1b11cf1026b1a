"""A recipe of any system to one that trains in seconds."""

import json
from dataclasses import fields, is_dataclass, replace
from pathlib import Path

import timm
import torch
from safetensors.torch import save_file
from tiny import MAX_TOKENS, TEXT_DIM, TOKEN_DIM, TOWER_WIDTH, Kit

from t2igan import text
from t2igan.config import Recipe
from t2igan.data.class_embeddings import save_class_embeddings
from t2igan.data.shards import Shards
from t2igan.files import file_hash
from t2igan.growth import phases_of
from t2igan.layers.stages import resolutions
from t2igan.schedule import Schedule
from t2igan.text.adapter import AdapterConfig
from t2igan.text.clip_folder import CONFIG, TOWER_WEIGHTS, WEIGHTS

LIMITS = {  # greatest values of whole numbers, by the names of their fields, in whichever section they stand
    "channels": 8,
    "channel_max": 8,
    "groups": 2,
    "head_dim": 8,
    "width": 16,
    "z_dim": 16,
    "style_dim": 16,
    "depth": 1,
    "head_depth": 1,
    "self_attention": 1,
    "cross_attention": 1,
    "blocks": 2,
    "attention": 1,
    "attention_width": 8,
    "experts": 2,
    "head_blocks": 0,
    "head_kernel": 2,
    "mixed": 4,
    "head_channels": 4,
    "embedding_width": 4,
    "num_kernels": 2,
    "negatives": 8,
    "batch": 2,
    "images_per_caption": 2,
    "micro_batch": 2,
    "every": 2,
    "after": 0,
    "minibatch_std": 2,
    "mlp_ratio": 1,
    "workers": 0,
    "warmup": 4,
    "hold": 1,  # a step, as `fade`
    "fade": 1,
    "batches": 2,
}
ATTENTION = ("attention", "self_attention", "cross_attention")
ATTENTION_SIDE = 64  # px
PROJECTION = (12, 8)  # widths of a CLIP's projection of text


def shrink(recipe: Recipe, kit: Kit) -> Recipe:
    """A recipe at its own resolution and number of stages, with everything that it switches on, small enough for a test.

    It knows fields, not systems. Whole numbers and lists of them are cut to LIMITS, lazy terms are due at every 2nd step and from the
    start, schedules stay. In synthesis, attention over more than 64 x 64 places is left out. The
    text tower, every CLIP (`model` beside `pretrained`) and VGG (`vgg` beside `heads`) are replaced by random ones of the same kind. It
    starts from no other run. float32, as few CPUs compute in bf16. Two steps are trained, of systems that grow after their growth.
    """
    small = cut(recipe, kit)
    grown = phases_of(small.training, recipe.resolution)[-1].begin
    total = grown + 2 * small.training.batch
    return replace(
        small,
        generator=replace(small.generator, synthesis=small_maps(small.generator.synthesis, recipe.resolution)),
        data=replace(small.data, shards=str(kit.shards)),
        text=small_text(recipe.text, kit),
        start=None,
        training=replace(
            small.training,
            cluster_features=small.training.cluster_features and f"local-dir:{kit.clip}",
            total_images=total,
            precision="fp32",
            log_every=1,
            sample_every=total,
            prompts=() if recipe.generator.synthesis.starts_from_image else ("thing 1",),
        ),
    )


def cut(config, kit: Kit):
    """A section with small numbers and the kit's frozen networks, and the sections inside it likewise."""
    if not is_dataclass(config) or isinstance(config, Schedule):
        return config

    def value(name, old):
        if name in LIMITS and type(old) is int:
            return min(old, LIMITS[name])
        if isinstance(old, tuple):
            numbers = name in LIMITS and all(type(x) is int for x in old)
            return tuple(min(x, LIMITS[name]) if numbers else cut(x, kit) for x in old)
        return cut(old, kit)

    values = {f.name: value(f.name, getattr(config, f.name)) for f in fields(config)}
    return replace(config, **values | frozen_networks(values, kit))


def frozen_networks(values: dict, kit: Kit) -> dict:
    """The kit's networks in the place of those that a section names."""
    if "vgg" in values:
        return {"vgg": str(kit.vgg), "heads": str(kit.heads), "side": 32}
    if {"class_embeddings", "embedding_width"} <= set(values):
        return {"class_embeddings": values["class_embeddings"] and embeddings_file(kit, values["embedding_width"])}
    if {"model", "weights", "classes"} <= set(values):
        model, weights = timm_file(kit, "test_efficientnet", len(classes(kit)))
        return {"model": model, "weights": weights, "classes": len(classes(kit))}
    if {"model", "weights", "reassemble"} <= set(values):
        transformer = bool(values["reassemble"])
        widths, reassemble = ((64,), (4, 4, 4, 4)) if transformer else ((24, 32, 48, 64), ())
        model, weights = timm_file(kit, "test_vit" if transformer else "test_efficientnet", 1000)
        return {"model": model, "weights": weights, "side": None, "layers": (1, 2, 3, 4), "widths": widths, "reassemble": reassemble}
    if {"model", "weights", "widths"} <= set(values):
        return {"model": f"local-dir:{kit.clip}", "weights": None, "side": None, "layers": (0, 1), "widths": (TOWER_WIDTH,)}
    if {"clip", "widths"} <= set(values):
        return {"clip": f"local-dir:{projection_folder(kit)}", "widths": PROJECTION}
    if not {"model", "pretrained"} <= set(values):
        return {}
    clip = {"model": f"local-dir:{kit.clip}", "pretrained": None}
    if "layers" in values:  # maps of the image tower, which has two layers
        clip |= {"layers": tuple(range(min(len(values["layers"]), 2))), "width": TOWER_WIDTH}
    return clip


def classes(kit: Kit) -> list[str]:
    """The captions of the kit's shards, which are the classes of a label."""
    shards = Shards(str(kit.shards))
    return sorted({caption for number in range(len(shards)) for caption in shards.read(number).captions})


def embeddings_file(kit: Kit, width: int) -> str:
    """A table of random rows for every class."""
    path = kit.clip.parent / f"class_embeddings_{width}.safetensors"
    save_class_embeddings(torch.randn(len(classes(kit)), width), path)
    return str(path)


def timm_file(kit: Kit, model: str, count: int) -> tuple[str, str]:
    """A small model of timm that knows `count` classes, and a file of random weights of it."""
    path = kit.clip.parent / f"{model}_{count}.safetensors"
    save_file(timm.create_model(model, num_classes=count).state_dict(), path)
    return model, str(path)


def projection_folder(kit: Kit, seed: int = 0) -> Path:
    """A random projection of the kit's text tower, as a CLIP's folder has it."""
    folder = kit.clip.parent / f"projection_{seed}"
    folder.mkdir(exist_ok=True)
    widths, generator = (TOKEN_DIM, *PROJECTION), torch.Generator().manual_seed(seed)
    sizes = {f"text.proj.{2 * i}.weight": (widths[i + 1], widths[i]) for i in range(len(PROJECTION))}
    save_file({name: torch.randn(*size, generator=generator) for name, size in sizes.items()}, folder / WEIGHTS)
    tower = {"model": str(kit.bert), "sha256": file_hash(kit.bert / TOWER_WEIGHTS)}
    (folder / CONFIG).write_text(json.dumps({"model_cfg": {"text_cfg": {"hf_pooler_type": "mean_pooler"}}, "text_tower": tower}))
    return folder


def small_text(config, kit: Kit):
    """The kit's text tower of the same kind; kinds without one stay."""
    captions = classes(kit)
    sizes = {"token_dim": TOKEN_DIM, "max_tokens": MAX_TOKENS}
    towers = {
        "transformers": {"model": str(kit.bert), "sha256": None, **sizes},
        "label": {"num_classes": len(captions), "names": tuple(captions)},
        "open_clip": {"model": f"local-dir:{kit.clip}", "pretrained": None, "text_dim": TEXT_DIM, **sizes},
    }
    (kind,) = (name for name, cls in text.KINDS.items() if cls is type(config))
    return replace(config, **towers.get(kind, {}))


def small_maps(synthesis, resolution: int):
    """Without attention over more than ATTENTION_SIDE px; the last entry of every list is that of the resolution."""
    depths = {name: getattr(synthesis, name) for name in ATTENTION if hasattr(synthesis, name)}
    sides = {name: [resolution >> i for i in reversed(range(len(entries)))] for name, entries in depths.items()}
    small = {name: tuple(d * (s <= ATTENTION_SIDE) for d, s in zip(depths[name], sides[name], strict=True)) for name in depths}
    return replace(synthesis, **small)


def lowered(recipe: Recipe, most: int) -> Recipe:
    """A recipe at `most` px or below, without the higher stages' entries of its lists; one that stands on a stem stays as it is."""
    stages, kept = (len(resolutions(side)) for side in (recipe.resolution, min(recipe.resolution, most)))
    if kept == stages or hasattr(recipe.generator.synthesis, "head_layers"):
        return recipe

    def low(section):
        values = {f.name: getattr(section, f.name) for f in fields(section)}
        of_stages = {name: value for name, value in values.items() if isinstance(value, tuple) and len(value) == stages}
        return replace(section, **{name: value[:kept] for name, value in of_stages.items()})

    growth = recipe.training.growth
    return replace(
        recipe,
        resolution=most,
        generator=replace(recipe.generator, synthesis=low(recipe.generator.synthesis)),
        discriminator=replace(recipe.discriminator, network=low(recipe.discriminator.network)),
        training=replace(recipe.training, growth=growth and replace(growth, batches=growth.batches[: kept - stages])),
    )


WITH_TEXT = ("matching", "clip_contrastive", "clip_spherical", "classification")  # losses that read captions


def conditioned(recipe: Recipe, kind: str) -> Recipe:
    """A recipe with text of another kind, `none`, `label` or `transformers`, and without what that kind has no use for."""
    tower = {"model": "a tower", "token_dim": TOKEN_DIM, "max_tokens": MAX_TOKENS}
    options = {"none": {}, "label": {"num_classes": 10}, "transformers": tower}[kind]
    adapter = AdapterConfig(depth=1, pooling="pooled") if kind == "transformers" else None
    network = recipe.discriminator.network
    if getattr(network, "condition", "projection") == "classes":  # by labels alone
        network = replace(network, condition="projection")
    dropped = () if kind == "transformers" else WITH_TEXT
    halves = {half: tuple(term for term in terms if term.kind not in dropped) for half, terms in vars(recipe.objective).items()}
    if kind == "transformers":
        halves = {half: tuple(term for term in terms if term.kind != "classification") for half, terms in halves.items()}
    return replace(
        recipe,
        text=text.KINDS[kind](**options),
        generator=replace(recipe.generator, adapter=adapter),
        training=replace(recipe.training, cluster_features=None, generator_optimizer=without_adapter(recipe.training.generator_optimizer)),
        discriminator=replace(recipe.discriminator, adapter=adapter, network=network),
        objective=replace(recipe.objective, **halves),
    )


def without_adapter(optimizer):
    """Without the groups that treat an adapter, which another one replaces."""
    return replace(optimizer, groups=tuple(group for group in optimizer.groups if not group.match.startswith("adapter")))
