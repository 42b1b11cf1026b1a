"""Scores a run on the emoji splits with a CLIP that took no part in its training.

    python eval/emoji.py --model runs/demo --data data/emoji_32 --scorer runs/scorer_32 --out runs/demo/result.json

Every figure stands beside what real pictures reach through the same code: retrieval accuracy of training concepts, of colour x thing
compositions kept out in every style, of concepts kept out whole and of (concept, style) pairs; the Fréchet distance in its features;
the spread of one prompt's pictures against the spread of the real styles, with how many real styles they cover; and how close pictures
come to training pictures.
"""

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # runs from a clone that is not installed

from t2igan.errors import UserError, run_script

CANDIDATES = 100
SEEDS = 8  # pictures per prompt for spread and coverage
GRID_SEED = 0
SPLITS = ("train", "held_out_pairs", "held_out_compositions", "held_out_concepts")
COMPETING = ("held_out_compositions", "held_out_concepts")  # splits of which all names are always among the candidates


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True, help="run folder")
    parser.add_argument("--data", type=Path, required=True, help="folder made by data_prep/emoji.py")
    parser.add_argument(
        "--scorer", type=Path, required=True, help="CLIP folder made by data_prep/train_clip.py with another seed and architecture"
    )
    parser.add_argument("--out", type=Path, required=True, help="result.json to write")
    parser.add_argument("--picture", type=Path, help="grid of pictures to write")
    parser.add_argument("--truncation", type=float, default=1.0)
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    arguments = parser.parse_args()

    from t2igan.features.open_clip import ClipScorer
    from t2igan.inference.pipeline import Pipeline
    from t2igan.text.cache import default_cache

    ran = facts(arguments.model)
    pipeline = Pipeline.load(arguments.model, cache=default_cache())
    scorer = ClipScorer(f"local-dir:{arguments.scorer}", cache=default_cache())
    scorer.load_pretrained()
    result = Benchmark(arguments.data, scorer, pipeline, arguments.truncation).run() | ran
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(result, indent=2) + "\n")
    print(table(result))
    if arguments.picture:
        picture(arguments.data, pipeline, arguments.truncation).save(arguments.picture)
        print(f"grid: {arguments.picture}")


def read_split(folder: Path, size: int):
    """(pictures in [-1, 1], metas with a `name`) of one split."""
    import torch

    from t2igan.data.images import decode, to_signed
    from t2igan.data.shards import Shards

    shards = Shards(str(folder))
    records = [shards.read(i) for i in range(len(shards))]
    metas = [record.meta | {"name": record.captions[0]} for record in records]
    return to_signed(torch.stack([decode(record.image, size) for record in records])), metas


class Benchmark:
    """One model, one scorer, one set of splits."""

    def __init__(self, data: Path, scorer, pipeline, truncation: float):
        missing = [name for name in SPLITS if not (data / name).is_dir()]
        if missing:
            raise UserError(f"{data} has no {missing[0]!r} split; give a folder made by data_prep/emoji.py")
        self.scorer, self.pipeline, self.truncation = scorer, pipeline, truncation
        self.metas, self.real = {}, {}
        for name in SPLITS:
            pictures, self.metas[name] = read_split(data / name, pipeline.resolution)
            self.real[name] = self.embed(pictures)
        self.styles = sorted({meta["style"] for meta in self.metas["train"]})
        if len(self.styles) < 2:
            raise UserError("the data has one style only: the spread between styles needs two or more (data_prep/emoji.py --styles ...)")
        self.names = sorted({meta["name"] for metas in self.metas.values() for meta in metas})
        self.captions = scorer.text(self.names)

    def embed(self, pictures):
        import torch

        with torch.no_grad():
            return torch.cat([self.scorer.images(part) for part in pictures.split(64)])

    def draw(self, prompts: list[str], seeds) -> object:
        """Embeddings [prompts, seeds, d] of generated pictures."""
        embedded = self.embed(self.pipeline.images(prompts, list(seeds), self.truncation))
        return embedded.unflatten(0, (len(prompts), -1))

    def run(self) -> dict:
        from t2igan.metrics.frechet import frechet_distance

        split_names = {split: sorted({meta["name"] for meta in metas}) for split, metas in self.metas.items()}
        # Pictures of training concepts: as many per concept as there are real ones on average, so that Fréchet compares equal counts
        per_concept = round(len(self.metas["train"]) / len(split_names["train"]))
        generated = {
            split: self.draw(names, range(max(2, per_concept))) for split, names in split_names.items() if split != "held_out_pairs"
        }
        result = {split: self.retrieval(split, split_names[split], generated[split]) for split in generated}
        pairs = self.metas["held_out_pairs"]
        styled = self.draw([meta["captions_styled"][0] for meta in pairs], [0])[:, 0]
        result["held_out_pairs"] = self.retrieval("held_out_pairs", [meta["name"] for meta in pairs], styled[:, None])
        fake = generated["train"].flatten(0, 1)
        by_style = [self.real["train"][[m["style"] == style for m in self.metas["train"]]] for style in self.styles]
        result["frechet"] = frechet_distance(fake, self.real["train"])
        half = len(self.real["train"]) // 2
        result["frechet_real"] = {
            "one half of the real pictures against the other": frechet_distance(self.real["train"][:half], self.real["train"][half:]),
            "one style against the others": frechet_distance(
                by_style[0], self.real["train"][[m["style"] != self.styles[0] for m in self.metas["train"]]]
            ),
        }
        result |= self.frechet_by_style(by_style)
        return result | self.spread(split_names["train"]) | self.neighbours(fake)

    def retrieval(self, split: str, names: list[str], generated) -> dict:
        """R@1 and R@5 of generated pictures [names, seeds, d], of the real ones, and of real ones held against another one's caption."""
        from t2igan.metrics.retrieval import retrieval

        position = {name: i for i, name in enumerate(self.names)}
        always = sorted({position[name] for name in names}) if split in COMPETING else []
        asked, shown = ([position[name] for name in part] for part in (names, [meta["name"] for meta in self.metas[split]]))
        rows = {
            "": (generated.flatten(0, 1), [name for name in asked for _ in range(generated.shape[1])]),
            "real_": (self.real[split], shown),
            "floor_": (self.real[split], [next(other for other in shown[i:] + shown if other != own) for i, own in enumerate(shown)]),
        }
        hits = {prefix: retrieval(images, self.captions, truth, CANDIDATES, always=always) for prefix, (images, truth) in rows.items()}
        return {f"{prefix}r_at_{k}": found[k] for prefix, found in hits.items() for k in (1, 5)} | {"candidates": CANDIDATES}

    def frechet_by_style(self, by_style: list) -> dict:
        """Pictures asked for in a style against the real ones of that style, and of the other styles."""
        from t2igan.metrics.frechet import frechet_distance

        own, other = [], []
        for i, style in enumerate(self.styles):
            captions = [meta["captions_styled"][0] for meta in self.metas["train"] if meta["style"] == style]
            drawn = self.draw(captions, [0])[:, 0]
            own.append(frechet_distance(drawn, by_style[i]))
            other += [frechet_distance(drawn, by_style[j]) for j in range(len(self.styles)) if j != i]
        return {"frechet_by_style": {"asked_for": sum(own) / len(own), "other_styles": sum(other) / max(len(other), 1)}}

    def spread(self, names: list[str]) -> dict:
        import torch

        from t2igan.metrics.diversity import coverage, spread

        rows = {name: [i for i, meta in enumerate(self.metas["train"]) if meta["name"] == name] for name in names}
        most = max(map(len, rows.values()))
        whole = [name for name in names if len(rows[name]) == most]  # concepts that are in training in every style
        real = torch.stack([self.real["train"][rows[name]] for name in whole])
        drawn = self.draw(whole, range(SEEDS))
        return {
            "diversity": {"generated": spread(drawn), "real": spread(real)},
            "style_coverage": {"generated": coverage(drawn, list(real)), "one_style_only": 1 / most, "styles": most, "seeds": SEEDS},
        }

    def neighbours(self, fake) -> dict:
        """How far generated pictures, and real ones kept out of training, are from their nearest training picture."""
        from t2igan.metrics.diversity import nearest

        real = self.real["held_out_pairs"]
        got = {"generated": nearest(fake, self.real["train"])[0], "real_held_out": nearest(real, self.real["train"])[0]}
        return {"nearest_training_picture": {name: float(distances.mean()) for name, distances in got.items()}}


def facts(model: Path) -> dict:
    """Pictures seen and minutes of training, from the run's own log."""
    log = model / "metrics.jsonl"
    if not log.is_file():
        raise UserError(f"{model} has no metrics.jsonl: give the run folder, not its model folder")
    records = []
    for line in log.read_text().splitlines():
        try:
            records.append(json.loads(line))
        except ValueError:
            continue  # the line a killed run was writing
    if not records:
        raise UserError(f"{model} has logged no step yet; let its training finish")
    # `seconds` starts again where a run was resumed: add up the ends of the stretches
    ends = [a["seconds"] for a, b in zip(records, records[1:], strict=False) if b["seconds"] < a["seconds"]] + [records[-1]["seconds"]]
    return {"images_seen": records[-1]["images"], "minutes": round(sum(ends) / 60, 2)}


def table(result: dict) -> str:
    lines = [f"{'among ' + str(CANDIDATES) + ' captions':28} {'R@1':>7} {'real':>7} {'ratio':>6}   {'R@5':>7} {'real':>7} {'ratio':>6}"]
    for split in SPLITS:
        s = result[split]
        cells = [f"{s[f'r_at_{k}']:7.3f} {s[f'real_r_at_{k}']:7.3f} {s[f'r_at_{k}'] / max(s[f'real_r_at_{k}'], 1e-9):6.2f}" for k in (1, 5)]
        lines.append(f"{split.replace('_', ' '):28} {'   '.join(cells)}")
    floors = ", ".join(f"R@{k} {sum(result[split][f'floor_r_at_{k}'] for split in SPLITS) / len(SPLITS):.3f}" for k in (1, 5))
    d, c, n, f = (result[key] for key in ("diversity", "style_coverage", "nearest_training_picture", "frechet_by_style"))
    real = ", ".join(f"{name} {value:.3f}" for name, value in result["frechet_real"].items())
    lines += [
        f"real pictures held against another one's caption, mean of the splits: {floors}",
        f"Fréchet distance {result['frechet']:.3f} ({real})",
        f"Fréchet distance by style: to the style asked for {f['asked_for']:.3f}, to the others {f['other_styles']:.3f}",
        f"diversity {d['generated']:.3f} of {d['real']:.3f} between real styles ({d['generated'] / d['real']:.2f})",
        f"style coverage over {c['seeds']} seeds {c['generated']:.2f} of {c['styles']} styles (one style only: {c['one_style_only']:.2f})",
        f"nearest training picture {n['generated']:.3f} (real pictures kept out: {n['real_held_out']:.3f})",
        f"{result['images_seen']} pictures seen in {result['minutes']} minutes",
    ]
    return "\n".join(lines)


def picture(data: Path, pipeline, truncation: float):
    """Training concepts, held-out compositions (marked *), and eight seeds of a few prompts, on one sheet."""
    from PIL import Image

    from t2igan.grids import grid, sheet

    splits = json.loads((data / "splits.json").read_text())
    train = splits["train"][:: max(1, len(splits["train"]) // 60)][:60]
    held_out = splits["held_out_compositions"][:12]
    scale = max(1, 64 // pipeline.resolution)
    pictures = [row[0] for row in pipeline(train + held_out, [GRID_SEED], truncation)]
    top = sheet(pictures, train + [f"*{name}" for name in held_out], columns=12, scale=scale)
    several = train[5::10][:6]
    bottom = grid(pipeline(several, range(SEEDS), truncation), several, scale)
    canvas = Image.new("RGB", (max(top.width, bottom.width), top.height + bottom.height), "white")
    canvas.paste(top, (0, 0))
    canvas.paste(bottom, (0, top.height))
    return canvas


if __name__ == "__main__":
    run_script(main)
