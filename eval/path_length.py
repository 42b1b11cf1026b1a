"""Perceptual path length: how fast a prompt's picture changes between two latents, along its styles.

    python eval/path_length.py --model RUN --prompts prompts.txt --out RUN/path_length.json
    python eval/path_length.py --model RUN --prompts prompts.txt --clip local-dir:CLIP --out RUN/path_length.json

The distance is LPIPS, as in Karras et al. 2019, whose models know no text; --clip takes the squared distance of embeddings in its place,
where LPIPS's weights are not at hand or pictures are too small for it.
"""

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # runs from a clone that is not installed

from t2igan.errors import UserError, run_script


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="run folder")
    parser.add_argument("--prompts", type=Path, required=True, help="file with one prompt per line")
    parser.add_argument("--clip", help="local-dir:FOLDER, hf-hub:ORG/REPO or an open_clip name with its tag, NAME=TAG")
    parser.add_argument("--vgg16", type=Path, help="torchvision's weights for LPIPS, if not in torch hub's cache")
    parser.add_argument("--lpips", type=Path, help="LPIPS's own weights, if not in torch hub's cache")
    parser.add_argument("--count", type=int, default=1000, help="pairs of latents (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=16, help="pairs at a time (default: %(default)s)")
    parser.add_argument("--endpoint", action="store_true", help="measure at the first latent, not anywhere between")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, help="result.json to write")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    arguments = parser.parse_args()
    if min(arguments.count, arguments.batch) < 1:
        raise UserError("--count and --batch need whole numbers above 0")
    if not arguments.prompts.is_file():
        raise UserError(f"no prompts at {arguments.prompts}; give a file with one prompt per line")
    result = measure(arguments)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(result, indent=2) + "\n")
    print(f"path length {result['path_length']:.4f} over {result['pairs']} pairs, {result['where']}")


def measure(arguments: argparse.Namespace) -> dict:
    import torch

    from t2igan.inference.pipeline import Pipeline, check_prompts
    from t2igan.metrics.chunks import distributed_state
    from t2igan.metrics.path_length import path_lengths, trimmed_mean
    from t2igan.text.cache import default_cache

    device = distributed_state().device
    try:
        prompts = [line.strip() for line in arguments.prompts.read_text(encoding="utf-8").splitlines() if line.strip()]
    except UnicodeDecodeError:
        raise UserError(f"{arguments.prompts} is not UTF-8 text; save it as UTF-8") from None
    check_prompts(prompts)
    network, distance = clip_distance(arguments.clip, device) if arguments.clip else lpips_distance(arguments, device)
    pipeline = Pipeline.load(arguments.model, device, default_cache())
    drawn = torch.Generator().manual_seed(arguments.seed)
    z = torch.randn(arguments.count, 2, pipeline.generator.mapper.z_dim, generator=drawn)
    at = torch.rand(arguments.count, generator=drawn) * (not arguments.endpoint)

    lengths = []
    for start in range(0, arguments.count, arguments.batch):
        part = slice(start, start + arguments.batch)
        said = [prompts[i % len(prompts)] for i in range(arguments.count)[part]]
        text = pipeline.describe(said).to(device)
        lengths.append(path_lengths(pipeline.generator, text, z[part].to(device), distance, at[part].to(device)).cpu())
    where = "at the first latent" if arguments.endpoint else "anywhere between two latents"
    facts = {"pairs": arguments.count, "where": where, "prompts": len(prompts), "distance": network, "seed": arguments.seed}
    return {"path_length": trimmed_mean(torch.cat(lengths))} | facts


def clip_distance(clip: str, device):
    """(what it is, function of two batches of pictures)."""
    from t2igan.features.open_clip import ClipScorer
    from t2igan.text.cache import default_cache

    name, _, tag = clip.partition("=")
    scorer = ClipScorer(name, tag or None, default_cache())
    scorer.load_pretrained()
    scorer.to(device)

    def distance(a, b):
        return (scorer.images(a).double() - scorer.images(b).double()).square().sum(1)

    return f"CLIP {scorer.digest}", distance


def lpips_distance(arguments: argparse.Namespace, device):
    from t2igan.features.lpips import Lpips

    lpips = Lpips(arguments.vgg16, arguments.lpips)
    lpips.load_pretrained()
    lpips.to(device)
    return f"LPIPS {lpips.digest}", lambda a, b: lpips(a, b).double()


if __name__ == "__main__":
    run_script(main)
