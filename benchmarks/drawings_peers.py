"""What a user would take instead of a recipe for the drawings, trained on the same images and text encoder for the same minutes.

    pip install --no-deps -r benchmarks/requirements.txt
    python benchmarks/drawings_peers.py configs/ablations/drawings_32.yaml --minutes 15 --data data/drawings_64 \\
        --scorer models/drawings_scorer --ours runs/ablation/base/run/result.json --out runs/peers

The peers are a flow-matching U-Net of diffusers (benchmarks/flow.py), sampled in 1, 4 and 16 steps, and PyPI's gigagan-pytorch, as released
and with its captions mended (benchmarks/gigagan_peer_training.py). eval/drawings.py scores ours, the same code scores them. The result is
OUT/result.json, OUT/table.md and, for each, a picture of the recipe's prompts. What is finished is kept: an interrupted comparison goes on
where it stopped.
"""

import argparse
import json
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.ablation import flat, table  # noqa: E402
from benchmarks.flow import FlowSampler  # noqa: E402
from benchmarks.lineage import STEPS, flow_command  # noqa: E402
from benchmarks.seeds import launch  # noqa: E402
from t2igan.errors import UserError, run_script  # noqa: E402

FLOW, RELEASED, MENDED = "flow", "gigagan-pytorch", "gigagan-pytorch-own-captions"
SEEDS = 4  # images of each prompt in a picture


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path, help="whose images, text encoder, resolution and batch the peers take")
    parser.add_argument("--minutes", type=float, required=True, help="of each training")
    parser.add_argument("--peers", nargs="+", choices=(FLOW, RELEASED, MENDED), default=[FLOW, RELEASED, MENDED], help="default: all")
    parser.add_argument("--data", type=Path, required=True, help="folder made by data_prep/drawings.py")
    parser.add_argument("--scorer", type=Path, required=True, help="CLIP folder made by data_prep/train_clip.py")
    parser.add_argument("--ours", type=Path, help="result.json of eval/drawings.py, for the table's first row")
    parser.add_argument("--cores", type=int, default=min(2, os.cpu_count() or 1), help="that a training takes (default: %(default)s)")
    parser.add_argument("--out", type=Path, required=True, help="folder for runs, pictures, result.json and table.md")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    arguments = parser.parse_args()
    if arguments.minutes <= 0:
        raise UserError(f"--minutes is {arguments.minutes:g}, needs a number above 0")
    for path in (arguments.data, arguments.scorer, arguments.ours):
        if path and not path.exists():
            raise UserError(f"there is no {path}")
    from t2igan.recipe import load_recipe

    recipe = load_recipe(arguments.recipe)
    for name in arguments.peers:
        run = arguments.out / name
        if not (run / "trained.json").is_file():
            threads = arguments.cores if name != FLOW else 1
            quiet = {"OMP_NUM_THREADS": str(threads), "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(ROOT)}
            launch(train_command(name, arguments.recipe, arguments.minutes, arguments.cores, run), os.environ | quiet)
        for label, sampler in samplers(name, recipe, run):
            score(label, sampler, run, recipe, arguments)
            write(arguments.out, arguments.ours)
    print((arguments.out / "table.md").read_text(), end="")


def train_command(name: str, recipe: Path, minutes: float, cores: int, run: Path) -> list[str]:
    if name == FLOW:
        return flow_command(recipe, minutes, cores, run)
    command = [sys.executable, str(ROOT / "benchmarks/gigagan_peer_training.py"), str(recipe), "--minutes", str(minutes), "--out", str(run)]
    return [*command, "--own-captions"] if name == MENDED else command


def samplers(name: str, recipe, run: Path):
    """(label, sampler), one for each way to draw with what `name` trained."""
    if name == FLOW:
        for steps in STEPS:
            yield f"{FLOW}, {steps} step{'s' if steps > 1 else ''}", FlowSampler.load(recipe, run, steps)
    else:
        from benchmarks.gigagan_peer_training import PeerSampler

        yield name, PeerSampler.load(recipe, run)


def score(label: str, sampler, run: Path, recipe, arguments: argparse.Namespace) -> None:
    from t2igan.data.images import save_image, to_pil
    from t2igan.evaluation.drawings import DrawingScores
    from t2igan.evaluation.networks import load_clip
    from t2igan.files import write_json
    from t2igan.grids import sheet
    from t2igan.metrics.chunks import distributed_state
    from t2igan.text.cache import default_cache

    file = scores_file(arguments.out, label)
    if file.is_file():
        return
    state, cache = distributed_state(), default_cache()
    clip = load_clip(f"local-dir:{arguments.scorer}", state.device, cache)
    result, _ = DrawingScores(arguments.data, recipe.resolution, clip, sampler, state, cache).run()
    prompts = [prompt for prompt in recipe.training.prompts for _ in range(SEEDS)]
    drawn = [to_pil(image) for image in sampler.sample_tensor(list(recipe.training.prompts), list(range(SEEDS)))]
    file.parent.mkdir(parents=True, exist_ok=True)
    save_image(sheet(drawn, prompts, columns=2 * SEEDS), file.with_suffix(".png"))
    facts = json.loads((run / "trained.json").read_text())
    write_json(
        file, {"label": label, "images_seen": facts["images"], "minutes": facts["minutes"], "parameters": facts["parameters"]} | result
    )


def scores_file(out: Path, label: str) -> Path:
    return out / "scores" / (label.replace(", ", "_").replace(" ", "_") + ".json")


def write(out: Path, ours: Path | None) -> None:
    """result.json and table.md of everything that is finished."""
    from t2igan.files import write_json, write_text

    found = [json.loads(file.read_text()) for file in sorted((out / "scores").glob("*.json"))]
    rows = {scores["label"]: flat(scores) for scores in found}
    if ours:
        rows = {"ours": flat(json.loads(ours.read_text()))} | rows
    write_json(out / "result.json", rows)
    write_text(out / "table.md", table(rows))


if __name__ == "__main__":
    run_script(main)
