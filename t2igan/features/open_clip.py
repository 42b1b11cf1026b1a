"""A frozen CLIP that embeds images and captions in one space: for guidance in training and scores in evaluation."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from t2igan.errors import UserError
from t2igan.features.base import BLOCK, FeatureNetwork, block_numbers, check_layers
from t2igan.layers.precision import full_precision
from t2igan.plain_text import beginning
from t2igan.text.cache import CaptionCache, Row, RowCache
from t2igan.text.fingerprint import weights_fingerprint
from t2igan.text.open_clip import load_open_clip

STAGES = 5  # of open_clip's ResNet, with its stem


class ClipScorer(FeatureNetwork):
    """Images in [-1, 1] and captions to embeddings of unit length; resize, mean and deviation are this CLIP's.

    A call gives `embedding`, the images' embeddings, or a ViT's maps `block0`, `block1` and so on.

    Args:
        model: an open_clip name, `local-dir:FOLDER` or `hf-hub:ORG/REPO`.
        pretrained: open_clip's tag or a weight file, for a model given by name.
        cache: folder of the file of caption embeddings; None keeps them in memory only.
        antialias: whether the bicubic resize averages when it reduces.
        layers: which features a call gives.
        side: px, at which a ResNet's maps are made; None: as the CLIP was trained.
    """

    def __init__(
        self,
        model: str,
        pretrained: str | None = None,
        cache: Path | None = None,
        antialias: bool = True,
        layers: tuple[str, ...] = ("embedding",),
        side: int | None = None,
    ):
        super().__init__()
        check_layers([layer for layer in layers if not layer.removeprefix(BLOCK).isdigit()], ("embedding", f"{BLOCK}N"), model)
        self.model, self.pretrained, self.cache, self.antialias, self.layers, self.side = model, pretrained, cache, antialias, layers, side

    def load_pretrained(self) -> None:
        self._take(*load_open_clip(self.model, self.pretrained))
        self.logit_scale = float(self.clip.logit_scale.exp())  # a number, so that no step waits for the device
        # weights show neither the activation nor the preprocessing
        frame = (self.clip, self.size, self.mean.flatten().tolist(), self.std.flatten().tolist(), self.tokenizer.context_length)
        self.digest = weights_fingerprint(f"clip {frame} {type(self.tokenizer).__name__}", self.clip)
        self.captions = CaptionCache(self._encode, pack, self._unpack, RowCache(self.cache, self.digest) if self.cache else None)

    def load_architecture(self) -> None:
        """Random weights, and zeros for the embedding of every caption. Raises UserError where the configuration is not here."""
        self._take(*load_open_clip(self.model, self.pretrained, weights=False))
        self.logit_scale = 100.0
        width = self.clip.text.output_dim
        self.captions = lambda captions: dict.fromkeys(captions, (torch.zeros(width),))

    def _take(self, clip: nn.Module, tokenizer: object) -> None:
        import open_clip

        self.clip, self.tokenizer = clip, tokenizer
        preprocess = open_clip.get_model_preprocess_cfg(clip)
        size = preprocess["size"]
        self.size = size if isinstance(size, int) else size[0]
        self.register_buffer("mean", torch.tensor(preprocess["mean"])[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(preprocess["std"])[:, None, None], persistent=False)

    def provenance(self) -> dict[str, object]:
        resize = f"bicubic {'with' if self.antialias else 'without'} antialiasing, {self.side or self.size} px"
        return {"network": self.model.partition(":")[0], "weights": self.digest, "resize": resize}

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> dict[str, Float[Tensor, "b ..."]]:
        """Raises UserError where `maps` does."""
        found, blocks = {}, block_numbers(self.layers)
        if "embedding" in self.layers:
            found["embedding"] = self.images(images)
        if blocks:
            found |= {f"{BLOCK}{number}": x.float() for number, x in zip(blocks, self.maps(images, blocks), strict=True)}
        return {layer: found[layer] for layer in self.layers}

    def images(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b d"]:
        """Embeddings of images, differentiable."""
        return self.clip.encode_image(self._preprocessed(images), normalize=True).float()

    def maps(self, images: Float[Tensor, "b 3 h w"], layers: Sequence[int]) -> list[Float[Tensor, "b c y x"]]:
        """The image tower's maps after these layers, counted from 0, in rising order; differentiable.

        Layers of a ViT are its blocks, those of open_clip's own ResNet its stem and its four stages.

        Raises:
            UserError: the tower is of another kind, or has fewer layers.
        """
        from open_clip.modified_resnet import ModifiedResNet
        from open_clip.transformer import VisionTransformer

        visual = self.clip.visual
        if not isinstance(visual, VisionTransformer | ModifiedResNet):
            raise UserError(f"{self.model} has a {type(visual).__name__}; maps of layers need a ViT, or a ResNet of open_clip's")
        if self.side and not isinstance(visual, ModifiedResNet):
            raise UserError(f"{self.model} has a {type(visual).__name__}, which reads images of {self.size} px only; leave side out")
        depth = STAGES if isinstance(visual, ModifiedResNet) else len(visual.transformer.resblocks)
        if max(layers) >= depth:
            raise UserError(f"{self.model} has {depth} layers, 0 to {depth - 1}, not {max(layers)}; choose others")
        found = visual.forward_intermediates(self._preprocessed(images, self.side), list(layers), stop_early=True, intermediates_only=True)
        return found["image_intermediates"]

    def _preprocessed(self, images: Float[Tensor, "b 3 h w"], side: int | None = None) -> Float[Tensor, "b 3 s s"]:
        """At the tower's size, or another one, with its mean and deviation."""
        x, size = (images.float().clamp(-1, 1) + 1) / 2, side or self.size
        if x.shape[-2:] != (size, size):
            x = F.interpolate(x, size=(size, size), mode="bicubic", antialias=self.antialias, align_corners=False)
        return (x - self.mean) / self.std

    def text(self, captions: list[str]) -> Float[Tensor, "b d"]:
        """Embeddings of captions, without gradients; what the cache holds is not encoded again."""
        rows = self.captions(captions)
        return torch.stack([rows[caption][0] for caption in captions]).to(self.mean.device)

    def remember(self, captions: list[str], embeddings: Float[Tensor, "b d"]) -> None:
        """Stores embeddings that are already known in the cache."""
        self.captions.store({caption: (row,) for caption, row in zip(captions, embeddings, strict=True)})

    def _unpack(self, value: bytes) -> Row:
        row = np.frombuffer(value, np.float32)  # ValueError where bytes are left over
        width = self.clip.text.output_dim
        if len(row) != width:
            raise ValueError(f"an embedding of {len(row)} numbers, this CLIP's have {width}")
        return (torch.from_numpy(row.copy()),)

    def _count(self, caption: str) -> int:
        """Tokens of a caption, at most as many as this CLIP reads: without the padding, which repeats."""
        (ids,) = self.tokenizer([caption])
        return int((ids != ids[-1]).sum()) if ids[-1] in (0, ids[-2]) else len(ids)

    @torch.no_grad()
    def _encode(self, captions: list[str]) -> list[Row]:
        read = [beginning(caption, self.tokenizer.context_length, self._count) for caption in captions]
        with full_precision(self.mean.device):  # they are cached for whoever asks next
            embeddings = self.clip.encode_text(self.tokenizer(read).to(self.mean.device), normalize=True)
        return [(row,) for row in embeddings.float().cpu()]


def pack(row: Row) -> bytes:
    return row[0].numpy().tobytes()
