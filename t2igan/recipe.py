"""Recipes: strict YAML to frozen typed configs and back, and the difference between two of them.

An unknown key is refused with the nearest known one; every value is checked against its field's type. Files do not inherit.
"""

import dataclasses
import difflib
import math
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import yaml

from t2igan.config import Recipe, TermConfig
from t2igan.errors import UserError
from t2igan.plain_text import read_text
from t2igan.schedule import Schedule, parse_schedule


class UniqueKeys(yaml.SafeLoader):
    """YAML whose mappings have each key once: of two, the last would win without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        seen = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} stands twice in one mapping", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def load_recipe(path: Path | str, overrides: list[str] = ()) -> Recipe:
    """A YAML file, with `section.key=value` overrides, to a Recipe.

    Raises:
        UserError: no such file, broken YAML, an unknown key, a value of the wrong type or sizes that contradict each other.
    """
    path = Path(path)
    if path.is_dir():
        path = path / "recipe.yaml"
    if not path.is_file():
        raise UserError(f"no recipe at {path}; give a YAML file such as configs/emoji_32.yaml, or a run folder")
    try:
        data = yaml.load(read_text(path), UniqueKeys)
    except yaml.YAMLError as error:
        raise UserError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise UserError(f"{path} is nested too deeply; a recipe has few levels") from None
    for override in overrides:
        apply_override(data, override)
    try:
        recipe = parse(Recipe, data, "")
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    return recipe


def apply_override(data: Any, override: str) -> None:
    """Sets one value of what a YAML file holds by its dotted path, such as training.batch=16.

    An item of a list is named by its number or by its kind: objective.generator.0.weight=0.5, objective.generator.matching.weight=0.5.
    """
    path, equals, value = override.partition("=")
    if not equals:
        raise UserError(f"got {override!r}, an override is section.key=value")
    *parents, last = path.split(".")
    try:
        for parent in parents:
            data = data[_item(data, parent)] if isinstance(data, list) else data.setdefault(parent, {})
        data[_item(data, last) if isinstance(data, list) else last] = yaml.load(value, UniqueKeys)
    except RecursionError:
        raise UserError(f"override {path!r} is nested too deeply; a recipe has few levels") from None
    except (ValueError, IndexError, TypeError, AttributeError):
        raise UserError(f"override {override!r}: the recipe has nothing at {path!r}") from None
    except yaml.YAMLError:
        raise UserError(
            f"override {override!r}: {value!r} is not YAML; quote it for the shell, such as 'training.prompts=[a, b]'"
        ) from None


def _item(items: list, name: str) -> int:
    """The position of an item by its number, or by a kind that one item alone has. Raises ValueError otherwise."""
    found = [position for position, item in enumerate(items) if isinstance(item, dict) and item.get("kind") == name]
    return found[0] if len(found) == 1 else int(name)


def parse(cls: type, data: Any, where: str):
    """A mapping to the dataclass `cls`; `where` is its path in the recipe, for errors."""
    if not isinstance(data, dict):
        raise UserError(f"{where or 'the recipe'} must be a mapping, got {data!r}")
    fields = {f.name: f for f in dataclasses.fields(cls)}
    for key in data:
        if key not in fields:
            raise UserError(f"unknown key {_join(where, key)!r}{_did_you_mean(key, fields)}")
    hints = get_type_hints(cls, include_extras=True)
    values = {}
    for name, spec in fields.items():
        if name in data:
            values[name] = _value(hints[name], data[name], _join(where, name), spec.metadata)
        elif spec.default is dataclasses.MISSING and spec.default_factory is dataclasses.MISSING:
            raise UserError(f"{_join(where, name)} is missing")
    return cls(**values)


def _value(hint: Any, value: Any, where: str, metadata: Any = types.MappingProxyType({})):
    if "kinds" in metadata:
        if value is None and type(None) in get_args(hint):
            return None
        return _kind(metadata["kinds"](), value, where, metadata.get("default_kind"))
    if "terms" in metadata:
        return tuple(_term(metadata["terms"], item, f"{where}.{i}") for i, item in enumerate(_list(value, where)))
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        inner, allowed = arguments
        found = _value(inner, value, where)
        if not allowed.holds(found):
            raise UserError(f"{where} is {found}, needs {allowed.needs}")
        return found
    if origin in (Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        (inner,) = [argument for argument in arguments if argument is not type(None)]
        return _value(inner, value, where)
    if origin is Literal:
        if value not in arguments:
            raise UserError(f"{where} is {value!r}, needs one of {', '.join(map(str, arguments))}{_did_you_mean(value, arguments)}")
        return value
    if origin is tuple:
        return tuple(_value(arguments[0], item, f"{where}.{i}") for i, item in enumerate(_list(value, where)))
    if hint is Schedule:
        try:
            plain = isinstance(value, int | float | str) and not isinstance(value, bool)
            return parse_schedule(_number(value, where) if plain else value)
        except ValueError as error:
            raise UserError(f"{where}: {error}") from None
    if dataclasses.is_dataclass(hint):
        return parse(hint, value, where)
    if hint is float:
        return _number(value, where)
    if type(value) is not hint:
        raise UserError(f"{where} must be {'a whole number' if hint is int else hint.__name__}, got {value!r}")
    return value


def _number(value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise UserError(f"{where} must be a number, got {value!r}")
    try:
        number = float(value)  # YAML 1.1 reads 1e-4 as a string
    except (ValueError, OverflowError):
        raise UserError(f"{where} must be a number, got {value!r:.60}") from None
    if not math.isfinite(number):
        raise UserError(f"{where} is {value}, needs a finite number")
    return number


def _list(value: Any, where: str) -> list:
    if not isinstance(value, list | tuple):
        raise UserError(f"{where} must be a list, got {value!r}")
    return list(value)


def _kind(kinds: dict[str, type], value: Any, where: str, default: str | None = None):
    """A mapping with a `kind` to that kind's config."""
    if default and isinstance(value, dict):
        value = {"kind": default} | value
    if not isinstance(value, dict) or "kind" not in value:
        raise UserError(f"{where} needs a 'kind', one of {', '.join(kinds)}")
    if not isinstance(value["kind"], str) or value["kind"] not in kinds:
        raise UserError(f"{where}.kind is {value['kind']!r}, needs one of {', '.join(kinds)}{_did_you_mean(value['kind'], kinds)}")
    return parse(kinds[value["kind"]], {k: v for k, v in value.items() if k != "kind"}, where)


def _term(kinds: dict, value: Any, where: str) -> TermConfig:
    shared = {name: value[name] for name in ("weight", "every", "after") if isinstance(value, dict) and name in value}
    options = {k: v for k, v in value.items() if k not in shared} if isinstance(value, dict) else value
    parsed = _kind(kinds, options, where)
    hints = get_type_hints(TermConfig, include_extras=True)
    return TermConfig(
        kind=value["kind"], options=parsed, **{name: _value(hints[name], item, f"{where}.{name}") for name, item in shared.items()}
    )


def _join(where: str, name: str) -> str:
    return f"{where}.{name}" if where else str(name)


def _did_you_mean(got: Any, known) -> str:
    near = difflib.get_close_matches(str(got), [str(k) for k in known], n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(map(str, known))}"


def to_dict(config: Any, metadata: Any = types.MappingProxyType({})) -> Any:
    """A config to plain lists and mappings that `parse` reads back to the same config."""
    if isinstance(config, Schedule):
        if config.kind == "constant":
            return config.start
        return {config.kind: config.numbers()}
    if isinstance(config, TermConfig):
        shared = {"weight": to_dict(config.weight), "every": config.every, "after": config.after}
        return {"kind": config.kind, **shared, **to_dict(config.options)}
    if dataclasses.is_dataclass(config):
        kinds = {cls: name for name, cls in metadata.get("kinds", dict)().items()}
        named = {"kind": kinds[type(config)]} if kinds else {}
        return named | {f.name: to_dict(getattr(config, f.name), f.metadata) for f in dataclasses.fields(config)}
    return [to_dict(item) for item in config] if isinstance(config, tuple) else config


def dump_recipe(recipe: Recipe) -> str:
    """The resolved recipe, every default written out."""
    return yaml.safe_dump(to_dict(recipe), sort_keys=False, allow_unicode=True, width=120)


def differences(a: Recipe, b: Recipe) -> list[tuple[str, Any, Any]]:
    """(path, value in a, value in b) wherever two recipes differ; what is absent is None.

    A part of another kind, and a term or a schedule that only one of them has, differs as a whole.
    """
    return list(_differences(to_dict(a), to_dict(b), ""))


def _differences(a: Any, b: Any, where: str) -> Iterator[tuple[str, Any, Any]]:
    if a == b:
        return
    if _has_items(a) and _has_items(b):
        a, b = _by_kind(a), _by_kind(b)
        alike = True
    else:
        alike = isinstance(a, dict) and isinstance(b, dict) and a.keys() == b.keys() and a.get("kind") == b.get("kind")
    if not alike:
        yield where, a, b
        return
    for key in dict.fromkeys([*a, *b]):
        yield from _differences(a.get(key), b.get(key), _join(where, key))


def _has_items(value: Any) -> bool:
    """Whether it is a list of sections, such as terms, or an empty one."""
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)


def _by_kind(items: list[dict]) -> dict[str, dict]:
    """Items by kind where that names one of them, else by their place."""
    kinds = [item.get("kind") for item in items]
    return {kind if kind and kinds.count(kind) == 1 else str(i): item for i, (kind, item) in enumerate(zip(kinds, items, strict=True))}
