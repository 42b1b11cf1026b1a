"""The mean features of every class of a labelled set, which StyleGAN-XL's class embeddings begin with.

    python data_prep/class_embeddings.py --recipe configs/stylegan_xl_imagenet_16.yaml --data data/imagenet_256/train \
        --weights hf-hub:timm/tf_efficientnet_lite0.in1k --out weights/imagenet_class_embeddings.safetensors

The recipe names the classes. Any model of timm serves: its width stands in the recipe as embedding_width.
"""

import argparse
from pathlib import Path

from t2igan.errors import UserError, run_script


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", type=Path, required=True, help="whose text section names the classes")
    parser.add_argument("--data", required=True, help="labelled shards")
    parser.add_argument("--model", default="tf_efficientnet_lite0", help="a model of timm (default: %(default)s)")
    parser.add_argument("--weights", required=True, help="its file, or hf-hub:ORG/REPO")
    parser.add_argument("--layer", type=int, default=4, help="which of its maps is averaged (default: %(default)s, the coarsest)")
    parser.add_argument("--size", type=int, default=224, help="px, at which images are read (default: %(default)s)")
    parser.add_argument("--out", type=Path, required=True, help=".safetensors to write")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    arguments = parser.parse_args()
    if not arguments.out.resolve().parent.is_dir():
        raise UserError(f"no folder {arguments.out.parent} to write {arguments.out.name} to; make it first")

    from t2igan.data.class_embeddings import class_embeddings, save_class_embeddings
    from t2igan.data.shards import Shards  # here, because --help needs no torch
    from t2igan.features.image_maps import ImageMaps
    from t2igan.inference.device import default_device
    from t2igan.recipe import load_recipe

    layer = f"block{arguments.layer}"
    network = ImageMaps(arguments.weights, arguments.model, (layer,))
    network.load_pretrained()
    network.to(default_device())
    encoder = load_recipe(arguments.recipe).text.build()
    rows = class_embeddings(Shards(arguments.data), encoder, network, layer, arguments.size)
    save_class_embeddings(rows, arguments.out)
    print(f"{arguments.out}: {rows.shape[0]} classes, embedding_width {rows.shape[1]}")


if __name__ == "__main__":
    run_script(main)
