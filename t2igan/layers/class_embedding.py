"""Labels as features of their pictures: a table whose rows begin as the mean features of each class, and a projection.

Sauer et al. 2022 (arXiv:2202.00273), section 3.2 ("pretrained class embeddings").
"""

from pathlib import Path

import torch
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from t2igan.errors import UserError
from t2igan.layers.equalized import EqualizedLinear, lrelu


def check_table(file: str | None, width: int | None) -> None:
    """Raises ValueError where a recipe gives one of `class_embeddings` and `embedding_width` without the other."""
    if (file is None) != (width is None):
        given, other = ("class_embeddings", "embedding_width") if width is None else ("embedding_width", "class_embeddings")
        raise ValueError(f"{given} is given without {other}; give both or neither")


class ClassEmbedding(nn.Module):
    """One-hot labels through the table, or the descriptors of captions as they are, to vectors.

    Args:
        text_dim: width of the descriptors; of labels, the number of classes.
        width: of the table's rows; None: there is no table.
        channels: of the vectors.
    """

    def __init__(self, text_dim: int, width: int | None, channels: int):
        super().__init__()
        self.table = nn.Parameter(torch.randn(text_dim, width)) if width else None
        self.linear = EqualizedLinear(width or text_dim, channels)

    def forward(self, descriptor: Float[Tensor, "b text_dim"]) -> Float[Tensor, "b channels"]:
        x = descriptor if self.table is None else descriptor @ self.table.to(descriptor.dtype)
        return lrelu(self.linear(x))

    @torch.no_grad()
    def load(self, file: Path, where: str) -> None:
        """Sets the table to the rows of a file that data_prep/class_embeddings.py made; `where` names the recipe's field.

        Raises:
            UserError: the file is not there, or holds a table of another shape.
        """
        try:
            rows = load_file(file)["class_embeddings"]
        except (OSError, KeyError, SafetensorError):
            raise UserError(f"{where}: no class embeddings at {file}; make them with data_prep/class_embeddings.py") from None
        if rows.shape != self.table.shape:
            shapes = f"{tuple(rows.shape)}, and this system's table has {tuple(self.table.shape)}"
            raise UserError(f"{where}: {file} holds a table of {shapes}; classes and embedding_width must agree")
        self.table.copy_(rows)
