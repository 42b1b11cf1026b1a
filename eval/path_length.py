"""Perceptual path length: how fast a model's images change on the way from one latent to another.

    python eval/path_length.py --model RUN --prompts prompts.txt --out RUN/path_length.json
    python eval/path_length.py --model RUN --prompts prompts.txt --clip local-dir:CLIP --out RUN/path_length.json

A model without text takes no --prompts. RUN/path_length.png shows the shortest, the median and the longest way. The distance is LPIPS, as
in Karras et al. 2019, whose figures are of 100,000 pairs, --crop-faces; --clip uses the squared distance of CLIP embeddings instead, where
the weights of LPIPS are not at hand or images are too small for it. Later papers report --endpoint of 50,000 pairs, not cropped.
"""

import argparse
from pathlib import Path

from t2igan.commands.arguments import check_result, check_seed
from t2igan.errors import UserError, run_script


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="run folder")
    parser.add_argument("--prompts", type=Path, help="file with one prompt per line")
    parser.add_argument("--clip", help="local-dir:FOLDER, hf-hub:ORG/REPO or an open_clip name with its tag, NAME=TAG")
    parser.add_argument("--vgg16", type=Path, help="torchvision's weights for LPIPS, if not in torch hub's cache")
    parser.add_argument("--lpips", type=Path, help="the weights of LPIPS itself, if not in torch hub's cache")
    parser.add_argument("--count", type=int, default=1000, help="pairs of latents (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=16, help="pairs at a time (default: %(default)s)")
    parser.add_argument("--space", choices=("z", "w"), default="w", help="between latents, or between their styles (default: %(default)s)")
    parser.add_argument("--endpoint", action="store_true", help="measure at the first latent, not anywhere between")
    parser.add_argument("--crop-faces", action="store_true", help="compare the middle of images, where FFHQ's faces are")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, help="result.json to write; the picture goes beside it")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    arguments = parser.parse_args()
    check_result(arguments.out)
    check_seed("--seed", arguments.seed)
    if min(arguments.count, arguments.batch) < 1:
        raise UserError("--count and --batch need whole numbers above 0")

    from t2igan.data.images import save_image
    from t2igan.evaluation.path_length import PathSettings, clip_distance, lpips_distance, measure_path_length
    from t2igan.evaluation.prompts import prompts_for
    from t2igan.files import write_json
    from t2igan.inference.pipeline import Pipeline
    from t2igan.metrics.chunks import distributed_state
    from t2igan.text.cache import default_cache

    device = distributed_state().device
    pipeline = Pipeline.load(arguments.model, device, default_cache())
    prompts = prompts_for(pipeline, arguments.prompts)
    if arguments.clip:
        distance = clip_distance(arguments.clip, device)
    else:
        distance = lpips_distance(arguments.vgg16, arguments.lpips, device)
    settings = PathSettings(arguments.count, arguments.space, arguments.endpoint, arguments.crop_faces, arguments.seed)
    found = measure_path_length(pipeline, prompts, distance, settings, arguments.batch)
    write_json(arguments.out, found.result)
    save_image(found.image, arguments.out.with_suffix(".png"))
    print(f"path length {found.result['path_length']:.4f} in {settings.space} over {settings.count} pairs, {settings.where}")


if __name__ == "__main__":
    run_script(main)
