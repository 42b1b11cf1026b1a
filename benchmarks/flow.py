"""What a user would take instead of a GAN: a small text-conditional U-Net of diffusers, trained by flow matching.

    torchrun --standalone --nproc_per_node 2 benchmarks/flow.py configs/emoji_32.yaml --minutes 30 --out runs/flow

Data, resolution, batch, precision, text encoder and the order of the images are the recipe's. The time counts from the first step; an
interrupted training continues where its last checkpoint was. benchmarks/lineage.py calls it, and scores what it makes in 1, 4 and 16 steps.
Lipman et al. 2023 (arXiv:2210.02747); guidance without a classifier: Ho and Salimans 2022 (arXiv:2207.12598).
"""

import argparse
import json
import time
from pathlib import Path

from t2igan.errors import run_script

WIDTHS = (32, 64, 96)  # channels at the resolution, a half and a quarter of it; attention at the last
HEAD = 16  # channels of a head of attention
DROPOUT = 0.1  # share of captions left out, for guidance
LR, WARMUP = 2e-3, 2400  # of Adam; images
HALF_LIFE = 10_000  # images, of the average
CHECKPOINT_MINUTES = 5
GUIDANCE = 2.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--out", type=Path, required=True, help="folder for the checkpoint and the log")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    arguments = parser.parse_args()

    from t2igan.recipe import load_recipe

    train(load_recipe(arguments.recipe), arguments.minutes, arguments.out)


def build_network(resolution: int, token_dim: int):
    """The U-Net with random weights."""
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(
        sample_size=resolution,
        in_channels=3,
        out_channels=3,
        block_out_channels=WIDTHS,
        layers_per_block=1,
        down_block_types=("DownBlock2D",) * (len(WIDTHS) - 1) + ("CrossAttnDownBlock2D",),
        up_block_types=("CrossAttnUpBlock2D",) + ("UpBlock2D",) * (len(WIDTHS) - 1),
        cross_attention_dim=token_dim,
        attention_head_dim=WIDTHS[-1] // HEAD,
        norm_num_groups=16,
    )


def velocity(network, x, t, text):
    """The network's answer at times t in [0, 1], for the words of `text`."""
    return network(x, t * 1000, encoder_hidden_states=text.local, encoder_attention_mask=text.source.mask).sample


def flow_loss(network, images, noise, t, text):
    """Mean squared error of the velocity along the straight line from noise (t = 0) to the images (t = 1)."""
    at = t[:, None, None, None]
    return (velocity(network, (1 - at) * noise + at * images, t, text).float() - (images - noise)).square().mean()


def train(recipe, minutes: float, out: Path) -> None:
    import torch
    from accelerate import Accelerator
    from accelerate.utils import broadcast

    from t2igan.config import EMAConfig
    from t2igan.data.batches import TrainingBatches
    from t2igan.data.shards import Shards
    from t2igan.draws import Draws
    from t2igan.schedule import constant
    from t2igan.text.cache import CaptionEncoder, default_cache
    from t2igan.training.ema import EMA
    from t2igan.training.precision import faster_in_bf16

    torch.set_flush_denormal(True)
    torch.manual_seed(recipe.seed)
    accelerator = Accelerator(cpu=not torch.cuda.is_available())
    half = faster_in_bf16(accelerator.device) if recipe.training.precision == "auto" else recipe.training.precision == "bf16"
    encoder = recipe.text.build()
    encoder.load_pretrained()
    encode_text = CaptionEncoder(encoder, default_cache(), accelerator.device)
    network = build_network(recipe.resolution, encoder.token_dim).to(accelerator.device)
    ema = EMA(network, EMAConfig(half_life=constant(HALF_LIFE), rampup=0.1))
    optimizer = torch.optim.AdamW(network.parameters(), lr=LR, weight_decay=0.0)
    model = accelerator.prepare_model(network)
    where = accelerator.process_index, accelerator.num_processes
    batch = recipe.training.batch
    dataset = TrainingBatches(Shards(recipe.data.shards), recipe.resolution, batch, recipe.seed, *where, DROPOUT)
    images, before = 0, 0.0
    checkpoint = out / "checkpoint.pt"
    if checkpoint.is_file():
        state = torch.load(checkpoint, map_location=accelerator.device)
        network.load_state_dict(state["network"])
        ema.model.load_state_dict(state["ema"])
        optimizer.load_state_dict(state["optimizer"])
        images, before = state["images"], state["seconds"]
    out.mkdir(parents=True, exist_ok=True)
    began = saved = time.perf_counter()
    done = before >= 60 * minutes
    while not done:
        seconds = float(broadcast(torch.tensor(before + time.perf_counter() - began, device=accelerator.device)))  # one clock for all
        part = dataset[images]
        draws = Draws(recipe.seed, part.positions.to(accelerator.device))
        text = encode_text(part.captions).to(accelerator.device)
        noise = draws.normal("noise", 3, recipe.resolution, recipe.resolution)
        with torch.autocast(accelerator.device.type, torch.bfloat16, enabled=half):
            loss = flow_loss(model, part.images.to(accelerator.device), noise, draws.uniform("time", 1)[:, 0], text)
        for group in optimizer.param_groups:
            group["lr"] = LR * min(1, (images + batch) / WARMUP) * max(0.02, min(1, 2 * (1 - seconds / (60 * minutes))))
        optimizer.zero_grad()
        accelerator.backward(loss)
        accelerator.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        images += batch
        ema.update(network, images, batch)
        # all processes end at the same step
        ended = torch.tensor(float(before + time.perf_counter() - began >= 60 * minutes), device=accelerator.device)
        done = bool(accelerator.reduce(ended, "sum") > 0)
        now = time.perf_counter()
        if accelerator.is_main_process and (done or now - saved > 60 * CHECKPOINT_MINUTES):
            total = before + now - began
            state = {"network": network.state_dict(), "ema": ema.model.state_dict(), "optimizer": optimizer.state_dict()}
            torch.save(state | {"images": images, "seconds": total}, checkpoint.with_suffix(".new"))
            checkpoint.with_suffix(".new").replace(checkpoint)
            print(f"{images} images, {total / 60:.1f} of {minutes:g} minutes, loss {float(loss.detach()):.4f}", flush=True)
            saved = now
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        parameters = sum(p.numel() for p in network.parameters())
        found = torch.load(checkpoint, map_location="cpu")
        facts = {"images": found["images"], "minutes": round(found["seconds"] / 60, 2), "parameters": parameters}
        (out / "trained.json").write_text(json.dumps(facts, indent=2) + "\n")
    accelerator.end_training()


class FlowSampler:
    """A trained U-Net as evaluations take a model: prompts and seeds to images in [-1, 1], in `steps` steps of Euler's method."""

    def __init__(self, network, encode_text, resolution: int, steps: int, guidance: float = GUIDANCE):
        self.network, self.encode_text = network.eval(), encode_text
        self.resolution, self.steps, self.guidance = resolution, steps, guidance

    @classmethod
    def load(cls, recipe, folder: Path | None, steps: int) -> "FlowSampler":
        """What `train` left in a folder; None: random weights."""
        import torch

        from t2igan.text.cache import CaptionEncoder, default_cache

        encoder = recipe.text.build()
        encoder.load_pretrained()
        network = build_network(recipe.resolution, encoder.token_dim)
        if folder is not None:
            network.load_state_dict(torch.load(folder / "checkpoint.pt", map_location="cpu")["ema"])
        return cls(network, CaptionEncoder(encoder, default_cache()), recipe.resolution, steps)

    def sample_tensor(self, prompts: list[str], seeds: list[int], truncation: float = 1.0, batch: int = 64):
        """Images [prompts * seeds, 3, r, r], prompt by prompt; truncation has no meaning here."""
        import torch

        pairs = [(prompt, seed) for prompt in prompts for seed in seeds]
        with torch.inference_mode():
            return torch.cat([self.sample(*zip(*pairs[i : i + batch], strict=True)) for i in range(0, len(pairs), batch)])

    def sample(self, prompts, seeds):
        import torch

        text, nothing = self.encode_text(list(prompts)), self.encode_text([""] * len(prompts))
        shape = 3, self.resolution, self.resolution
        x = torch.stack([torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds])
        for step in range(self.steps):
            t = torch.full((len(x),), step / self.steps)
            free = velocity(self.network, x, t, nothing)
            x = x + (free + self.guidance * (velocity(self.network, x, t, text) - free)) / self.steps
        return x.clamp(-1, 1)


if __name__ == "__main__":
    run_script(main)
