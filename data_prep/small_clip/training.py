"""The contrastive loss, and the training loop."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from small_clip.batches import BatchSampler, ContrastiveBatch
from small_clip.checkpoint import Checkpoint
from small_clip.config import ClipTraining
from small_clip.model import SmallClip
from t2igan.errors import UserError

MAX_LOGIT_SCALE = 100.0  # CLIP's own bound
MASKED = -1e4  # the logit of a caption that is not a negative


def contrastive_loss(
    image: Float[Tensor, "b d"], text: Float[Tensor, "c d"], scale: Float[Tensor, ""], batch: ContrastiveBatch, config: ClipTraining
) -> Float[Tensor, ""]:
    """Cross-entropy of each image over the captions, and of each sampled caption over the batch's images."""
    targets, rows = batch.targets, torch.arange(len(image))
    allowed = batch.negatives.clone()
    allowed[rows, targets] = True
    log_p = (scale * image @ text.T).masked_fill(~allowed, MASKED).log_softmax(1)
    uniform = log_p.masked_fill(~allowed, 0).sum(1) / allowed.sum(1)
    loss = -((1 - config.smoothing) * log_p[rows, targets] + config.smoothing * uniform).mean()
    if config.symmetric:
        logits = scale * text[targets] @ image.T
        also_true = ~batch.negatives[:, targets].T & ~torch.eye(len(image), dtype=torch.bool)
        loss = loss + config.symmetric * F.cross_entropy(logits.masked_fill(also_true, MASKED), rows)
    return loss


def train(
    model: SmallClip,
    sampler: BatchSampler,
    sentences: Float[Tensor, "n s"],
    config: ClipTraining,
    tick: Callable[[float, float], None] = lambda done, loss: None,
    clock: Callable[[], float] | None = None,
    checkpoint: Checkpoint | None = None,
    bf16: bool = False,
) -> list[float]:
    """Trains until done; returns the loss of every step.

    Args:
        sentences: the sentence features of each caption, by number.
        tick: called after each step with the fraction of the training that is done, and the loss.
        clock: returns the fraction that is done; without it, steps count.
        checkpoint: restores an interrupted training and saves this one.
        bf16: both towers compute in bfloat16; weights, loss and moments stay in float32.

    Raises:
        UserError: the loss is not finite.
    """
    matrices, vectors = ([p for p in model.parameters() if (p.ndim > 1) is matrix] for matrix in (True, False))
    groups = [{"params": matrices, "weight_decay": config.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=config.lr, betas=(0.9, 0.98))
    model.train()
    losses = checkpoint.restore(model, optimizer, sampler) if checkpoint else []
    while (done := clock() if clock else len(losses) / config.steps) < 1:
        rate = min(1, (len(losses) + 1) / config.warmup) * 0.5 * (1 + math.cos(math.pi * done))
        for group in optimizer.param_groups:
            group["lr"] = config.lr * rate
        batch = sampler.sample()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            image, text = model.images(batch.images).float(), model.text(sentences[batch.captions]).float()
        loss = contrastive_loss(image, text, model.logit_scale.exp(), batch, config)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        with torch.no_grad():
            model.logit_scale.clamp_(0, math.log(MAX_LOGIT_SCALE))
        losses.append(loss.item())
        if not math.isfinite(losses[-1]):
            if checkpoint:
                checkpoint.remove()  # its weights may be what made the loss so
            raise UserError(f"the loss is {losses[-1]} at step {len(losses)}; train with another --seed or a larger --batch")
        tick(done, losses[-1])
        if checkpoint:
            checkpoint.save_if_due(model, optimizer, sampler, losses)
    model.eval()
    return losses
