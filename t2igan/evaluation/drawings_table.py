"""The result of eval/drawings.py as a table."""


def table(result: dict) -> str:
    """Every score beside the real pictures' one."""
    lines = [f"{'':38} {'generated':>9} {'real':>7} {'ratio':>6}   {'floor':>6}"]

    def line(name: str, generated: float, real: float | None, floor: float | None = None) -> None:
        ratio = "" if real is None else f"{real:7.3f} {generated / max(real, 1e-9):6.2f}"
        lines.append(f"{name:38} {generated:9.3f} {ratio:14}" + ("" if floor is None else f"   {floor:6.3f}"))

    for split, counts in result["retrieval"].items():
        for count, rows in counts.items():
            for k in (1, 5):
                values = (rows[name][f"r_at_{k}"] for name in ("generated", "real", "floor"))
                line(f"{split.replace('_', ' ')}, R@{k} among {count}", *values)
    for kind, rows in result["retrieval_by_kind"].items():
        line(f"train, {kind}, R@1 among {rows['candidates']} of them", rows["generated"]["r_at_1"], rows["real"]["r_at_1"])
    options = result["options"]["mean"]
    line("options of held-out combinations", options["generated"], options["real"], options["chance"])
    for split, scores in result["style"].items():
        line(f"style asked for is the nearest, {split.replace('_', ' ')}", scores["generated"], None, scores["chance"])
    for name in ("distance", "precision", "recall"):
        line(f"{name} within {result['diversity']['captions']} captions", *result["diversity"][name].values())
    line(f"Fréchet distance, {result['frechet']['images']} images", result["frechet"]["generated"], result["frechet"]["real"])
    held_out = result["nearest"]["held_out_pairs"]
    line("to the nearest training picture, mean", result["nearest"]["generated"]["mean"], held_out["mean"])
    line("to the nearest training picture, closest 1 %", result["nearest"]["generated"]["closest"], held_out["closest"])
    lines.append(f"{result['images_seen']} images seen in {result['minutes']} minutes")
    return "\n".join(lines)


CURVE = {  # columns of a curve over images: where a score stands in a result; min and max: of the numbers of candidates
    "R@1": ("retrieval", "train", min, "generated", "r_at_1"),
    "R@1 of 1000": ("retrieval", "train", max, "generated", "r_at_1"),
    "compositions": ("retrieval", "held_out_compositions", min, "generated", "r_at_1"),
    "options": ("options", "mean", "generated"),
    "style": ("style", "train", "generated"),
    "Fréchet": ("frechet", "generated"),
    "distance": ("diversity", "distance", "generated"),
    "precision": ("diversity", "precision", "generated"),
    "recall": ("diversity", "recall", "generated"),
}


def curve(results: dict[str, dict]) -> str:
    """Markdown: a line for each number of images seen."""
    lines = ["| " + " | ".join(["images", *CURVE]) + " |", "|" + "---|" * (len(CURVE) + 1)]
    for images, result in sorted(results.items(), key=lambda item: int(item[0])):
        cells = [f"{int(images):,}", *(f"{_at(result, way):.3f}" for way in CURVE.values())]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _at(result: dict, way: tuple) -> float:
    """The score at the end of the way."""
    for step in way:
        result = result[step if isinstance(step, str) else step(result, key=int)]
    return result
