"""A tiny recipe, a finished run, and the `t2igan` command called and refused."""

import warnings

import pytest
from tiny import override, tiny_recipe, write_recipe

from t2igan.cli import main


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A cache of its own; and the warnings' way to stderr, which `sample` changes, as it was."""
    monkeypatch.setenv("T2IGAN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def tiny(kit):
    """Two steps, unguided."""
    return override(tiny_recipe(kit, guided=False), training__total_images=16, training__prompts=[])


@pytest.fixture
def recipe(tiny, tmp_path):
    """recipe(section__key=value) -> the path of a tiny recipe with these changes."""
    return lambda **values: write_recipe(tmp_path / "recipe.yaml", override(tiny, **values))


@pytest.fixture(scope="module")
def run(tiny, tmp_path_factory):
    """A finished run, for reading only."""
    folder = tmp_path_factory.mktemp("cli")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("T2IGAN_CACHE", str(folder / "cache"))
        main(["train", str(write_recipe(folder / "tiny.yaml", tiny)), "--out", str(folder / "run")])
    return folder / "run"


@pytest.fixture
def call(capsys):
    """call("show", ...) -> what it prints."""

    def run(*arguments) -> str:
        main(list(map(str, arguments)))
        return capsys.readouterr().out

    return run


@pytest.fixture
def refused(capsys, tmp_path):
    """refused("train", ...) -> the one line on stderr; exit code 2, and not a file created, changed or removed."""

    def tree():
        return {path: path.read_bytes() if path.is_file() else None for path in tmp_path.rglob("*") if "cache" not in path.parts}

    def run(*arguments) -> str:
        before = tree()
        with pytest.raises(SystemExit) as stop:
            main(list(map(str, arguments)))
        out, err = capsys.readouterr()
        assert stop.value.code == 2
        (line,) = err.splitlines()
        assert line.startswith("error: ") and out == "" and "Traceback" not in err
        assert tree() == before, "nothing lost, nothing half-written"
        return line

    return run
