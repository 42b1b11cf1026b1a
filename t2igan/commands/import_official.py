"""`t2igan import`: a pickle of a StyleGAN release to a model folder, without running what it carries."""

import argparse
from pathlib import Path

from t2igan.errors import UserError

HELP = "an official StyleGAN2 or StyleGAN3 pickle to a model, without running the code in it"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("pickle", type=Path, help="file such as stylegan2-ffhq-256x256.pkl")
    parser.add_argument("--network", default="G_ema", help="which of the file's networks (default: G_ema, the averaged generator)")
    parser.add_argument("--names", type=Path, help="file with the name of a class per line, for a class-conditional model")
    parser.add_argument("--out", type=Path, required=True, help="new folder for the model")


def run(arguments: argparse.Namespace) -> None:
    taken = next((name for name in ("recipe.yaml", "checkpoints", "model") if (arguments.out / name).exists()), None)
    if taken:
        raise UserError(f"--out {arguments.out} holds a run or a model already ({taken}); choose another folder")

    from t2igan.official.load import import_pickle
    from t2igan.plain_text import read_lines

    names = tuple(read_lines(arguments.names)) if arguments.names else ()
    what = import_pickle(arguments.pickle, arguments.out, arguments.network, names)
    print(f"{what}: {arguments.out / 'model'}")
