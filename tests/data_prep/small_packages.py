"""Packages of art as npm leaves them, drawings, and programs of the machine, small."""

import json
from pathlib import Path

from drawing_set.drawing import Drawing
from drawing_set.sources import SOURCES

SIZE = 16


def disc(fill: str, radius: int = 6) -> str:
    return f'<circle cx="8" cy="8" r="{radius}" fill="{fill}"/>'


def write_icons(
    packages: Path, source: str, bodies: dict[str, str], codepoints: dict[str, str] | None = None, categories: dict | None = None
) -> None:
    """A package of a source as npm unpacks it."""
    folder = packages / SOURCES[source].package.rpartition("/")[2] / "package"
    folder.mkdir(parents=True)
    (folder / "icons.json").write_text(json.dumps({"icons": {slug: {"body": body} for slug, body in bodies.items()}, "height": 16}))
    (folder / "chars.json").write_text(json.dumps(codepoints or {}))
    if categories:
        (folder / "metadata.json").write_text(json.dumps({"categories": categories}))


def drawn(source: str, key: str, name: str, **details) -> Drawing:
    return Drawing(source, key, name, [name], f"<svg>{key}</svg>", **details)


def fake(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
