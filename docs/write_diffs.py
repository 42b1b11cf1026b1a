"""Writes what `t2igan diff` prints into every block of a document that begins with such a command.

    python docs/write_diffs.py docs/lineage.md

A block is fenced as `diff` and its first line is `# t2igan diff A B`, with recipes given from the repository's root.
"""

import contextlib
import io
import re
import sys
from pathlib import Path

from t2igan.cli import main

BLOCK = re.compile(r"(```diff\n# t2igan (diff \S+ \S+)\n).*?(```)", re.DOTALL)


def rewritten(text: str) -> str:
    """The document with every block's output as it is now."""
    return BLOCK.sub(lambda block: block[1] + output(block[2].split()) + block[3], text)


def output(words: list[str]) -> str:
    stream = io.StringIO()
    with contextlib.redirect_stdout(stream):
        main(words)
    # a sign in the first column is what a reader of a diff looks for
    return "".join(line.removeprefix("  ") if line.startswith(("  - ", "  + ")) else line for line in stream.getvalue().splitlines(True))


if __name__ == "__main__":
    for name in sys.argv[1:]:
        path = Path(name)
        path.write_text(rewritten(path.read_text(encoding="utf-8")), encoding="utf-8")
