"""The mean feature of every class of a labelled set: what class embeddings begin with."""

from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor
from tqdm import tqdm

from t2igan.data.images import decode, to_signed
from t2igan.data.shards import Shards
from t2igan.errors import UserError
from t2igan.features.base import FeatureNetwork
from t2igan.text.encoder import TextEncoder

BATCH = 64


@torch.no_grad()
def class_embeddings(shards: Shards, encoder: TextEncoder, network: FeatureNetwork, layer: str, size: int) -> Float[Tensor, "classes c"]:
    """Means over the images of a class; maps are averaged over their places first.

    Args:
        encoder: labels to one-hot vectors.
        network: frozen, with `layer` among its features; images go to its device.
        size: px, at which images are read.

    Raises:
        UserError: the text has no classes, or a class has no image.
    """
    classes = encoder.num_classes
    if not classes:
        raise UserError("class embeddings need class labels; the recipe's text must be of kind label")
    sums, counts, device = None, torch.zeros(classes), next(network.parameters()).device
    for first in tqdm(range(0, len(shards), BATCH), "images", delay=5, disable=None, leave=False):
        images, numbers = [], []
        for number in range(first, min(first + BATCH, len(shards))):
            try:
                record = shards.read(number)
                images.append(decode(record.image, size))
            except (OSError, ValueError):
                continue
            numbers.append(int(encoder.tokenize(record.captions[:1]).ids[0, 0]))
        if not images:
            continue
        features = network(to_signed(torch.stack(images).to(device)))[layer].flatten(2).mean(2).double().cpu()
        sums = torch.zeros(classes, features.shape[1], dtype=torch.float64) if sums is None else sums
        sums.index_add_(0, torch.tensor(numbers), features)
        counts += torch.bincount(torch.tensor(numbers), minlength=classes)
    empty = [number for number, count in enumerate(counts.tolist()) if not count]
    if empty:
        raise UserError(f"{len(empty)} classes have no image, the first of them number {empty[0]}; give data of every class")
    return (sums / counts[:, None]).float()


def save_class_embeddings(rows: Float[Tensor, "classes c"], path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"class_embeddings": rows.contiguous()}, path)
