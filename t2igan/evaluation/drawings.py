"""A model to its scores on the drawings (data_prep/drawings.py), by a CLIP that took no part in its training.

Every score but that of styles stands beside the one that real images reach through the same code:

- retrieval accuracy: of training captions among 100 and among 1,000, of held-out compositions, concepts and (concept, style) pairs; of
  training captions also by kind, among names of that kind. A composition always competes with its thing in every other colour;
- options: how often a linear probe, fitted to real pictures of a generator, reads each option from images of held-out combinations;
- style: how often an image asked for in a style has that style as its nearest real picture of the same concept;
- diversity, precision and recall of captions with many real pictures, from z alone: those prompts name no style;
- the Fréchet distance, against that of one half of the real training pictures to the other;
- how close images come to training pictures.
"""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from t2igan.data.images import decode, to_pil, to_signed
from t2igan.data.order import shuffled
from t2igan.data.shards import Shards
from t2igan.errors import UserError
from t2igan.evaluation.interfaces import ImageSampler
from t2igan.evaluation.real_drawings import DRAWN, KINDS, SPLITS, Pictures, kind_of, of_source, read, styled
from t2igan.features.open_clip import ClipScorer
from t2igan.grids import sheet
from t2igan.metrics.chunks import DistributedState
from t2igan.metrics.diversity import nearest, spread
from t2igan.metrics.frechet import frechet_distance
from t2igan.metrics.manifold import manifold
from t2igan.metrics.probe import LinearProbe
from t2igan.metrics.retrieval import retrieval
from t2igan.metrics.separability import scikit_learn

RETRIEVED = ("train", "held_out_pairs", "held_out_concepts", "held_out_compositions")
COMPETING = ("held_out_concepts", "held_out_compositions")  # splits whose captions are always among the candidates
CANDIDATES = 100
MANY_CANDIDATES = 1000  # for training captions
MOST = 1000  # images scored of a split, and prompts of styles
PER_PROMPT = 10  # images of a caption that diversity compares, real and generated
STYLES = 5  # that a concept must have, for the style of an image of it to be recognised
CLOSEST = 20  # pairs shown
CLOSEST_SHARE = 0.01  # of images, than which the others are farther from training
SEED = 0


class DrawingScores:
    """One data set, one CLIP and one model.

    Args:
        data: folder made by data_prep/drawings.py.
        size: px of the images that the CLIP sees.
        state: the processes and the device.
        cache: folder that keeps the embeddings of real pictures, by content.
        frechet_images: of each side of the Fréchet distance; None: half of the real training pictures, which is also the most.

    Raises:
        UserError: a split is missing or empty, a sample is broken, or scikit-learn is not installed.
    """

    def __init__(
        self,
        data: Path,
        size: int,
        clip: ClipScorer,
        pipeline: ImageSampler,
        state: DistributedState,
        cache: Path,
        truncation: float = 1.0,
        frechet_images: int | None = None,
    ):
        missing = [name for name in SPLITS if not any((data / name).glob("*.tar"))]
        if missing:
            raise UserError(f"{data} has no images in the split {missing[0]}; make it with data_prep/drawings.py, from all sources")
        scikit_learn("linear_model")  # of the probes, which come late
        self.data, self.clip, self.pipeline, self.device, self.truncation = data, clip, pipeline, state.device, truncation
        self.real = {name: read(data / name, size, clip, state, cache) for name in SPLITS}
        half = len(self.real["train"].metas) // 2
        self.frechet_images = min(frechet_images or half, half)
        self.names = sorted({name for pictures in self.real.values() for name in pictures.names})
        self.captions = self.embed_captions(self.names)

    def run(self) -> tuple[dict, Image.Image]:
        """All scores, and the generated images that come closest to training pictures, each beside its nearest one."""
        result: dict = {"retrieval": {split: self.score_retrieval(split) for split in RETRIEVED}}
        result["retrieval_by_kind"] = self.score_kinds()
        result["options"] = self.score_options()
        result["style"] = self.score_style()
        result["diversity"] = self.score_diversity()
        drawn, prompts = self.draw_captions()
        result["frechet"] = self.score_frechet(drawn)
        result["nearest"], picture = self.score_nearest(drawn, prompts)
        return result, picture

    def embed(self, images: Float[Tensor, "b 3 r r"]) -> Float[Tensor, "b d"]:
        with torch.no_grad():
            return torch.cat([self.clip.images(chunk.to(self.device)).cpu() for chunk in images.split(64)])

    def embed_captions(self, captions: list[str]) -> Float[Tensor, "c d"]:
        return torch.cat([self.clip.text(captions[start : start + 256]) for start in range(0, len(captions), 256)]).cpu()

    def generate(self, prompts: list[str], seeds: Sequence[int] = (0,)) -> Float[Tensor, "p s d"]:
        """Embeddings of generated images, by prompt and seed."""
        embedded = [
            self.embed(self.pipeline.sample_tensor(prompts[start : start + 64], list(seeds), self.truncation))
            for start in range(0, len(prompts), 64)
        ]
        return torch.cat(embedded).unflatten(0, (len(prompts), -1))

    def score_retrieval(self, split: str) -> dict:
        """R@1 and R@5 of one generated image per real one, of the real ones, and of the real ones for another caption."""
        pictures = self.real[split].rows(chosen(len(self.real[split].metas), MOST))
        position = {name: i for i, name in enumerate(self.names)}
        truth = [position[name] for name in pictures.names]
        always = sorted(set(truth)) if split in COMPETING else []
        # A pair is asked for by its style, everything else by its first caption
        pairs = zip(pictures.captions, pictures.metas, strict=True)
        prompts = [styled(captions, meta) if split == "held_out_pairs" else captions[0] for captions, meta in pairs]
        rows = {"generated": self.generate(prompts)[:, 0], "real": pictures.features, "floor": pictures.features.roll(len(truth) // 2, 0)}
        counts = (CANDIDATES, MANY_CANDIDATES) if split == "train" else (CANDIDATES,)
        further, rivals = self.other_colours(pictures)
        captions = torch.cat([self.captions, self.embed_captions(further)]) if further else self.captions
        return {
            str(count): {
                name: recalls(retrieval(features, captions, truth, count, always=always, rivals=rivals, pool=len(self.names)))
                for name, features in rows.items()
            }
            for count in (min(count, len(self.names)) for count in counts)
        }

    def other_colours(self, pictures: Pictures) -> tuple[list[str], list[list[int]]]:
        """(captions that follow `names`, for each picture the numbers of those of its thing in other colours).

        Of a picture whose caption says the colour of a thing; the other captions may be those of no picture.
        """
        colours = sorted({meta["options"]["colour"] for real in self.real.values() for meta in real.metas if "thing" in meta["options"]})
        position = {name: i for i, name in enumerate(self.names)}
        rivals = []
        for meta in pictures.metas:
            options = meta["options"]
            others = [f"{colour} {options['thing']}" for colour in colours if colour != options["colour"]] if "thing" in options else []
            rivals.append([position.setdefault(name, len(position)) for name in others])
        return list(position)[len(self.names) :], rivals

    def score_kinds(self) -> dict:
        """R@1 and R@5 of training captions among as many names of the same kind, generated and real."""
        train, found, number_of = self.real["train"], {}, {name: i for i, name in enumerate(self.names)}
        for kind in KINDS:
            of_kind = train.rows([i for i, meta in enumerate(train.metas) if kind_of(meta) == kind])
            if not of_kind.metas:
                continue
            position = {name: i for i, name in enumerate(sorted(set(of_kind.names)))}
            captions = self.captions[[number_of[name] for name in position]]
            pictures = of_kind.rows(chosen(len(of_kind.metas), MOST // len(KINDS)))
            truth, count = [position[name] for name in pictures.names], min(CANDIDATES, len(position))
            rows = {"generated": self.generate([own[0] for own in pictures.captions])[:, 0], "real": pictures.features}
            scores = {name: recalls(retrieval(features, captions, truth, count)) for name, features in rows.items()}
            found[kind] = scores | {"candidates": count}
        return found

    def score_options(self) -> dict:
        """Share of the options that probes read from held-out combinations, generated and real, by generator and option."""
        train, held_out = (self.with_options(self.real[split]) for split in ("train", "held_out_combinations"))
        found: dict[str, dict[str, dict[str, float]]] = {}
        for source in sorted({meta["source"] for meta in held_out.metas}):
            seen, unseen = (of_source(pictures, source) for pictures in (train, held_out))
            generated = self.generate([captions[0] for captions in unseen.captions])[:, 0]
            found[source] = {}
            for option in unseen.metas[0]["options"]:
                labels = [meta["options"][option] for meta in seen.metas]
                if len(set(labels)) > 1:
                    probe, expected = LinearProbe.fit(seen.features, labels), [meta["options"][option] for meta in unseen.metas]
                    found[source][option] = {
                        "generated": probe.accuracy(generated, expected),
                        "real": probe.accuracy(unseen.features, expected),
                        "chance": max(expected.count(word) for word in set(expected)) / len(expected),
                    }
        rows = [scores for options in found.values() for scores in options.values()]
        return {"mean": {name: sum(row[name] for row in rows) / len(rows) for name in ("generated", "real", "chance")}, "by_source": found}

    def with_options(self, pictures: Pictures) -> Pictures:
        """Those of generators, which nothing but their options describes."""
        combined = {meta["source"] for meta in self.real["held_out_combinations"].metas}
        return pictures.rows([i for i, meta in enumerate(pictures.metas) if meta["source"] in combined])

    def score_style(self) -> dict:
        """Share of images whose nearest real picture of the same concept has the style that was asked for."""
        by_name = defaultdict(list)
        for split in ("train", "held_out_pairs"):
            for i, meta in enumerate(self.real[split].metas):
                if meta["style"]:
                    by_name[meta["name"]].append((split, i))
        styles_of = {name: {self.real[where].metas[i]["style"] for where, i in found} for name, found in by_name.items()}
        known = {name for name, styles in styles_of.items() if len(styles) >= STYLES}
        result = {}
        for split in ("train", "held_out_pairs"):
            pictures = self.real[split]
            rows = [i for i, meta in enumerate(pictures.metas) if meta["style"] and meta["name"] in known]
            if not rows:
                raise UserError(f"{self.data}: no concept of {split} has {STYLES} styles; make it from all sources")
            asked = [rows[i] for i in chosen(len(rows), MOST)]
            generated = self.generate([styled(pictures.captions[i], pictures.metas[i]) for i in asked])[:, 0]
            hits, chance = 0, 0.0
            for i, image in zip(asked, generated, strict=True):
                others = by_name[pictures.metas[i]["name"]]
                styles = [self.real[where].metas[j]["style"] for where, j in others]
                similarity = torch.stack([self.real[where].features[j] for where, j in others]) @ image
                hits += styles[int(similarity.argmax())] == pictures.metas[i]["style"]
                chance += styles.count(pictures.metas[i]["style"]) / len(styles)
            result[split] = {"generated": hits / len(asked), "chance": chance / len(asked)}
        return result

    def score_diversity(self) -> dict:
        """Of the first captions with at least `PER_PROMPT` real pictures: mean distance of two images, precision and recall.

        Of what people drew, whose pictures of one caption differ as a whole; captions that name a style are left out.
        """
        pictures = self.real["train"]
        rows = defaultdict(list)
        for i, (captions, meta) in enumerate(zip(pictures.captions, pictures.metas, strict=True)):
            if kind_of(meta) == DRAWN and captions[0] != styled(captions, meta):
                rows[captions[0]].append(i)
        many = sorted(prompt for prompt, found in rows.items() if len(found) >= PER_PROMPT)
        if not many:
            raise UserError(f"{self.data} has no caption with {PER_PROMPT} real pictures; make the data from more sources")
        prompts = [many[i] for i in chosen(len(many), MOST // PER_PROMPT)]
        real = torch.stack([pictures.features[rows[prompt][:PER_PROMPT]] for prompt in prompts])
        generated = self.generate(prompts, range(PER_PROMPT))
        half = PER_PROMPT // 2  # of each set, because k-nearest balls shrink with the number of images
        first, second, drawn = (part.flatten(0, 1) for part in (real[:, :half], real[:, half:], generated[:, :half]))
        whole, halves = manifold(drawn, second), manifold(first, second)
        return {
            "captions": len(prompts),
            "distance": {"generated": spread(generated), "real": spread(real)},
            "precision": {"generated": whole.precision, "real": halves.precision},
            "recall": {"generated": whole.recall, "real": halves.recall},
        }

    def draw_captions(self) -> tuple[Float[Tensor, "n d"], list[str]]:
        """Embeddings of images of the captions of training pictures, one each, and the captions."""
        pictures = self.real["train"]
        rows = chosen(len(pictures.metas), self.frechet_images)
        prompts = [pictures.captions[i][i % len(pictures.captions[i])] for i in rows]
        return self.generate(prompts)[:, 0], prompts

    def score_frechet(self, generated: Float[Tensor, "n d"]) -> dict:
        """Of generated images to as many real ones, and of those to as many others."""
        count = len(generated)
        rows = chosen(len(self.real["train"].metas), 2 * count)
        first, second = (self.real["train"].features[rows[start : start + count]] for start in (0, count))
        return {"generated": frechet_distance(generated, second), "real": frechet_distance(first, second), "images": count}

    def score_nearest(self, generated: Float[Tensor, "n d"], prompts: list[str]) -> tuple[dict, Image.Image]:
        """Distances to the nearest training picture, of generated images and of real ones that training never saw."""
        train = self.real["train"].features
        distances, like = nearest(generated, train)
        unseen = {
            split: nearest(self.real[split].features, train)[0] for split in ("held_out_pairs", "held_out_concepts", "held_out_style")
        }
        closest = distances.argsort()[:CLOSEST].tolist()
        shards = Shards(str(self.data / "train"))
        shown, labels = [], []
        for i in closest:
            shown.append(to_pil(self.pipeline.sample_tensor([prompts[i]], [0], self.truncation)[0]))
            shown.append(to_pil(to_signed(decode(shards.read(int(like[i])).image, shown[0].width)[None])[0]))
            labels += [prompts[i], "nearest in training"]
        means = {"generated": distances, **unseen}
        result = {name: {"mean": float(found.mean()), "closest": float(found.quantile(CLOSEST_SHARE))} for name, found in means.items()}
        return result, sheet(shown, labels, columns=8, scale=max(1, 128 // shown[0].width))


def recalls(found: dict[int, float]) -> dict[str, float]:
    return {f"r_at_{k}": value for k, value in found.items()}


def chosen(count: int, most: int) -> list[int]:
    """At most `most` of `count` rows, in an order of no meaning; always the same ones."""
    return shuffled(torch.arange(min(count, most)).numpy(), count, SEED).tolist()
