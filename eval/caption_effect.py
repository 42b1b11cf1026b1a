"""How much captions matter to a trained system: to the logits of its discriminator, and to the images of its generator.

    python eval/caption_effect.py --model runs/emoji_64 --data data/emoji_64/train --scorer runs/scorer_64 --out result.json

The discriminator is that of the run's newest checkpoint; its logits for real images with their true caption are compared with those for
another caption. Images are generated for `--prompts` captions and several seeds each; distances and retrieval use the features of a CLIP
that took no part in the training.
"""

import argparse
from pathlib import Path

from t2igan.commands.arguments import check_picture, check_result
from t2igan.errors import UserError, run_script


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True, help="run folder, with a checkpoint")
    parser.add_argument("--data", required=True, help="shards of captioned images")
    parser.add_argument("--scorer", type=Path, required=True, help="CLIP folder made by data_prep/train_clip.py")
    parser.add_argument("--prompts", type=int, default=100, help="captions that images are generated for (default: %(default)s)")
    parser.add_argument("--pictures", type=int, default=512, help="real images for the discriminator (default: %(default)s)")
    parser.add_argument("--out", type=Path, required=True, help="result.json to write")
    parser.add_argument("--picture", type=Path, help="grid to write: a row per prompt, a column per seed")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    arguments = parser.parse_args()
    check_result(arguments.out)
    check_picture(arguments.picture)
    if min(arguments.prompts, arguments.pictures) < 2:
        raise UserError("--prompts and --pictures need 2 or more")

    import torch

    from t2igan.data.images import save_image
    from t2igan.evaluation.caption_effect import discriminator_effect, generator_effect, table
    from t2igan.features.open_clip import ClipScorer
    from t2igan.files import write_json
    from t2igan.inference.pipeline import Pipeline
    from t2igan.recipe import load_recipe
    from t2igan.system import build_system
    from t2igan.text.cache import default_cache
    from t2igan.training.checkpoint import Checkpoints
    from t2igan.types import PrepareContext

    pipeline = Pipeline.load(arguments.model, cache=default_cache())
    clip = ClipScorer(f"local-dir:{arguments.scorer}", cache=default_cache())
    clip.load_pretrained()

    recipe, checkpoints = load_recipe(arguments.model), Checkpoints(arguments.model, 1)
    latest = checkpoints.latest()
    if latest is None:
        raise UserError(f"{arguments.model} has no checkpoint, and so no discriminator; give the folder of a run that was trained here")
    D = build_system(recipe).discriminator
    D.prepare(PrepareContext(torch.device("cpu"), list, None))
    D.load_state_dict(checkpoints.read(latest)[0]["discriminator"])
    of_d = discriminator_effect(D, pipeline.encode_text, recipe.resolution, arguments.data, arguments.pictures)
    of_g = generator_effect(pipeline, clip, arguments.data, arguments.prompts)
    result = {"discriminator": of_d, "generator": of_g.figures}
    write_json(arguments.out, result)
    print(table(result))
    if arguments.picture:
        save_image(of_g.grid(), arguments.picture)
        print(arguments.picture)


if __name__ == "__main__":
    run_script(main)
