"""Several drawings of one thing: in which of a few manners each real picture is drawn, found without labels.

Where a caption fits several pictures, a GAN with guidance settles on one of them and forgets its latent. Here real pictures are sorted
by what tells them from the other pictures of their name, and a latent's mode (style/mapping.py) follows its picture: clustering real
pictures and conditioning G on the cluster is Liu et al. 2020 (arXiv:2006.10728), section 3. Ours: clusters of the difference from the
name's mean, so that they are manners of drawing, not things.
"""

from collections import defaultdict
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from tqdm import tqdm

from t2igan.data.images import decode, to_signed
from t2igan.data.shards import Shards
from t2igan.errors import UserError
from t2igan.features.open_clip import ClipScorer
from t2igan.types import Batch

OPEN = -1  # the mode of a picture that is the only one of its name: nothing tells how it is drawn
RESTARTS = 10
ROUNDS = 100
EMBED_BATCH = 64


@dataclass(frozen=True)
class Drawings:
    """The mode of each sample of a data set, and the captions that fit pictures of several modes."""

    modes: tuple[int, ...]  # OPEN where it is not known
    ambiguous: frozenset[str]

    def of(self, batch: Batch) -> Int[Tensor, " b"]:
        """For `TextDescriptors.drawing`: mode + 1 of the pictures whose caption leaves the drawing open, 0 of the others.

        0 as well where the caption says it all ("a heart, flat style") and where nothing is known.
        """
        pairs = zip(batch.samples, batch.captions, strict=True)
        return torch.tensor([self.modes[sample] + 1 if caption in self.ambiguous else 0 for sample, caption in pairs])

    def to_json(self) -> dict:
        return {"modes": self.modes, "ambiguous": sorted(self.ambiguous)}

    @classmethod
    def from_json(cls, data: dict) -> "Drawings":
        return cls(tuple(data["modes"]), frozenset(data["ambiguous"]))


def place_modes(z: Float[Tensor, "b z_dim"], drawing: Int[Tensor, " b"], modes: int) -> Float[Tensor, "b z_dim"]:
    """The latents, each with its picture's mode where that is given.

    A latent chooses the mode of its greatest entry: that entry changes places with the wanted one, which leaves N(0, I) given the mode.
    """
    rows = torch.arange(len(z), device=z.device)
    greatest = z[:, :modes].argmax(1)
    wanted = torch.where(drawing > 0, drawing - 1, greatest)
    placed = z.clone()
    placed[rows, wanted], placed[rows, greatest] = z[rows, greatest], z[rows, wanted]
    return placed


@torch.no_grad()
def read_drawings(shards: Shards, size: int, clip: str, modes: int, device) -> Drawings:
    """Every picture of the shards, at `size` px, sorted by a CLIP's embeddings; broken ones are left out.

    Raises:
        UserError: no such CLIP, or too few pictures that share a name.
    """
    scorer = ClipScorer(clip)
    scorer.load_pretrained()
    scorer.to(device)
    numbers, captions, embeddings = [], [], []
    for first in tqdm(range(0, len(shards), EMBED_BATCH), "sorting drawings", delay=5, disable=None, leave=False):
        pictures = []
        for number in range(first, min(first + EMBED_BATCH, len(shards))):
            try:
                record = shards.read(number)
                pictures.append(decode(record.image, size))
            except (OSError, ValueError):
                continue
            numbers.append(number)
            captions.append(record.captions)
        if pictures:
            embeddings.append(scorer.images(to_signed(torch.stack(pictures)).to(device)).cpu())
    try:
        found = sort_drawings(torch.cat(embeddings), captions, modes)
    except ValueError as error:
        raise UserError(f"training.drawings: {error}; leave it out") from None
    of_sample = dict(zip(numbers, found.modes, strict=True))
    return Drawings(tuple(of_sample.get(number, OPEN) for number in range(len(shards))), found.ambiguous)


def sort_drawings(features: Float[Tensor, "n d"], captions: list[list[str]], modes: int) -> Drawings:
    """`captions` are each sample's own, its name first; `features` must show how a picture is drawn, such as a CLIP's embeddings.

    Raises:
        ValueError: fewer pictures that share a name with another one than modes.
    """
    of_name = defaultdict(list)
    for sample, (name, *_) in enumerate(captions):
        of_name[name].append(sample)
    several = [samples for samples in of_name.values() if len(samples) > 1]
    found = torch.full((len(captions),), OPEN)
    rows = torch.tensor([sample for samples in several for sample in samples], dtype=torch.long)
    if len(rows) < modes:
        raise ValueError(f"{len(rows)} pictures share a name with another one, too few to sort into {modes} modes")
    differences = torch.cat([features[samples] - features[samples].mean(0) for samples in several]).double()
    found[rows] = k_means(differences, modes)
    fits = defaultdict(set)
    for mine, mode in zip(captions, found.tolist(), strict=True):
        for caption in mine:
            fits[caption].add(mode)
    return Drawings(tuple(found.tolist()), frozenset(caption for caption, of in fits.items() if len(of - {OPEN}) > 1))


def k_means(points: Float[Tensor, "n d"], k: int) -> Int[Tensor, " n"]:
    """The cluster of each point: of RESTARTS seeded starts (k-means++, Arthur and Vassilvitskii 2007) the tightest clustering."""
    best, least = None, float("inf")
    for seed in range(RESTARTS):
        random = torch.Generator().manual_seed(seed)
        centres = points[torch.randint(len(points), (1,), generator=random)]
        for _ in range(k - 1):
            squared = torch.cdist(points, centres).amin(1).square()
            centres = torch.cat([centres, points[torch.multinomial(squared + 1e-12, 1, generator=random)]])
        for _ in range(ROUNDS):
            cluster = torch.cdist(points, centres).argmin(1)
            moved = torch.stack([points[cluster == j].mean(0) if (cluster == j).any() else centres[j] for j in range(k)])
            if torch.equal(moved, centres):
                break
            centres = moved
        squared = float(torch.cdist(points, centres).amin(1).square().sum())
        if squared < least:
            best, least = torch.cdist(points, centres).argmin(1), squared
    return best
