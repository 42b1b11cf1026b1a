"""Which emoji images are trained on and which are held out."""

import hashlib

from emoji_art.collect import EmojiImage

SPLITS = ("train", "held_out_pairs", "held_out_concepts", "held_out_compositions")
PAIR_SHARE = 0.08  # of the (concept, style) pairs


def assign_splits(items: list[EmojiImage], held_out: dict[str, list[str]]) -> None:
    """Sets every image's split; (concept, style) pairs by a hash, so that a further concept or style moves no other pair."""
    by_concept: dict[str, list[EmojiImage]] = {}
    for item in items:
        by_concept.setdefault(item.concept.name, []).append(item)
    split_of = {name: split for split, names in held_out.items() for name in names}
    for name, group in by_concept.items():
        chosen = sorted((i for i in group if fraction(name, i.style.name) < PAIR_SHARE), key=lambda i: fraction(name, i.style.name))
        for item in chosen[: len(group) - 1]:  # at least one style of the concept stays in train
            item.split = "held_out_pairs"
        for item in group:
            item.split = split_of.get(name, item.split)


def fraction(*words: str) -> float:
    """Words to a number in [0, 1) that depends on nothing else."""
    return int.from_bytes(hashlib.sha256("\n".join(words).encode()).digest()[:8], "big") / 2**64


def list_splits(items: list[EmojiImage]) -> dict[str, list]:
    """What splits.json holds: the concepts of each split, and for the pairs [concept, style]."""
    listed: dict[str, list] = {split: sorted({item.concept.name for item in items if item.split == split}) for split in SPLITS}
    return listed | {"held_out_pairs": sorted([i.concept.name, i.style.name] for i in items if i.split == "held_out_pairs")}
