"""The shape of the library: who may import whom, where heavy libraries come in, and that generic code knows no system."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
from generic_code import CLASSES, DECLARED, FILES, KINDS, files
from generic_code import violations as knowledge_of_systems

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "t2igan"
MODULES = sorted(PACKAGE.rglob("*.py"))
MAX_LINES = 300
TRAINER_LINES = 200  # the training step, for every system

# A room imports only rooms to its left. Leaves that know nothing of GANs come first.
ORDER = [
    "memory", "errors", "files", "hub", "plain_text", "grids", "schedule", "ranges", "draws", "types", "layers", "text", "features",
    "style", "synthesis", "pyramid", "augment", "discriminator", "objective", "config", "growth", "recipe", "system", "data", "metrics",
    "inference", "official", "evaluation", "training", "commands", "cli", "__main__",
]  # fmt: skip
LEAVES = {
    "memory",
    "errors",
    "files",
    "hub",
    "plain_text",
    "grids",
    "schedule",
    "draws",
    "types",
}  # they import errors only, and errors memory
DRAWS_FROM_ACCELERATE = ("t2igan/training/", "t2igan/metrics/", "eval/", "data_prep/", "benchmarks/", "tests/")


def room(path: Path) -> str:
    """`t2igan/text/cache.py` to `text`, `t2igan/cli.py` to `cli`."""
    inside = path.relative_to(PACKAGE)
    return inside.with_suffix("").parts[0]


def imports(path: Path):
    """(line, module, whether at import time) of every import in a file, wherever it stands."""
    tree = ast.parse(path.read_text())
    late = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    late += [node for node in ast.walk(tree) if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    inside = {id(node) for outer in late for node in ast.walk(outer)}
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} imports relatively; write the full name"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            yield node.lineno, name, id(node) not in inside


def violations(path: Path) -> list[str]:
    own, found = room(path), []
    for line, name, _ in imports(path):
        parts = name.split(".")
        if parts[0] != "t2igan" or len(parts) == 1 or parts[1] == own:
            continue
        if parts[1] not in ORDER:
            found.append(f"{path.relative_to(ROOT)}:{line} imports {name}, which is in no room")
        elif ORDER.index(parts[1]) > ORDER.index(own) or (own in LEAVES and parts[1] not in ("errors", "memory")):
            found.append(f"{path.relative_to(ROOT)}:{line} ({own}) imports {name}, which stands to its right")
    return found


def test_every_module_has_a_room():
    unknown = {room(path) for path in MODULES} - set(ORDER) - {"__init__"}
    assert not unknown, f"give {unknown} a place in the order"


def test_rooms_import_only_to_their_left():
    found = [violation for path in MODULES if room(path) != "__init__" for violation in violations(path)]
    assert not found, "\n".join(found)


def test_the_order_is_really_held(tmp_path, monkeypatch):
    """The check catches what it is there to catch, also inside functions."""
    module = sys.modules[__name__]
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "PACKAGE", tmp_path / "t2igan")
    for name, code, count in (
        ("layers/a.py", "def f():\n    from t2igan.data.shards import Shards\n", 1),
        ("layers/b.py", "import t2igan.types\nfrom t2igan.layers.a import f\n", 0),
        ("text/c.py", "from t2igan import features\n", 1),
        ("features/d.py", "from t2igan import text, layers\n", 0),
        ("types.py", "from t2igan.schedule import Schedule\nfrom t2igan.errors import UserError\n", 1),
        ("draws.py", "from t2igan.types import Batch\nfrom t2igan.errors import UserError\n", 1),
        ("config.py", "from t2igan.recipe import parse\n", 1),
        ("cli.py", "from t2igan.kitchen import sink\n", 1),
    ):
        path = tmp_path / "t2igan" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(code)
        assert len(violations(path)) == count, name


def test_accelerate_stays_where_processes_are():
    paths = [path for folder in ("t2igan", "eval", "data_prep", "benchmarks") for path in (ROOT / folder).rglob("*.py")]
    for path in paths:
        if not str(path.relative_to(ROOT)).startswith(DRAWS_FROM_ACCELERATE):
            assert not any(name.split(".")[0] == "accelerate" for _, name, _ in imports(path)), path


COMMANDS = [f"commands/{path.name}" for path in (PACKAGE / "commands").glob("*.py")]
LIGHT = ["cli.py", "errors.py", "memory.py", "__main__.py", "__init__.py", *COMMANDS]


@pytest.mark.parametrize("name", LIGHT)
def test_the_command_line_starts_with_the_standard_library_alone(name):
    ours = {"t2igan.cli.main", "t2igan.errors.UserError", "t2igan.errors.run_script", "t2igan.memory.reuse_freed_memory"}
    for line, imported, at_import in imports(PACKAGE / name):
        if at_import and imported not in ours and not imported.startswith("t2igan.commands."):
            assert imported.split(".")[0] in sys.stdlib_module_names, f"{name}:{line} imports {imported} at import time"


def test_help_needs_no_torch():
    code = "import sys, t2igan.cli\nprint(sorted({'torch', 'numpy', 'yaml', 'transformers', 'PIL'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert done.stdout.strip() == "[]", done.stderr


def test_every_kind_is_known_without_libraries_of_networks():
    """Each takes seconds to load, at the start of every command."""
    heavy = {"accelerate", "open_clip", "timm", "torch._dynamo", "torch_fidelity", "torchvision", "transformers"}
    code = f"import sys, t2igan.recipe, t2igan.system\nprint(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert done.stdout.strip() == "[]", done.stderr


def test_files_stay_short():
    lengths = {path.relative_to(ROOT): len(path.read_text().splitlines()) for path in MODULES}
    assert not {path: length for path, length in lengths.items() if length > MAX_LINES}
    assert lengths[Path("t2igan/training/trainer.py")] < TRAINER_LINES


def test_every_module_says_what_it_is():
    for path in MODULES:
        if path.name not in ("__init__.py", "__main__.py"):
            assert ast.get_docstring(ast.parse(path.read_text())), f"{path} has no docstring"


def test_no_pickles():
    """But for the reader of other projects' files, which subclasses the unpickler to refuse every name that is not listed."""
    for path in MODULES:
        names = {name for _, name, _ in imports(path)}
        assert not names & {"pickle", "dill", "cloudpickle"} or path == PACKAGE / "official/pickles.py", path
        assert not {"pickle.load(", "pickle.loads("} & set(re.findall(r"pickle\.loads?\(", path.read_text())), path
        assert "torch.save(" not in path.read_text(), path
        for call in ast.walk(ast.parse(path.read_text())):  # others' files may be read, as tensors and nothing else
            if isinstance(call, ast.Call) and ast.unparse(call.func) == "torch.load":
                assert "weights_only=True" in {ast.unparse(keyword) for keyword in call.keywords}, f"{path}:{call.lineno}"


# ------------------------------------------------------------------------------------------------ generic code (generic_code.py)


@pytest.mark.parametrize("path", files(PACKAGE), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_generic_code_knows_no_system(path):
    assert not knowledge_of_systems(path), "\n".join(knowledge_of_systems(path))


def test_the_check_finds_its_files_names_and_kinds():
    for pattern in FILES:
        assert list(PACKAGE.glob(pattern)), f"{pattern} is no file"
    assert {"num_styles", "condition", "low_resolution", "starts_from_image", "state_dict"} <= DECLARED["synthesis"]
    assert {"z_dim", "mean_style", "map", "training"} <= DECLARED["mapper"] and "num_clusters" in DECLARED["style"]
    assert {"levels", "batch_multiple", "build", "check"} <= DECLARED["network"]
    for part in DECLARED:
        assert not {"channels", "stages", "inputs", "minibatch_std", "probability", "tower"} & DECLARED[part]
    assert {"gigagan", "mapping", "r1", "none"} <= KINDS and {"GigaGANSynthesis", "MappingConfig", "R1", "NoAugmentConfig"} <= CLASSES
    assert not {"Augment", "Term", "DiscriminatorNetwork", "TextEncoder", "Generator"} & CLASSES


ATTRIBUTES = [
    "def f(self):\n    return self.generator.synthesis.stages",
    "def f(recipe):\n    return recipe.discriminator.network.minibatch_std",
    "def f(recipe):\n    return recipe.generator.style.depth",
    "def f(recipe):\n    return recipe.augment.probability",
    "def f(recipe):\n    return recipe.text.max_tokens_of_the_tower",
    "def f(self):\n    return self.critic.network.stages",
    "def f(self):\n    self.discriminator.adapter_width = 3",
    "def f(G):\n    mapper, n = G.mapper, 3\n    return mapper.layers[n]",
    "def f(recipe):\n    config = recipe.generator.synthesis\n    return config.channels",
    "def f(D: 'DiscriminatorNetwork'):\n    return D.heads",
    "def f(x: SynthesisNetwork | None):\n    return x.from_style",
    "def f(self):\n    return getattr(self.generator.synthesis, 'noise', 0)",
    "def f(self):\n    return hasattr(self.discriminator, 'tower')",
    "low = RECIPE.generator.synthesis.num_downsamples",
]
KINDS_AND_CLASSES = [
    "def f(term):\n    return term.kind == 'reconstruction'",
    "def f(term):\n    return term.kind in ('r1', 'r1_finite')",
    "def f(recipe):\n    match recipe.text:\n        case 'none':\n            return 1",
    "def f(x):\n    return type(x).__name__ == 'Anything'",
    "def f(x):\n    name = x.__class__.__qualname__\n    return name",
    "def f(term):\n    return isinstance(term, R1)",
    "def f(x):\n    return isinstance(x, gigagan.GigaGANSynthesis)",
    "def f(x):\n    from t2igan.style.mapping import MappingNetwork as Mapper\n    return isinstance(x, Mapper)",
    "def f(x):\n    return type(x) is NoAugmentConfig",
]
NAMES = [
    "def f(module):\n    return [p for name, p in module.named_parameters() if 'attention' in name]",
    "def f(module):\n    return [p for name, p in module.named_parameters() if '.to_' not in name]",
    "def f(module):\n    return [m for name, m in module.named_modules() if name.startswith('synthesis.')]",
    "def f(module):\n    return [b for name, b in module.named_buffers() if name.endswith(('.weight', '.bias'))]",
    "def f(module):\n    return {k: v for k, v in module.state_dict().items() if k.find('mapper') >= 0}",
    "def f(module):\n    return {name.split('.')[0] for name in module.state_dict()}",
    "def f(module):\n    return {name.removeprefix('module.') for name, _ in module.named_children()}",
    "def f(module):\n    return [name for name, _ in module.named_parameters() if re.match(r'stages\\.\\d+', name)]",
    "CHOSEN = [name for name, _ in MODULE.named_parameters() if 'conv' in name]",
]


@pytest.mark.parametrize("file", ["training/trainer.py", "system.py", "commands/show.py"])
@pytest.mark.parametrize("code", ATTRIBUTES + KINDS_AND_CLASSES + NAMES)
def test_a_planted_violation_is_seen(code, file, tmp_path):
    """In a copy of a real file, which has none without it."""
    copy = tmp_path / Path(file).name
    copy.write_text((PACKAGE / file).read_text())
    assert not knowledge_of_systems(copy)
    copy.write_text(copy.read_text() + f"\n\n{code}\n")
    (found,) = {violation.split(" ", 1)[0].split(":")[0] for violation in knowledge_of_systems(copy)}
    assert found == copy.name


ALLOWED = [
    "def f(recipe):\n    return recipe.generator.synthesis.levels(recipe.resolution)",
    "def f(self):\n    return self.generator.mapper.mean_style, self.discriminator.batch_multiple",
    "def f(text: str):\n    return text.split(',')",
    "def f(needs):\n    return 'real_leaves' in needs",
    "def f(x):\n    raise TypeError(f'{type(x).__name__} builds nothing')",
    "try:\n    work()\nexcept OSError as error:\n    print(str(error) or type(error).__name__)",
    "def f(x):\n    'none'\n    return x",
    "def f(module, tensors):\n    names = dict(module.named_parameters())\n    return [names[key.rpartition('/')[0]] for key in tensors]",
    "def f(module, pattern):\n    return [name for name, _ in module.named_parameters() if fnmatchcase(name, pattern)]",
    "def f(path):\n    return path.name.startswith('.')",
]


@pytest.mark.parametrize("code", ALLOWED)
def test_what_generic_code_may_do_is_not_seen_as_a_violation(code, tmp_path):
    path = tmp_path / "file.py"
    path.write_text(code + "\n")
    assert not knowledge_of_systems(path)
