"""The prompts that an evaluation generates images of."""

from pathlib import Path

from t2igan.errors import UserError
from t2igan.inference.pipeline import NO_PROMPT, Pipeline
from t2igan.plain_text import read_lines


def read_prompts(file: Path) -> list[str]:
    """One prompt per line; blank lines are skipped. Raises UserError where there is no such file, or it is not text."""
    if not file.is_file():
        raise UserError(f"no prompts at {file}; give a file with one prompt per line")
    return read_lines(file)


def prompts_for(pipeline: Pipeline, file: Path | None) -> list[str]:
    """The prompts of a file, for a model that takes prompts; the empty one for a model that takes none.

    Raises:
        UserError: a model that takes prompts got no file, or one that takes none got one, or the file is not usable.
    """
    if file is None and pipeline.conditional:
        raise UserError("this model takes prompts; give --prompts FILE, with one prompt per line")
    prompts = [NO_PROMPT] if file is None else read_prompts(file)
    pipeline.check(prompts)
    return prompts
