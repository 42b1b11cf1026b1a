"""Whether captions matter to a trained system: to its discriminator, and to what it draws.

    python eval/text_matters.py --model runs/emoji_64 --data data/emoji_64/train --scorer runs/scorer_64 --out result.json

D is that of the run's newest checkpoint, asked about real pictures with their own caption and with that of another thing. Pictures are
drawn for `--prompts` names and several seeds each; distances and retrieval are in the features of a CLIP that took no part in the training.
"""

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # runs from a clone that is not installed

from t2igan.errors import UserError, run_script

SEEDS = 8
SHOWN = 8  # prompts in the picture
CANDIDATES = 100
BATCH = 32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True, help="run folder, with a checkpoint")
    parser.add_argument("--data", required=True, help="shards of captioned pictures")
    parser.add_argument("--scorer", type=Path, required=True, help="CLIP folder made by data_prep/train_clip.py")
    parser.add_argument("--prompts", type=int, default=100, help="names that are drawn (default: %(default)s)")
    parser.add_argument("--pictures", type=int, default=512, help="real pictures that D is asked about (default: %(default)s)")
    parser.add_argument("--out", type=Path, required=True, help="result.json to write")
    parser.add_argument("--picture", type=Path, help="grid to write: a row per prompt, a column per seed")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    arguments = parser.parse_args()
    if min(arguments.prompts, arguments.pictures) < 2:
        raise UserError("--prompts and --pictures need 2 or more")

    from t2igan.features.open_clip import ClipScorer
    from t2igan.inference.pipeline import Pipeline
    from t2igan.text.cache import default_cache

    pipeline = Pipeline.load(arguments.model, cache=default_cache())
    scorer = ClipScorer(f"local-dir:{arguments.scorer}", cache=default_cache())
    scorer.load_pretrained()
    result = {"discriminator": judged(arguments.model, arguments.data, arguments.pictures)}
    result["generator"], images, names = drawn(pipeline, scorer, arguments.data, arguments.prompts)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(result, indent=2) + "\n")
    print(table(result))
    if arguments.picture:
        from t2igan.data.images import to_pil
        from t2igan.grids import grid

        chosen = range(0, len(names), -(-len(names) // SHOWN))
        arguments.picture.parent.mkdir(parents=True, exist_ok=True)
        grid([[to_pil(image) for image in images[i]] for i in chosen], [names[i] for i in chosen]).save(arguments.picture)
        print(arguments.picture)


def judged(run: Path, data: str, count: int) -> dict:
    """What D's verdict on a real picture owes to the caption."""
    import torch

    from t2igan.config import load_recipe
    from t2igan.data.shards import Shards, StepBatches
    from t2igan.objective.matching import mismatch
    from t2igan.pyramid import build_pyramid
    from t2igan.system import build_system
    from t2igan.text.cache import CaptionEncoder, default_cache
    from t2igan.training.checkpoint import Checkpoints

    recipe, latest = load_recipe(run), Checkpoints(run, 1).latest()
    if latest is None:
        raise UserError(f"{run} has no checkpoint, and so no discriminator; give the folder of a run that was trained here")
    system = build_system(recipe)
    D = system.discriminator
    D.load_state_dict(Checkpoints(run, 1).read(latest)[0]["discriminator"])
    D.prepare("cpu")
    D.requires_grad_(False).eval()
    system.text_encoder.load_pretrained()
    describe = CaptionEncoder(system.text_encoder, default_cache())
    dataset = StepBatches(Shards(data), recipe.resolution, BATCH, seed=0)
    own, other = [], []
    for step in range(-(-count // BATCH)):
        batch = dataset[step]
        text = describe(batch.names)
        open_drawing = torch.zeros(len(batch), dtype=torch.long)  # which drawing it is, D is not told
        text = type(text)(text.local, text.pooled, text.source, open_drawing)
        pairings = torch.arange(len(batch)), mismatch(batch.names, batch.names)
        verdicts = D(build_pyramid(batch.images, recipe.discriminator.network.inputs), text, *pairings)
        for found, verdict in zip((own, other), verdicts, strict=True):
            found.append(verdict.mean(lambda logit: logit))
    own, other = torch.cat(own), torch.cat(other)
    return {
        "real_pictures": len(own),
        "caption_sensitivity": (own - other).abs().mean().item(),  # E |D(x, c) - D(x, c')|
        "deviation_over_pictures": own.std().item(),
        "own_caption_more_real": (own > other).float().mean().item(),
    }


def drawn(pipeline, scorer, data: str, count: int):
    """(figures, pictures [names, seeds, 3, r, r], names)."""
    import torch

    from t2igan.data.shards import Shards
    from t2igan.metrics.retrieval import retrieval

    every = Shards(data).primary_captions()
    names = every[:: max(1, len(every) // count)][:count]
    images = pipeline.images(names, range(SEEDS)).unflatten(0, (len(names), SEEDS))
    with torch.no_grad():
        embedded = torch.cat([scorer.images(part) for part in images.flatten(0, 1).split(64)]).unflatten(0, (len(names), SEEDS))
    captions = scorer.text(names)
    candidates = min(CANDIDATES, len(names))
    right = [retrieval(embedded[:, seed], captions, list(range(len(names))), candidates)[1] for seed in range(SEEDS)]
    nearest = (embedded @ captions.T).argmax(2)  # the caption each picture is nearest to, of all
    truth = torch.arange(len(names))[:, None]
    figures = {
        "prompts": len(names),
        "seeds": SEEDS,
        "r_at_1": sum(right) / SEEDS,
        "candidates": candidates,
        "same_subject_over_seeds": (nearest == nearest.mode(1).values[:, None]).float().mean().item(),
        "all_seeds_right": (nearest == truth).all(1).float().mean().item(),
    }
    for name, values in (("pixels", images.flatten(2)), ("features", embedded)):
        figures[f"other_caption_same_seed_{name}"] = mean_distance(values.transpose(0, 1))
        figures[f"same_caption_other_seed_{name}"] = mean_distance(values)
    return figures, images, names


def mean_distance(groups) -> float:
    """Root mean square difference per value within groups [groups, members, values], over all pairs of two members."""
    import torch

    squares = torch.stack([torch.cdist(group, group).square().sum() for group in groups])
    members, values = groups.shape[1:]
    return (squares.mean() / (members * (members - 1)) / values).sqrt().item()


def table(result: dict) -> str:
    d, g = result["discriminator"], result["generator"]
    return "\n".join(
        [
            f"D on {d['real_pictures']} real pictures: mean |D(x, c) - D(x, c')| {d['caption_sensitivity']:.3f} (deviation of D(x, c) over "
            f"pictures {d['deviation_over_pictures']:.3f}); the own caption is the more real one on {d['own_caption_more_real']:.1%}",
            f"G, {g['prompts']} prompts x {g['seeds']} seeds: R@1 among {g['candidates']} {g['r_at_1']:.3f}; "
            f"seeds agree on the subject {g['same_subject_over_seeds']:.3f}; all seeds right for {g['all_seeds_right']:.3f} of the prompts",
            f"another caption, same seed: pictures differ by {g['other_caption_same_seed_pixels']:.3f} (features "
            f"{g['other_caption_same_seed_features']:.4f})",
            f"same caption, another seed: pictures differ by {g['same_caption_other_seed_pixels']:.3f} (features "
            f"{g['same_caption_other_seed_features']:.4f})",
        ]
    )


if __name__ == "__main__":
    run_script(main)
