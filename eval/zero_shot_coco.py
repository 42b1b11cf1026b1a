"""Zero-shot COCO by the protocols of StyleGAN-T and GigaGAN: generates images for 30,000 captions of val2014 and scores them.

    python eval/zero_shot_coco.py --model RUN --data data/coco_val2014 --protocol gigagan --weights clip=openai --out RUN/coco.json
    accelerate launch --num_processes 8 eval/zero_shot_coco.py ...      # the same numbers
    python eval/zero_shot_coco.py --pictures 'other/*.tar' --data ...   # images that another system generated

Images and features are kept beside the result, in the folder of its name, and are not made twice: an interrupted run resumes. Nothing is
downloaded unless --weights names it; docs/evaluation.md lists the file that each metric needs.
"""

import argparse
from pathlib import Path

from t2igan.commands.arguments import check_result, check_seed, check_truncation
from t2igan.errors import UserError, run_script

METRICS = ("fid", "kid", "inception_score", "sfid", "rfid", "precision_recall", "fdd", "cmmd", "clip_score", "r_precision")
WEIGHTED = ("inception", "vgg16", "dinov2", "clip", "clip_336")
FOR_MODELS = ("captions", "seed", "truncation", "batch")  # options that do not apply to --pictures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--model", type=Path, help="run folder")
    source.add_argument("--pictures", help="shards of images generated elsewhere, each with its caption")
    parser.add_argument("--data", type=Path, required=True, help="reference made by data_prep/coco.py")
    parser.add_argument("--protocol", required=True, choices=("stylegan_t", "gigagan"))
    parser.add_argument("--extractor", choices=("torch_fidelity", "clean_fid"), help="the resize before Inception, if not as published")
    parser.add_argument("--metrics", nargs="+", default=["fid", "clip_score"], choices=METRICS, metavar="METRIC", help=", ".join(METRICS))
    parser.add_argument(
        "--weights", nargs="+", default=[], metavar="NETWORK=WHAT", help=f"file, local-dir:FOLDER or tag for {', '.join(WEIGHTED)}"
    )
    parser.add_argument("--captions", type=Path, help="a recorded list, one caption per line, instead of sampled ones")
    parser.add_argument("--count", type=int, help="images (published: 30000)")
    parser.add_argument("--seed", type=int, help="of the captions and the latents (default: 0)")
    parser.add_argument("--truncation", type=float, help="(published: 1)")
    parser.add_argument("--batch", type=int, help="images generated at a time, 50 at most (default: 25)")
    parser.add_argument("--force", action="store_true", help="compute distances of fewer images than features have dimensions")
    parser.add_argument("--out", type=Path, required=True, help="result.json to write")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    arguments = parser.parse_args()
    check_result(arguments.out)
    if arguments.truncation is not None:
        check_truncation("--truncation", arguments.truncation)
    if arguments.seed is not None:
        check_seed("--seed", arguments.seed)
    options = {name: getattr(arguments, name) for name in FOR_MODELS if getattr(arguments, name) is not None}
    if arguments.pictures and options:
        raise UserError(f"--{next(iter(options))} applies to --model; the shards of --pictures hold images with their captions")

    from t2igan.evaluation.networks import parse_weights
    from t2igan.evaluation.sampling import GeneratedImages, StoredImages
    from t2igan.evaluation.zero_shot import Settings, ZeroShot, table
    from t2igan.files import write_json
    from t2igan.metrics.chunks import distributed_state
    from t2igan.metrics.protocol import PROTOCOLS

    state = distributed_state()
    try:
        images = StoredImages(arguments.pictures) if arguments.pictures else GeneratedImages(arguments.model, **options)
        protocol = PROTOCOLS[arguments.protocol].with_extractor(arguments.extractor)
        weights, metrics = parse_weights(arguments.weights), tuple(arguments.metrics)
        settings = Settings(images, arguments.data, protocol, arguments.out, metrics, weights, arguments.count, arguments.force)
        result = ZeroShot(settings, state).run()
    except UserError as error:
        where = f"process {state.process_index}: " if state.num_processes > 1 else ""  # what one process meets, the others do not know
        raise UserError(f"{where}{error}") from None
    if state.is_main_process:
        write_json(arguments.out, result)
        print(table(result))
    state.destroy_process_group()


if __name__ == "__main__":
    run_script(main)
