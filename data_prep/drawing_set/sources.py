"""Where the drawings come from, who drew them and under which licence.

Only art whose licence allows training and redistribution. Apple's and Facebook's emoji, logos and other trademarks stay out.
"""

from dataclasses import dataclass

LICENSE_TEXTS = {
    "Apache-2.0": "https://www.apache.org/licenses/LICENSE-2.0",
    "CC BY 3.0": "https://creativecommons.org/licenses/by/3.0/",
    "CC BY 4.0": "https://creativecommons.org/licenses/by/4.0/",
    "CC BY-SA 4.0": "https://creativecommons.org/licenses/by-sa/4.0/",
    "CC0 1.0": "https://creativecommons.org/publicdomain/zero/1.0/",
    "MIT": "https://opensource.org/license/mit",
    "public domain": "https://creativecommons.org/public-domain/",
}
EMOJI, ICONS, SILHOUETTES, CLIP_ART, TILES, AVATARS = "emoji", "icons", "silhouettes", "clip art", "tiles", "avatars"


@dataclass(frozen=True)
class Source:
    """One author's set of art.

    Attributes:
        kind: EMOJI, ICONS, SILHOUETTES (one colour, which the caption names), CLIP_ART, TILES or AVATARS (drawn by a generator).
        package: where npm, Debian or pip finds it.
        style: how captions name its look; "" if they don't.
        plain: whether captions may leave out the style; not of sets drawn in two colours, where apples and strawberries are blue.
    """

    name: str
    kind: str
    package: str
    license: str
    author: str
    home: str
    style: str = ""
    plain: bool = True


GOOGLE, MICROSOFT, STREAMLINE = "Google Inc", "Microsoft Corporation", "Streamline"
NOTO_HOME = "https://github.com/googlefonts/noto-emoji"
FLUENT_HOME = "https://github.com/microsoft/fluentui-emoji"
STREAMLINE_HOME = "https://github.com/webalys-hq/streamline-vectors"
DICEBEAR_HOME = "https://github.com/dicebear/dicebear"


def _npm(name: str, kind: str, version: str, license: str, author: str, home: str, style: str = "", plain: bool = True) -> Source:
    return Source(name, kind, f"@iconify-json/{name}@{version}", license, author, home, style, plain)


def _avatars(name: str) -> Source:
    return Source(name, AVATARS, "dicebear-styles", "CC0 1.0", "DiceBear", DICEBEAR_HOME)


SOURCES = {
    source.name: source
    for source in (
        _npm("noto", EMOJI, "1.2.9", "Apache-2.0", GOOGLE, NOTO_HOME, "noto"),
        _npm(
            "twemoji", EMOJI, "1.2.5", "CC BY 4.0", "Twitter, Inc and other contributors", "https://github.com/jdecked/twemoji", "twemoji"
        ),
        _npm("openmoji", EMOJI, "1.2.29", "CC BY-SA 4.0", "OpenMoji", "https://github.com/hfg-gmuend/openmoji", "openmoji"),
        _npm("fluent-emoji", EMOJI, "1.2.7", "MIT", MICROSOFT, FLUENT_HOME, "fluent"),
        _npm("fluent-emoji-flat", EMOJI, "1.2.6", "MIT", MICROSOFT, FLUENT_HOME, "flat fluent"),
        _npm("noto-v1", EMOJI, "1.2.5", "Apache-2.0", GOOGLE, NOTO_HOME, "blob"),
        _npm("emojione", EMOJI, "1.2.3", "CC BY 4.0", "Emoji One", "https://github.com/EmojiTwo/emojitwo", "emojione"),
        _npm("emojione-v1", EMOJI, "1.2.3", "CC BY-SA 4.0", "Emoji One", "https://github.com/joypixels/emojione-legacy", "first emojione"),
        _npm("fxemoji", EMOJI, "1.2.2", "Apache-2.0", "Mozilla", "https://github.com/mozilla/fxemoji", "fxemoji"),
        _npm("streamline-emojis", EMOJI, "1.2.4", "CC BY 4.0", STREAMLINE, STREAMLINE_HOME, "streamline"),
        _npm("streamline-kameleon-color", ICONS, "1.2.2", "CC BY 4.0", STREAMLINE, STREAMLINE_HOME, "kameleon"),
        _npm("streamline-ultimate-color", ICONS, "1.2.2", "CC BY 4.0", STREAMLINE, STREAMLINE_HOME, "ultimate"),
        _npm("streamline-stickies-color", ICONS, "1.2.2", "CC BY 4.0", STREAMLINE, STREAMLINE_HOME, "stickies"),
        _npm("flat-color-icons", ICONS, "1.2.3", "MIT", "Icons8", "https://github.com/icons8/flat-Color-icons", "flat"),
        _npm("meteocons", ICONS, "1.2.4", "MIT", "Bas Milius", "https://github.com/basmilius/weather-icons", "meteocons"),
        _npm("fluent-color", ICONS, "1.2.21", "MIT", MICROSOFT, "https://github.com/microsoft/fluentui-system-icons", "fluent icon"),
        _npm("marketeq", ICONS, "1.2.2", "MIT", "Marketeq", "https://npmjs.com/package/@iconify-json/marketeq", "marketeq", plain=False),
        _npm("streamline-freehand-color", ICONS, "1.2.2", "CC BY 4.0", STREAMLINE, STREAMLINE_HOME, "freehand", plain=False),
        _npm("streamline-cyber-color", ICONS, "1.2.2", "CC BY 4.0", STREAMLINE, STREAMLINE_HOME, "cyber", plain=False),
        _npm("icon-park", ICONS, "1.2.4", "Apache-2.0", "ByteDance", "https://github.com/bytedance/IconPark", "icon park", plain=False),
        _npm("game-icons", SILHOUETTES, "1.2.4", "CC BY 3.0", "GameIcons", "https://github.com/game-icons/icons"),
        _npm("healthicons", SILHOUETTES, "1.2.13", "MIT", "Resolve to Save Lives", "https://github.com/resolvetosavelives/healthicons"),
        _npm("maki", SILHOUETTES, "1.2.5", "CC0 1.0", "Mapbox", "https://github.com/mapbox/maki"),
        Source(
            "openclipart",
            CLIP_ART,
            "openclipart-svg",
            "public domain",
            "the artists of Open Clip Art",
            "https://openclipart.org",
            "clip art",
        ),
        Source("crawl", TILES, "crawl", "CC0 1.0", "RLTiles and the Crawl team", "https://github.com/crawl/tiles", "pixel art"),
        _avatars("critters"),
        _avatars("sprouts"),
        _avatars("planets"),
        _avatars("voxel-bot"),
        _avatars("landscape"),
        Source("pixel-art", AVATARS, "dicebear-styles", "CC0 1.0", "DiceBear", DICEBEAR_HOME),
    )
}
HELD_OUT_STYLE = "fxemoji"  # whose pictures nobody trains on
