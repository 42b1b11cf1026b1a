"""Does a model repeat its training pictures? Each generated picture beside the nearest one of the training shards.

    python eval/neighbours.py --model RUN --data data/mine/train --held-out data/mine/held_out --clip local-dir:CLIP --out RUN/near.json

Captions of the training shards are drawn; distances are between CLIP embeddings of unit length. A distance says little alone: beside it
stands that of real pictures which training has not seen, where --held-out gives some. The picture, RUN/near.png, shows the
generated pictures that come closest to training, each with its neighbour: a model that copies shows the same picture twice.
"""

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # runs from a clone that is not installed

from t2igan.errors import UserError, run_script

SHOWN = 12  # pairs in the picture
SEED = 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="run folder")
    parser.add_argument("--data", required=True, help="the shards that the model was trained on")
    parser.add_argument("--held-out", help="shards of the same kind that it was not trained on")
    parser.add_argument("--clip", required=True, help="local-dir:FOLDER, hf-hub:ORG/REPO or an open_clip name with its tag, NAME=TAG")
    parser.add_argument("--count", type=int, default=500, help="pictures to draw (default: %(default)s)")
    parser.add_argument("--truncation", type=float, default=1.0)
    parser.add_argument("--out", type=Path, required=True, help="result.json to write; the picture goes beside it")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    arguments = parser.parse_args()
    if arguments.count < SHOWN:
        raise UserError(f"--count is {arguments.count}, needs {SHOWN} or more")
    result, picture = compare(arguments)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(result, indent=2) + "\n")
    picture.save(arguments.out.with_suffix(".png"))
    for name, value in result["distance"].items():
        print(f"{name.replace('_', ' '):40} {value:.4f}")
    print(f"picture: {arguments.out.with_suffix('.png')}")


def compare(arguments: argparse.Namespace):
    """(result, picture)."""
    import torch

    from t2igan.data.images import to_bytes, to_signed
    from t2igan.data.order import hashed, shuffled
    from t2igan.features.open_clip import ClipScorer
    from t2igan.inference.pipeline import Pipeline
    from t2igan.metrics.chunks import distributed_state
    from t2igan.metrics.diversity import nearest
    from t2igan.text.cache import default_cache

    name, _, tag = arguments.clip.partition("=")
    network = ClipScorer(name, tag or None, default_cache())
    network.load_pretrained()
    state = distributed_state()
    network.to(state.device)
    pipeline = Pipeline.load(arguments.model, state.device, default_cache())
    training, embeddings = embed(arguments.data, pipeline.resolution, network, state)
    positions = shuffled(torch.arange(arguments.count).numpy(), len(training), SEED)
    records = [training.shards.read(int(number)) for number in positions]
    picks = hashed(SEED, positions, 1)
    captions = [record.captions[int(pick) % len(record.captions)] for record, pick in zip(records, picks, strict=True)]
    images = to_bytes(pipeline.each(captions, range(arguments.count), arguments.truncation))
    with torch.no_grad():
        drawn = torch.cat([network(to_signed(part.to(state.device)))["embedding"].cpu() for part in images.split(50)])
    distances, neighbours = nearest(drawn, embeddings)
    distance = {"generated_to_training_mean": float(distances.mean()), "generated_to_training_least": float(distances.min())}
    if arguments.held_out:
        _, held_out = embed(arguments.held_out, pipeline.resolution, network, state)
        own = nearest(held_out, embeddings)[0]
        distance |= {"held_out_to_training_mean": float(own.mean()), "held_out_to_training_least": float(own.min())}
        distance["share_of_generated_nearer_than_any_held_out"] = float((distances < own.min()).float().mean())
    closest = distances.argsort()[:SHOWN].tolist()
    result = {"distance": distance, "pictures": arguments.count, "training_pictures": len(training), "network": network.provenance()}
    result["closest"] = [
        {"caption": captions[i], "seed": i, "training_picture": int(neighbours[i]), "distance": float(distances[i])} for i in closest
    ]
    return result, pairs(images[closest], training, neighbours[closest].tolist(), [captions[i] for i in closest])


def embed(pattern: str, side: int, network, state):
    """(pictures of shards, their embeddings), the latter kept in the cache by content."""
    import torch

    from t2igan.data.shards import Shards
    from t2igan.metrics.chunks import read_features
    from t2igan.metrics.images import ImageSet
    from t2igan.text.cache import default_cache

    pictures = ImageSet(Shards(pattern), side, one_size=False)
    folder = default_cache() / "reference" / pictures.key(network)
    pictures.extract(network, folder, state, "embedding")
    return pictures, torch.cat(list(read_features(folder, "embedding", len(pictures))))


def pairs(images, training, neighbours: list[int], captions: list[str]):
    """Generated pictures, each with its neighbour to the right."""
    from PIL import Image

    from t2igan.grids import sheet

    shown, said = [], []
    for image, neighbour, caption in zip(images, neighbours, captions, strict=True):
        real = training.read(range(neighbour, neighbour + 1))[0]
        shown += [Image.fromarray(side.permute(1, 2, 0).numpy()) for side in (image, real)]
        said += [caption, "nearest in training"]
    return sheet(shown, said, columns=8, scale=max(1, 96 // shown[0].width))


if __name__ == "__main__":
    run_script(main)
