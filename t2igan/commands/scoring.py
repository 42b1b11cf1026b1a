"""What the scripts of eval/ that score by a published protocol have in common: options, and the evaluation."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from t2igan.commands.arguments import check_result, check_seed, check_truncation
from t2igan.errors import UserError

METRICS = ("fid", "kid", "inception_score", "sfid", "rfid", "precision_recall", "fdd", "cmmd", "clip_score", "r_precision")
WEIGHTED = ("inception", "vgg16", "dinov2", "clip", "clip_336")
FOR_MODELS = ("captions", "seed", "truncation", "batch")  # options that do not apply to --pictures


def add_options(parser: argparse.ArgumentParser, images: int, metrics: Sequence[str]) -> None:
    """Every option but the reference.

    Args:
        images: that the protocol generates.
        metrics: the default.
    """
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--model", type=Path, help="run folder")
    source.add_argument("--pictures", help="shards of images generated elsewhere; metrics of captions need one of each")
    parser.add_argument("--extractor", choices=("torch_fidelity", "clean_fid"), help="the resize before Inception, if not as published")
    parser.add_argument("--metrics", nargs="+", default=list(metrics), choices=METRICS, metavar="METRIC", help=", ".join(METRICS))
    parser.add_argument(
        "--weights", nargs="+", default=[], metavar="NETWORK=WHAT", help=f"file, local-dir:FOLDER or tag for {', '.join(WEIGHTED)}"
    )
    parser.add_argument("--captions", type=Path, help="a recorded list, one caption per line, instead of sampled ones")
    parser.add_argument("--count", type=int, help=f"images (published: {images})")
    parser.add_argument("--seed", type=int, help="of the captions and the latents (default: 0)")
    parser.add_argument("--truncation", type=float, help="(published: 1)")
    parser.add_argument("--batch", type=int, help="images generated at a time, 50 at most (default: 25)")
    parser.add_argument("--force", action="store_true", help="compute distances of fewer images than features have dimensions")
    parser.add_argument("--out", type=Path, required=True, help="result.json to write")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")


def evaluate(arguments: argparse.Namespace, protocol: str) -> None:
    """Scores what the options name against `data`, in all processes; writes and prints the result in the main one.

    Raises:
        UserError: options contradict each other, or as `Evaluation.run`.
    """
    check_result(arguments.out)
    if arguments.truncation is not None:
        check_truncation("--truncation", arguments.truncation)
    if arguments.seed is not None:
        check_seed("--seed", arguments.seed)
    options = {name: getattr(arguments, name) for name in FOR_MODELS if getattr(arguments, name) is not None}
    if arguments.pictures and options:
        raise UserError(f"--{next(iter(options))} applies to --model; the shards of --pictures hold images with their captions")

    from t2igan.evaluation.by_protocol import Evaluation, Settings, table
    from t2igan.evaluation.networks import parse_weights
    from t2igan.evaluation.reference import read_reference, read_shards
    from t2igan.evaluation.sampling import GeneratedImages, StoredImages
    from t2igan.files import write_json
    from t2igan.metrics.chunks import distributed_state
    from t2igan.metrics.protocol import PROTOCOLS

    state = distributed_state()
    try:
        images = StoredImages(arguments.pictures) if arguments.pictures else GeneratedImages(arguments.model, **options)
        chosen = PROTOCOLS[protocol].with_extractor(arguments.extractor)
        reference = read_shards(arguments.data) if chosen.largest is None else read_reference(Path(arguments.data))
        weights, metrics = parse_weights(arguments.weights), tuple(arguments.metrics)
        settings = Settings(images, reference, chosen, arguments.out, metrics, weights, arguments.count, arguments.force)
        result = Evaluation(settings, state).run()
    except UserError as error:
        where = f"process {state.process_index}: " if state.num_processes > 1 else ""  # what one process meets, the others do not know
        raise UserError(f"{where}{error}") from None
    if state.is_main_process:
        write_json(arguments.out, result)
        print(table(result))
    state.destroy_process_group()
