"""The peer's side of benchmarks/gigagan.py: PyPI's gigagan-pytorch."""

from itertools import repeat

import torch
from accelerate.state import AcceleratorState

from benchmarks.gigagan import PENALTY_EVERY
from benchmarks.gigagan_ours import TEXT_DIM, TEXT_WIDTH, TOKENS
from t2igan.errors import UserError

try:
    import gigagan_pytorch.gigagan_pytorch as peer
    from gigagan_pytorch.unet_upsampler import UnetUpsampler
except ImportError as error:
    raise UserError(f"the peer is missing ({error}): pip install --no-deps -r benchmarks/requirements.txt") from None

CAPACITY = {"small": (8, 256), "base": (32, 512)}  # its dim_capacity and dim_max that give our SIZES


class Stub(peer.OpenClipAdapter):
    """Stands where its CLIP stands: returns random encodings."""

    dim_latent = TEXT_DIM

    def __init__(self):
        torch.nn.Module.__init__(self)

    def embed_texts(self, texts):
        generator = torch.Generator().manual_seed(0)
        return None, torch.randn(len(texts), TOKENS, TEXT_DIM, generator=generator)


class Peer:
    """gigagan-pytorch as its README sets it up, with a stub for its CLIP."""

    def __init__(self, size: str, batch: int, precision: str):
        self.precision = precision
        AcceleratorState._reset_state()  # one per process, and of one precision: our trainer, which does not use it for that, comes first
        capacity, most = CAPACITY[size]
        text = {"dim": TEXT_WIDTH, "depth": 2, "clip": Stub()}
        style = {"dim": 512, "depth": 4, "dim_text_latent": TEXT_WIDTH}
        self.gan = peer.GigaGAN(
            generator={
                "dim_capacity": capacity, "dim_max": most, "image_size": 64, "style_network": style, "text_encoder": text,
                "dim_latent": most, "num_conv_kernels": 2,
            },
            discriminator={
                "dim_capacity": capacity, "dim_max": most, "image_size": 64, "text_encoder": text, "num_conv_kernels": 2,
            },
            generator_contrastive_loss_weight=0.0, amp=precision == "bf16", mixed_precision_type="bf16",
        )  # fmt: skip
        self.images, self.texts, self.batch = torch.rand(batch, 3, 64, 64), [f"thing {i}" for i in range(batch)], batch
        self.noise, self.encodings = torch.randn(batch, 512), torch.randn(batch, TOKENS, TEXT_DIM)
        self.unet = UnetUpsampler(
            dim=16, image_size=256, input_image_size=64, style_network=style, text_encoder=text, unconditional=False, num_conv_kernels=2
        )
        self.embedded = (
            torch.randn(batch, TEXT_WIDTH),
            torch.randn(batch, TOKENS, TEXT_WIDTH),
            torch.ones(batch, TOKENS, dtype=torch.bool),
        )

    def size(self, work: str) -> int:
        module = {"u": self.unet, "G": self.gan.unwrapped_G, "D": self.gan.unwrapped_D}.get(work[0])
        both = (self.gan.unwrapped_G, self.gan.unwrapped_D) if module is None else (module,)
        return sum(p.numel() for m in both for p in m.parameters())

    def autocast(self):
        return torch.autocast("cpu", torch.bfloat16, enabled=self.precision == "bf16")

    def g_forward(self) -> None:
        with torch.no_grad(), self.autocast():
            self.gan.unwrapped_G(noise=self.noise, text_encodings=self.encodings, return_all_rgbs=True)

    def d_backward(self, penalty: bool) -> None:
        """On real and on generated images, as in its training step."""
        D, total = self.gan.unwrapped_D, 0.0
        with self.autocast():
            for sign in (1, -1):
                images = self.images.clone().requires_grad_(penalty)
                logits, several, recon = D(images, D.real_images_to_rgbs(images), text_encodings=self.encodings, calc_aux_loss=sign == 1)
                total = total + (1 - sign * logits).relu().mean() + sum((1 - sign * x).relu().mean() for x in several) + sum(recon)
                if penalty and sign == 1:  # on reals, as ours; its own step takes both
                    total = total + peer.gradient_penalty(
                        images, outputs=[logits, *several], grad_output_weights=[1.0] + [0.1] * len(several)
                    )
        total.backward()
        D.zero_grad()

    def upsample(self) -> None:
        with torch.no_grad(), self.autocast():
            tokens, fine, mask = self.embedded
            self.unet(self.images, noise=self.noise, global_text_tokens=tokens, fine_text_tokens=fine, text_mask=mask, return_all_rgbs=True)

    def step(self, number: int) -> None:
        loader = repeat((self.images.clone(), self.texts))
        self.gan.train_discriminator_step(loader, apply_gradient_penalty=number % PENALTY_EVERY == 0)
        self.gan.train_generator_step(batch_size=self.batch, dl_iter=loader)
