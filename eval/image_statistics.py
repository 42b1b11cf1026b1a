"""ProGAN's statistics of a model's images: sliced Wasserstein distances of patches by level, and MS-SSIM between images.

    python eval/image_statistics.py --model RUN --data data/celebahq_256 --out RUN/statistics.json

The distances (x 1e3, smaller is better) compare 7x7 patches of generated and real images at every level of a Laplacian pyramid; beside them
stand those of one half of the real images against the other. MS-SSIM is the mean over random pairs of images: above that of the real ones,
a model lacks variety. RUN/statistics.png shows patches. Karras et al. 2018 (section 5) take 16,384 images and 10,000 pairs.
"""

import argparse
from pathlib import Path

from t2igan.commands.arguments import check_result, check_truncation
from t2igan.errors import UserError, run_script


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="run folder")
    parser.add_argument("--data", required=True, help="shards of real images; a model with text takes their captions as prompts")
    parser.add_argument("--count", type=int, default=16_384, help="images of each set (default: %(default)s)")
    parser.add_argument("--pairs", type=int, default=10_000, help="of images, for MS-SSIM (default: %(default)s)")
    parser.add_argument("--truncation", type=float, default=1.0)
    parser.add_argument("--out", type=Path, required=True, help="result.json to write; the picture goes beside it")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    arguments = parser.parse_args()
    check_result(arguments.out)
    check_truncation("--truncation", arguments.truncation)
    if arguments.pairs < 1:
        raise UserError(f"--pairs is {arguments.pairs}, needs 1 or more")

    from t2igan.data.images import save_image
    from t2igan.evaluation.image_statistics import image_statistics
    from t2igan.files import write_json
    from t2igan.inference.pipeline import Pipeline
    from t2igan.metrics.chunks import distributed_state
    from t2igan.text.cache import default_cache

    pipeline = Pipeline.load(arguments.model, distributed_state().device, default_cache())
    found = image_statistics(pipeline, arguments.data, arguments.count, arguments.pairs, arguments.truncation)
    write_json(arguments.out, found.result)
    save_image(found.image, arguments.out.with_suffix(".png"))
    distances, floor = found.result["sliced_wasserstein"], found.result["sliced_wasserstein_of_halves_of_real"]
    for level, value in distances.items():
        name = level if level == "mean" else f"{level} px"
        print(f"{'sliced Wasserstein, ' + name:32} {value:8.2f}   (halves of the real images {floor[level]:.2f})")
    similarity = found.result["ms_ssim"]
    print(f"{'MS-SSIM between images':32} {similarity['generated']:8.4f}   (real images {similarity['real']:.4f})")


if __name__ == "__main__":
    run_script(main)
