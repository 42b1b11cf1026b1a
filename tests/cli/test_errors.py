"""What every command does with an error."""

import subprocess
import sys

import pytest
from tiny import ROOT, override, tiny_recipe, write_recipe

from t2igan.cli import main
from t2igan.errors import PIPE_CLOSED, UserError, run_script

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


REFUSALS = [
    PermissionError(13, "Permission denied", "/locked"),
    FileNotFoundError(2, "No such file or directory", "/proc/x.png"),
    OSError(28, "No space left on device"),
    OSError(36, "File name too long", "x"),
]


@pytest.mark.parametrize("error", REFUSALS)
def test_what_the_machine_refuses_is_one_line(error, capsys):
    def refused():
        raise error

    with pytest.raises(SystemExit) as stop:
        run_script(refused)
    assert stop.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: {error.strerror}") and said.count("\n") == 1 and "None" not in said


def test_no_memory_is_one_line(capsys):
    def greedy():
        raise MemoryError

    with pytest.raises(SystemExit) as stop:
        run_script(greedy)
    assert stop.value.code == 2 and capsys.readouterr().err == "error: not enough memory; ask for less at a time\n"


def test_a_closed_pipe_ends_a_command_without_a_word(kit, tmp_path):
    recipe = write_recipe(tmp_path / "recipe.yaml", tiny_recipe(kit))
    command = [sys.executable, "-m", "t2igan", "show", str(recipe), "--json"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    assert process.stderr.read() == b"" and process.wait() == PIPE_CLOSED


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
