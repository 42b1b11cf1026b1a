"""A tiny run, ready for single steps."""

import pytest
from tiny import override, run_of, tiny_recipe


@pytest.fixture
def tiny(kit, tmp_path):
    """tiny(training__batch=4, ...) -> the Run of the tiny recipe with these values, in the same folder every time."""

    def make(**values):
        return run_of(override(tiny_recipe(kit, guided=False), **values), tmp_path / "run")

    return make


@pytest.fixture
def begun(tiny):
    """The same, begun: its cluster labels are found and its starting weights are in place."""

    def make(**values):
        run = tiny(**values)
        run.begin()
        return run

    return make
