"""Networks from other projects' files: one file per system states how its tensors are named there."""

from t2igan.official.stylegan2 import convert_stylegan2, is_stylegan2

SYSTEMS = {"StyleGAN2": (is_stylegan2, convert_stylegan2)}
