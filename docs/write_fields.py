"""Writes docs/recipe.md: every field of a recipe, with its values, its default and the comment that stands beside it in the code.

python docs/write_fields.py
"""

import ast
import inspect
import re
import textwrap
import types
from dataclasses import MISSING, Field, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from t2igan import augment, config, discriminator, objective, style, synthesis, text
from t2igan.objective.term import TermOptions
from t2igan.ranges import Range
from t2igan.schedule import Schedule
from t2igan.text.adapter import AdapterConfig
from t2igan.text.projection import ProjectionConfig

OUT = Path(__file__).with_name("recipe.md")
HEAD = """# The fields of a recipe

A recipe is a YAML file. This page lists every field, from the comments of the code (`python docs/write_fields.py` writes it).
`t2igan train RECIPE section.key=value --out RUN` sets a field on the command line; a term of an objective is named by its kind, as in
`objective.generator.matching.weight=0.5`. `RUN/recipe.yaml` has a run's recipe with every default written out.

A field without a default must be given; a section with a default may be left out. *Over time* means a number or a schedule over the images
seen ([training.md](training.md#schedules)). An image is seen when D is shown it: `total_images` counts every visit. "Ours" marks what no
paper has. Where a section is of one of several kinds, `kind:` names the kind and stands beside the kind's own fields.
"""
LEARNED = "Learned layers on the descriptors of a prompt; null without text."
GROUPS = "What holds for the parameters whose names match a pattern; of several patterns that match, later ones override earlier ones."
NUMBER = {Schedule: "number over time", float: "number", int: "whole number"}


def page() -> str:
    parts = [
        HEAD,
        section("The whole", "", {"": config.Recipe}, 2),
        section("data", "The shards, and how they are read.", {"": config.DataConfig}, 2),
        section("text", "What turns prompts into tokens and vectors.", text.KINDS, 2),
        section("generator", "", {"": config.GeneratorConfig}, 2),
        section(
            "generator.adapter",
            LEARNED + " Without `kind` it is `layers`.",
            text.ADAPTERS,
            3,
        ),
        section(
            "generator.adapter.projection, discriminator.adapter.projection",
            "A CLIP's text embedding for the learned layers; its weights are stored with the model.",
            {"": ProjectionConfig},
            3,
        ),
        section("generator.style", "A latent and the prompt's vector to styles.", style.KINDS, 3),
        section("generator.synthesis", "Styles to images.", synthesis.KINDS, 3),
        section("discriminator", "", {"": config.DiscriminatorConfig}, 2),
        section("discriminator.adapter", LEARNED + " They have no `kind`.", {"": AdapterConfig}, 3),
        section("discriminator.network", "", discriminator.KINDS, 3),
        section("augment", "What D's images go through, real and generated.", augment.KINDS, 2),
        section("objective", "", {"": config.ObjectiveConfig}, 2),
        section("Every term", "", {"": config.TermConfig}, 3, without=("kind", "options")),
        section("objective.discriminator", "", objective.DISCRIMINATOR_KINDS, 3),
        section("objective.generator", "", objective.GENERATOR_KINDS, 3),
        section("training", "", {"": config.TrainingConfig}, 2),
        section(
            "training.generator_optimizer, training.discriminator_optimizer",
            "Adam, or with a decay AdamW.",
            {"": config.OptimizerConfig},
            3,
        ),
        section(
            "groups of an optimizer",
            GROUPS,
            {"": config.ParameterGroup},
            3,
        ),
        section("training.ema", "The average of G's weights.", {"": config.EMAConfig}, 3),
        section("training.growth", "", {"": config.GrowthConfig}, 3),
        section("start", "", {"": config.StartConfig}, 2),
    ]
    return "\n".join(parts)


def section(title: str, introduction: str, kinds: dict[str, type], level: int, without: tuple[str, ...] = ()) -> str:
    """A heading and a table for each kind."""
    lines = [f"{'#' * level} {title}", ""]
    if introduction:
        lines += [introduction, ""]
    for kind, cls in kinds.items():
        if kind:
            lines += [*textwrap.wrap(f"**kind: {kind}**. {summary(cls)}.", 140, break_long_words=False, break_on_hyphens=False), ""]
        lines += table(cls, without)
        for name, inner in inner_sections(cls) if kind else ():
            lines += [f"Each of `{name}`:", "", *table(inner)]
    return "\n".join(lines)


def table(cls: type, without: tuple[str, ...] = ()) -> list[str]:
    rows = [row(field, cls) for field in fields(cls) if field.name not in without]
    return ["| field | values | default | |", "|---|---|---|---|", *rows, ""] if rows else []


def inner_sections(cls: type) -> list[tuple[str, type]]:
    """Fields that are lists of sections, and these sections."""
    hints = get_type_hints(cls)
    return [(name, get_args(hint)[0]) for name, hint in hints.items() if get_origin(hint) is tuple and is_dataclass(get_args(hint)[0])]


def summary(cls: type) -> str:
    """The first sentences about a kind: of its config, of the loss that it builds, or of its file."""
    own = None if cls.__doc__.startswith((f"{cls.__name__}(", "No options", "As R1's")) else cls.__doc__
    module = inspect.getmodule(cls)
    is_loss = issubclass(cls, TermOptions)  # whose file may hold several
    found = inspect.cleandoc(own or (getattr(module, built_name(cls)) if is_loss else module).__doc__).split("\n\n")[0]
    return f"{' '.join(found.split()).rstrip('.')} ({Path(inspect.getfile(cls)).relative_to(Path(config.__file__).parent)})"


def built_name(cls: type) -> str:
    """The name of the class that `cls.build` gives."""
    return str(inspect.signature(cls.build).return_annotation).strip("'\"")


def row(field: Field, cls: type) -> str:
    hints = get_type_hints(cls, include_extras=True)
    meaning = comment(cls, field.name)
    if type(None) in get_args(hints[field.name]):
        meaning = meaning.replace("none:", "null:")  # Python's None, as YAML writes it
    cells = (f"`{field.name}`", values(hints[field.name], field), default(field), meaning)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def values(hint: Any, field: Field | None = None) -> str:
    """A type in words."""
    if field is not None and field.metadata.get("kinds"):
        return "a section of one kind" + (" or null" if type(None) in get_args(hint) else "")
    if field is not None and field.metadata.get("terms"):
        return "list of terms"
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        base, *marks = arguments
        needs = next((mark.needs for mark in marks if isinstance(mark, Range)), "")
        over_time = " over time" if base is Schedule else ""
        if needs.startswith("a number"):
            return needs.replace("a number", f"a number{over_time}", 1)
        return needs if needs.startswith("a ") else f"{NUMBER.get(base, values(base)).removesuffix(' over time')}{over_time}, {needs}"
    if origin in (Union, types.UnionType):
        return " or ".join("null" if argument is type(None) else values(argument) for argument in arguments)
    if origin is Literal:
        return ", ".join(f"`{argument}`" for argument in arguments)
    if origin is tuple:
        inner = list(dict.fromkeys(values(argument) for argument in arguments if argument is not Ellipsis))
        return f"list: {'; '.join(inner)}"
    names = {str: "text", bool: "`true`, `false`"} | NUMBER
    if hint in names:
        return names[hint]
    if is_dataclass(hint):
        return "a section"
    return "anything" if hint is Any else getattr(hint, "__name__", str(hint))


def default(field: Field) -> str:
    if field.default is not MISSING:
        return shown(field.default)
    if field.default_factory is MISSING:
        return ""
    made = field.default_factory()
    return "see below" if is_dataclass(made) and not isinstance(made, Schedule) else shown(made)


def shown(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(shown(entry) for entry in value)}]"
    return f"{value:g}" if isinstance(value, float) else str(value)


def comment(cls: type, name: str) -> str:
    """What is written beside a field, or above it, in the class that declares it."""
    owner = next(base for base in cls.__mro__ if name in inspect.get_annotations(base))
    source = textwrap.dedent(inspect.getsource(owner))
    lines = source.splitlines()
    node = next(n for n in ast.parse(source).body[0].body if isinstance(n, ast.AnnAssign) and n.target.id == name)
    beside = re.search(r"  # (.*)$", lines[node.end_lineno - 1])
    above: list[str] = []
    for line in reversed(lines[: node.lineno - 1]):
        if not line.strip().startswith("# "):
            break
        above.insert(0, line.strip().removeprefix("# "))
    return beside[1] if beside else " ".join(above)


if __name__ == "__main__":
    OUT.write_text(page(), encoding="utf-8")
