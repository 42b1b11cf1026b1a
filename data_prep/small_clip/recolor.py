"""Flat art whose caption names a colour to the same art in other colours."""

import re
from collections import defaultdict

from small_clip.data import CaptionedImages
from small_clip.fills import PALETTE, find_fill
from t2igan.data.images import to_signed


def with_recolored(data: CaptionedImages, new_captions: bool) -> CaptionedImages:
    """The same images, and the captions each would have in another colour.

    Args:
        new_captions: without it, a colour counts only if another image already has the primary caption that results.
    """
    number_of = {caption: number for number, caption in enumerate(data.captions)}
    known = {data.captions[number] for number in data.primary_captions}
    fills, recolored = {}, defaultdict(dict)
    for image, own in enumerate(data.captions_of):
        captions = [data.captions[number] for number in own]
        words = [word for word in PALETTE if re.search(rf"\b{word}\b", captions[0])]
        unambiguous = len(words) == 1 and words[0] != "white"  # white may be the background
        fill = find_fill(to_signed(data.pixels[[image]])[0], words[0]) if unambiguous else None
        for other in PALETTE if fill else ():
            renamed = list(dict.fromkeys(re.sub(rf"\b{words[0]}\b", other, caption) for caption in captions))
            if other != words[0] and (new_captions or renamed[0] in known):
                fills[image] = fill
                recolored[image][other] = [number_of.setdefault(caption, len(number_of)) for caption in renamed]
    return CaptionedImages(data.pixels, list(number_of), data.captions_of, data.skipped, fills, dict(recolored))
