"""What generic code must not know: a check of the source of the files that serve every system.

A new system is new files. So generic code reads only what the rooms' base classes declare, compares with no kind and no class of a
system, and picks no parameters by parts of their names.
"""

import ast
import inspect
import re
import sys
import textwrap
from pathlib import Path

from torch import nn

from t2igan import augment, discriminator, objective, style, synthesis, text
from t2igan.augment.base import Augment, AugmentConfig
from t2igan.config import DiscriminatorConfig
from t2igan.discriminator.base import DiscriminatorNetwork, DiscriminatorNetworkConfig
from t2igan.style.base import StyleConfig, StyleNetwork
from t2igan.synthesis.base import SynthesisConfig, SynthesisNetwork, UpsamplingNetwork
from t2igan.text.encoder import TextConfig, TextEncoder
from t2igan.types import TextDescriptors

FILES = ("objective/objective.py", "discriminator/critic.py", "system.py", "synthesis/generator.py")
FILES += ("evaluation/profile.py", "evaluation/caption_effect.py", "training/*.py", "inference/*.py", "commands/*.py")
PARTS = {  # what a part of a system may be, by the last word of the expression that stands for it
    "synthesis": (SynthesisConfig, SynthesisNetwork, UpsamplingNetwork),
    "mapper": (StyleNetwork,),
    "style": (StyleConfig, StyleNetwork),
    "network": (DiscriminatorNetworkConfig, DiscriminatorNetwork),
    "discriminator": (DiscriminatorNetwork, DiscriminatorConfig),
    "augment": (AugmentConfig, Augment),
    "text": (TextConfig, TextEncoder, TextDescriptors),
    "encoder": (TextEncoder,),
    "text_encoder": (TextEncoder,),
}
TABLES = [text.KINDS, style.KINDS, synthesis.KINDS, discriminator.KINDS, augment.KINDS]
TABLES += [objective.DISCRIMINATOR_KINDS, objective.GENERATOR_KINDS]
NAMED = {"named_parameters", "named_modules", "named_buffers", "named_children", "state_dict"}
IN_NAMES = {"startswith", "endswith", "find", "rfind", "index", "count", "split", "rsplit", "partition", "rpartition"}
IN_NAMES |= {"removeprefix", "removesuffix"}
SEPARATOR = "/"  # between a parameter's name and its moment's, in checkpoints


def files(package: Path) -> list[Path]:
    return sorted(path for pattern in FILES for path in package.glob(pattern))


def attributes(cls: type) -> set[str]:
    """Everything that an object of a class has: names of the class, fields, and what its `__init__` assigns to self."""
    names = set(dir(cls))
    for base in cls.__mro__:
        names |= set(inspect.get_annotations(base))
        if "__init__" in vars(base) and base.__module__.startswith("t2igan") and not hasattr(base, "__dataclass_fields__"):
            tree = ast.parse(textwrap.dedent(inspect.getsource(base.__init__)))
            names |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)}
            calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) == "self.register_buffer"]
            names |= {call.args[0].value for call in calls}
    return names | ({"training"} if issubclass(cls, nn.Module) else set())


DECLARED = {part: set().union(*map(attributes, classes)) for part, classes in PARTS.items()}
BASES = {cls.__name__: part for part, classes in PARTS.items() for cls in classes}


def system_classes() -> set[str]:
    """The classes in the files of the tables' kinds."""
    kinds = {cls for table in TABLES for cls in table.values()}
    modules = {cls.__module__ for cls in kinds if not cls.__module__.endswith(".base")}
    return {cls.__name__ for cls in kinds} | {
        name
        for module in modules
        for name, value in vars(sys.modules[module]).items()
        if isinstance(value, type) and value.__module__ == module
    }


KINDS = {kind for table in TABLES for kind in table}
CLASSES = system_classes()


# ------------------------------------------------------------------------------------------------ the check


def violations(path: Path) -> list[str]:
    """What a file knows of a system, as `FILE:LINE what`."""
    tree = ast.parse(path.read_text())
    found = [*undeclared_attributes(tree), *kinds_and_classes(tree), *parts_of_names(tree)]
    return [f"{path.name}:{line} {what}" for line, what in sorted(set(found))]


def scopes(tree: ast.Module) -> list[tuple[ast.AST, list[ast.AST]]]:
    """(scope of local names, what is inside) for each function, and for what is in none."""
    inner = [(node, list(ast.walk(node))) for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    inside = {id(node) for _, nodes in inner for node in nodes}
    return [(tree, [node for node in ast.walk(tree) if id(node) not in inside]), *inner]


def undeclared_attributes(tree: ast.Module):
    """Attributes of a system's parts that no base class declares."""
    imported = {alias.asname or alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names}
    for scope, nodes in scopes(tree):
        aliases = {} if scope is tree else local_names(scope)

        def part_of(node: ast.expr, aliases=aliases) -> str | None:
            if isinstance(node, ast.Attribute):
                return node.attr if node.attr in PARTS else None
            if isinstance(node, ast.Name):
                return aliases.get(node.id, node.id if node.id in PARTS and node.id not in imported else None)
            return None

        for node in nodes:
            if isinstance(node, ast.Attribute):
                part, name = part_of(node.value), node.attr
            elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("getattr", "hasattr", "setattr") and constant(node.args[1]):
                part, name = part_of(node.args[0]), node.args[1].value
            else:
                continue
            if part is not None and name not in DECLARED[part]:
                yield node.lineno, f"reads {name} of {ast.unparse(node)}, which no base class of {part} declares"


def local_names(scope: ast.FunctionDef | ast.AsyncFunctionDef) -> dict[str, str | None]:
    """What names stand for in a function: a part by the annotation of an argument or by `name = ....part`; None: no part."""
    found = {}
    for argument in [*scope.args.posonlyargs, *scope.args.args, *scope.args.kwonlyargs]:
        if argument.annotation is not None:
            words = re.findall(r"\w+", ast.unparse(argument.annotation))
            found[argument.arg] = next((BASES[word] for word in words if word in BASES), None)
    for node in ast.walk(scope):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                pairs = [(target, node.value)]
                if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                    pairs = zip(target.elts, node.value.elts, strict=False)
                found |= {
                    name.id: value.attr
                    for name, value in pairs
                    if isinstance(name, ast.Name) and isinstance(value, ast.Attribute) and value.attr in PARTS
                }
    return found


def kinds_and_classes(tree: ast.Module):
    """Names of kinds as strings, classes of systems, and the name of an object's class, other than an error's, outside a message."""
    prose = {id(node.body[0].value) for node in ast.walk(tree) if has_docstring(node)}
    messages = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in ast.walk(node)}
    handled = {node.name for node in ast.walk(tree) if isinstance(node, ast.ExceptHandler)}
    handled |= {
        node.arg for node in ast.walk(tree) if isinstance(node, ast.arg) and node.annotation and "Exception" in ast.unparse(node.annotation)
    }
    errors = {f"type({name}).__name__" for name in handled}
    for node in ast.walk(tree):
        if constant(node) and node.value in KINDS and id(node) not in prose:
            yield node.lineno, f"names the kind {node.value!r}"
        name = node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else None
        if name in CLASSES:
            yield node.lineno, f"uses {name}, a class of a system"
        if isinstance(node, ast.ImportFrom) and (classes := {alias.name for alias in node.names} & CLASSES):
            yield node.lineno, f"imports {', '.join(sorted(classes))}, a class of a system"
        named = isinstance(node, ast.Attribute) and node.attr in ("__name__", "__qualname__")
        if named and id(node) not in messages and ast.unparse(node) not in errors:
            yield node.lineno, f"reads {ast.unparse(node)} outside a message"


def parts_of_names(tree: ast.Module):
    """Tests of parts of parameters' names: `"const" in name`, name.startswith("const"), re.match("const", name)."""
    for _, nodes in scopes(tree):
        if not any(isinstance(node, ast.Attribute) and node.attr in NAMED for node in nodes):
            continue
        for node in nodes:
            if isinstance(node, ast.Compare) and any(isinstance(op, ast.In | ast.NotIn) for op in node.ops) and constant(node.left):
                yield node.lineno, f"looks for {node.left.value!r} in names of parameters"
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                by_re = ast.unparse(node.func.value) == "re"
                values = [x.value for argument in node.args for x in ast.walk(argument) if constant(x)]
                if (by_re or node.func.attr in IN_NAMES) and any(value != SEPARATOR for value in values):
                    yield node.lineno, f"takes names of parameters apart by {ast.unparse(node)}"


def has_docstring(node: ast.AST) -> bool:
    documented = isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
    return documented and ast.get_docstring(node) is not None


def constant(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)
