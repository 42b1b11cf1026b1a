"""What every command does with an error."""

import sys

import pytest
from tiny import override, tiny_recipe, write_recipe

from t2igan.cli import main
from t2igan.errors import UserError, run_script

pytest_plugins = ["kit"]


@pytest.mark.parametrize(
    "arguments",
    [["show", "missing.yaml", "--debug"], ["--debug", "diff", "a", "b"], ["edit", "truncate", "--debug", "missing", "a", "--out", "x.png"]],
)
def test_debug_shows_the_traceback_of_every_command(arguments, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["t2igan", *arguments])
    with pytest.raises(UserError, match=r"no recipe at|is not a run folder"):
        main(arguments)


def test_an_interrupt_ends_with_code_130(capsys):
    def interrupted():
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as stop:
        run_script(interrupted)
    assert stop.value.code == 130 and capsys.readouterr().err == "interrupted\n"


@pytest.mark.parametrize("error", [PermissionError(13, "Permission denied", "/locked"), OSError(28, "No space left on device")])
def test_what_the_machine_refuses_is_one_line(error, capsys):
    def refused():
        raise error

    with pytest.raises(SystemExit) as stop:
        run_script(refused)
    assert stop.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: {error.strerror}") and said.count("\n") == 1 and "None" not in said


def test_an_error_of_ours_is_not_hidden():
    """Only what the user gave is reported in one line; a bug keeps its traceback."""

    def buggy():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_script(buggy)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"objective__discriminator": [{"kind": "nonsaturating", "every": 2}]}, "no term that is due from the first step at every step"),
        ({"training__total_images": 7}, "less than one batch of 8"),
    ],
)
def test_a_recipe_that_could_not_train_is_refused(kit, tmp_path, capsys, changes, says):
    recipe = write_recipe(tmp_path / "recipe.yaml", override(tiny_recipe(kit), **changes))
    with pytest.raises(SystemExit) as stop:
        main(["train", str(recipe), "--out", str(tmp_path / "run")])
    assert stop.value.code == 2 and says in capsys.readouterr().err and not (tmp_path / "run").exists()
