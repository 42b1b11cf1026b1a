"""Networks from other projects' files: one file per system states how its tensors are named there."""

from t2igan.official.stylegan2 import convert_stylegan2, is_stylegan2
from t2igan.official.stylegan3 import convert_stylegan3, is_stylegan3

SYSTEMS = {"StyleGAN2": (is_stylegan2, convert_stylegan2), "StyleGAN3": (is_stylegan3, convert_stylegan3)}
