"""A frozen CLIP that compares pictures with captions: guidance in training, the yardstick in evaluation."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from t2igan.errors import UserError
from t2igan.features.base import FeatureNetwork
from t2igan.text.cache import RowCache
from t2igan.text.open_clip import load_open_clip

ENCODE_BATCH = 64


class ClipScorer(nn.Module):
    """Pictures in [-1, 1] and captions to embeddings of unit length; resize, mean and std are the CLIP's own.

    Args:
        model: an open_clip name, `local-dir:FOLDER` or `hf-hub:ORG/REPO`.
        pretrained: open_clip's tag or a weight file, for a model given by name.
        cache: where caption embeddings are kept on disk; None keeps them in memory.
        antialias: whether the bicubic resize averages when it reduces.
    """

    def __init__(self, model: str, pretrained: str | None = None, cache: Path | None = None, antialias: bool = True):
        super().__init__()
        self.model, self.pretrained, self.cache, self.antialias = model, pretrained, cache, antialias
        self.captions: dict[str, Tensor] = {}

    def load_pretrained(self) -> None:
        """Reads the weights. Raises UserError where they are missing."""
        import open_clip

        self.clip, self.tokenizer = load_open_clip(self.model, self.pretrained)
        preprocess = open_clip.get_model_preprocess_cfg(self.clip)
        size = preprocess["size"]
        self.size = size if isinstance(size, int) else size[0]
        self.register_buffer("mean", torch.tensor(preprocess["mean"])[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(preprocess["std"])[:, None, None], persistent=False)
        self.disk = RowCache(self.cache, self.fingerprint()) if self.cache else None

    def fingerprint(self) -> str:
        """Of weights, architecture (weights say nothing of the activation), tokenizer and preprocessing."""
        frame = (self.clip, self.size, self.mean.flatten().tolist(), self.std.flatten().tolist(), self.tokenizer.context_length)
        digest = hashlib.sha256(f"clip {frame} {type(self.tokenizer).__name__}".encode())
        for name, weight in self.clip.state_dict().items():
            digest.update(name.encode())
            digest.update(weight.float().flatten()[:: max(1, weight.numel() // 4096)].contiguous().cpu().numpy().tobytes())
        return digest.hexdigest()

    @property
    def logit_scale(self) -> float:
        return float(self.clip.logit_scale.exp())

    def images(self, images: Float[Tensor, "b 3 r r"]) -> Float[Tensor, "b d"]:
        """Embeddings of pictures, differentiable."""
        return self.clip.encode_image(self._prepared(images), normalize=True).float()

    def maps(self, images: Float[Tensor, "b 3 r r"], layers: Sequence[int]) -> list[Float[Tensor, "b c h w"]]:
        """The image tower's maps after these layers, counted from 0; differentiable.

        Raises:
            UserError: the tower is no ViT, or has not so many layers.
        """
        from open_clip.transformer import VisionTransformer

        visual = self.clip.visual
        if not isinstance(visual, VisionTransformer):
            raise UserError(f"{self.model} has a {type(visual).__name__}; maps of layers need a ViT")
        depth = len(visual.transformer.resblocks)
        if max(layers) >= depth:
            raise UserError(f"{self.model} has {depth} layers, 0 to {depth - 1}, not {max(layers)}; choose others")
        found = visual.forward_intermediates(self._prepared(images), list(layers), stop_early=True, intermediates_only=True)
        return found["image_intermediates"]

    def _prepared(self, images: Float[Tensor, "b 3 r r"]) -> Float[Tensor, "b 3 s s"]:
        """At the tower's size, with its mean and deviation."""
        x = (images.float().clamp(-1, 1) + 1) / 2
        if x.shape[-1] != self.size:
            x = F.interpolate(x, size=(self.size, self.size), mode="bicubic", antialias=self.antialias, align_corners=False)
        return (x - self.mean) / self.std

    @torch.no_grad()
    def text(self, captions: list[str]) -> Float[Tensor, "b d"]:
        """Embeddings of captions; each caption is encoded once."""
        missing = [caption for caption in dict.fromkeys(captions) if caption not in self.captions]
        if missing and self.disk:
            found = self.disk.read(missing)
            self.captions |= {caption: torch.from_numpy(np.frombuffer(value, np.float32).copy()) for caption, value in found.items()}
            missing = [caption for caption in missing if caption not in found]
        for start in range(0, len(missing), ENCODE_BATCH):
            part = missing[start : start + ENCODE_BATCH]
            self.remember(part, self.clip.encode_text(self.tokenizer(part).to(self.mean.device), normalize=True).float().cpu())
        return torch.stack([self.captions[caption] for caption in captions]).to(self.mean.device)

    def remember(self, captions: list[str], embeddings: Float[Tensor, "b d"]) -> None:
        """Keeps embeddings that are already known, in memory and on disk."""
        rows = dict(zip(captions, embeddings, strict=True))
        self.captions |= rows
        if self.disk:
            self.disk.write({caption: row.numpy().tobytes() for caption, row in rows.items()})


class ClipFeatures(FeatureNetwork):
    """Pictures to `embedding`, of unit length; `text` gives captions' embeddings in the same space."""

    layers = ("embedding",)

    def __init__(self, model: str, pretrained: str | None = None, cache: Path | None = None, antialias: bool = True):
        super().__init__()
        self.scorer = ClipScorer(model, pretrained, cache, antialias)

    def load_pretrained(self) -> None:
        self.scorer.load_pretrained()

    def account(self) -> dict[str, object]:
        resize = f"bicubic {'with' if self.scorer.antialias else 'without'} antialiasing, {self.scorer.size} px"
        return {"network": self.scorer.model.partition(":")[0], "weights": self.scorer.fingerprint(), "resize": resize}

    @torch.no_grad()
    def forward(self, pictures: UInt8[Tensor, "b 3 h w"]) -> dict[str, Float[Tensor, "b _"]]:
        return {"embedding": self.scorer.images(pictures.float() / 127.5 - 1)}

    def text(self, captions: list[str]) -> Float[Tensor, "b d"]:
        return self.scorer.text(captions)
