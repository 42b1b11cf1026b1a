"""Text-to-image GANs: a prompt goes in, an image comes out, in one forward pass.

    from t2igan import open_model

    pipeline = open_model("runs/demo")
    pipeline(["a red apple"], seeds=[0, 1])[0][0].save("apple.png")

The names below are imported at their first use, so that `import t2igan` loads neither torch nor numpy.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from t2igan.inference.open import open_model
    from t2igan.inference.pipeline import Pipeline
    from t2igan.inference.upsampler import Upsampler
    from t2igan.recipe import load_recipe
    from t2igan.system import build_system

    __version__: str

__all__ = ["Pipeline", "Upsampler", "__version__", "build_system", "load_recipe", "open_model"]

_MODULES = {
    "Pipeline": "t2igan.inference.pipeline",
    "Upsampler": "t2igan.inference.upsampler",
    "build_system": "t2igan.system",
    "load_recipe": "t2igan.recipe",
    "open_model": "t2igan.inference.open",
}


def __getattr__(name: str):
    if name == "__version__":
        from importlib.metadata import version

        return version("t2igan")
    if name not in _MODULES:
        raise AttributeError(f"module 't2igan' has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
