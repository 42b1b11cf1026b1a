"""The names that `import t2igan` offers, and what they cost."""

import subprocess
import sys
from importlib.metadata import version

import pytest
from tiny import environment

import t2igan


def test_importing_the_library_imports_neither_torch_nor_numpy():
    code = "import sys, t2igan\ndir(t2igan), t2igan.__version__\nprint(sorted({'torch', 'numpy', 'yaml', 'PIL'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], env=environment("unused"), capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.parametrize(
    ("name", "home"),
    [
        ("Pipeline", "t2igan.inference.pipeline"),
        ("Upsampler", "t2igan.inference.upsampler"),
        ("open_model", "t2igan.inference.open"),
        ("load_recipe", "t2igan.recipe"),
        ("build_system", "t2igan.system"),
    ],
)
def test_public_names_are_the_ones_that_their_modules_define(name, home):
    found = getattr(t2igan, name)
    assert found.__module__ == home and found is getattr(sys.modules[home], name)


def test_all_and_dir_list_every_public_name():
    assert set(t2igan.__all__) == {"Pipeline", "Upsampler", "open_model", "load_recipe", "build_system", "__version__"}
    assert set(t2igan.__all__) <= set(dir(t2igan))
    assert all(getattr(t2igan, name) for name in t2igan.__all__) and t2igan.__version__ == version("t2igan")


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 't2igan' has no attribute 'Pipelines'"):
        t2igan.Pipelines  # noqa: B018
    with pytest.raises(ImportError, match="Pipelines"):
        from t2igan import Pipelines  # noqa: F401
