"""The shape of the library: who may import whom, and where heavy libraries come in."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "t2igan"
MODULES = sorted(PACKAGE.rglob("*.py"))
MAX_LINES = 300
TRAINER_LINES = 200  # the training step, for every system

# A room imports only rooms to its left. Leaves that know nothing of GANs come first.
ORDER = [
    "memory", "errors", "files", "grids", "schedule", "draws", "types", "layers", "text", "features", "style", "synthesis",
    "pyramid", "augment", "discriminator", "objective", "config", "recipe", "system", "data", "metrics", "inference", "evaluation",
    "training", "commands", "cli", "__main__",
]  # fmt: skip
LEAVES = {"memory", "errors", "files", "grids", "schedule", "draws", "types"}  # they import nothing of ours but errors, and errors memory
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


def test_files_stay_short():
    lengths = {path.relative_to(ROOT): len(path.read_text().splitlines()) for path in MODULES}
    assert not {path: length for path, length in lengths.items() if length > MAX_LINES}
    assert lengths[Path("t2igan/training/trainer.py")] < TRAINER_LINES


def test_every_module_says_what_it_is():
    for path in MODULES:
        if path.name not in ("__init__.py", "__main__.py"):
            assert ast.get_docstring(ast.parse(path.read_text())), f"{path} has no docstring"


def test_no_pickles():
    for path in MODULES:
        names = {name for _, name, _ in imports(path)}
        assert not names & {"pickle", "dill", "cloudpickle"}, path
        assert "torch.save(" not in path.read_text(), path
        for call in ast.walk(ast.parse(path.read_text())):  # others' files may be read, as tensors and nothing else
            if isinstance(call, ast.Call) and ast.unparse(call.func) == "torch.load":
                assert "weights_only=True" in {ast.unparse(keyword) for keyword in call.keywords}, f"{path}:{call.lineno}"
