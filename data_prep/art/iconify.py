"""`@iconify-json/NAME` packages of npm: a set of icons in one JSON, each the body of an SVG under a slug."""

import json
import re
from functools import cached_property
from pathlib import Path

BOX = {"left": 0, "top": 0, "width": 16, "height": 16}  # iconify's defaults
# A part that an animation lets appear, such as falling rain: without the animation it would be missing
APPEARING = re.compile(r'(<\w+[^<>]*?) opacity="0"([^<>]*>(?:<animateTransform\b[^<>]*/>)?<animate\b[^<>]*attributeName="opacity")')


class IconSet:
    """The icons of one package."""

    def __init__(self, package: Path):
        self._icons = json.loads((package / "icons.json").read_text(encoding="utf-8"))
        self._package = package

    def slugs(self) -> list[str]:
        """Those that the set still shows, in its order."""
        return [slug for slug, icon in self._icons["icons"].items() if not icon.get("hidden")]

    @cached_property
    def codepoints(self) -> dict[str, str]:
        """Codepoints, as the package spells them, to slugs; empty in many packages."""
        return json.loads((self._package / "chars.json").read_text(encoding="utf-8"))

    def of_categories(self, names: set[str]) -> set[str]:
        """The icons that the package sorts into these categories; of none in a package that sorts nothing."""
        file = self._package / "metadata.json"
        categories = json.loads(file.read_text(encoding="utf-8")).get("categories", {}) if file.is_file() else {}
        return {slug for name in names & set(categories) for slug in categories[name]}

    def __contains__(self, slug: str) -> bool:
        return slug in self._icons["icons"]

    def svg(self, slug: str) -> str:
        icon = self._icons["icons"][slug]
        box = " ".join(str(icon.get(side, self._icons.get(side, default))) for side, default in BOX.items())
        xlink = 'xmlns:xlink="http://www.w3.org/1999/xlink"'
        body = APPEARING.sub(r"\1\2", icon["body"])
        return f'<svg xmlns="http://www.w3.org/2000/svg" {xlink} viewBox="{box}">{body}</svg>'
