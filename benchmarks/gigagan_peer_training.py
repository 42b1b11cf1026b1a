"""PyPI's gigagan-pytorch trained on a recipe's images, captions and text encoder; benchmarks/drawings_peers.py calls it.

    pip install --no-deps -r benchmarks/requirements.txt
    python benchmarks/gigagan_peer_training.py configs/ablations/drawings_32.yaml --minutes 15 --out runs/peers/gigagan-pytorch

Penalties, rates and average are its defaults, the networks those of benchmarks/gigagan.py's small size; its contrastive loss, which needs a
CLIP that sees images, is left out. In release 0.3.0 D never takes a real image for real with its own caption: `train_discriminator_step`
judges real images by the captions of the next batch, which are those of the generated images, and the matching loss shows real images with
their own captions as mismatched ones. --own-captions mends both from outside: every batch is handed out three times, as often as a step
asks for one, and the matching loss is left out. One process, because that loss reads attributes that the wrapper of several hides.
"""

import argparse
import json
import time
from pathlib import Path

from t2igan.errors import UserError, run_script

CHECKPOINT_MINUTES = 5
TAKES = 3  # batches that a step asks for: real images, the captions of generated ones, those of G's half


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--own-captions", action="store_true", help="real images are judged by their own captions")
    parser.add_argument("--out", type=Path, required=True, help="folder for the checkpoint and trained.json")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    arguments = parser.parse_args()
    if arguments.minutes <= 0:
        raise UserError(f"--minutes is {arguments.minutes:g}, needs a number above 0")

    from t2igan.recipe import load_recipe

    train(load_recipe(arguments.recipe), arguments.minutes, arguments.own_captions, arguments.out)


def build_gan(recipe, own_captions: bool, out: Path):
    """Its GAN with random weights, behind the recipe's text encoder."""
    import torch

    from benchmarks.gigagan_peer import CAPACITY, TEXT_WIDTH, peer
    from t2igan.text.cache import CaptionEncoder, default_cache

    encoder = recipe.text.build()
    encoder.load_pretrained()
    encode_text = CaptionEncoder(encoder, default_cache())

    class Words(peer.OpenClipAdapter):
        """Stands where its CLIP stands: the recipe's text encoder."""

        dim_latent = encoder.token_dim

        def __init__(self):
            torch.nn.Module.__init__(self)

        def embed_texts(self, texts):
            text = encode_text(list(texts))
            return None, text.local.masked_fill(~text.source.mask[..., None], 0)

    capacity, most = CAPACITY["small"]
    text = {"dim": TEXT_WIDTH, "depth": 2, "clip": Words()}
    widths = {"dim_capacity": capacity, "dim_max": most, "image_size": recipe.resolution, "num_conv_kernels": 2}
    style = {"dim": 512, "depth": 4, "dim_text_latent": TEXT_WIDTH}
    torch.manual_seed(recipe.seed)
    return peer.GigaGAN(
        generator=widths | {"style_network": style, "text_encoder": text, "dim_latent": most},
        discriminator=widths | {"text_encoder": text},
        generator_contrastive_loss_weight=0.0,  # it needs a CLIP that sees images
        matching_awareness_loss_weight=0.0 if own_captions else 0.1,
        model_folder=str(out / "models"),
        results_folder=str(out / "results"),
        accelerate_kwargs={"cpu": True},
    )


def train(recipe, minutes: float, own_captions: bool, out: Path) -> None:
    import torch

    from t2igan.data.batches import TrainingBatches
    from t2igan.data.shards import Shards
    from t2igan.files import write_json

    torch.set_flush_denormal(True)
    gan = build_gan(recipe, own_captions, out)
    dataset = TrainingBatches(Shards(recipe.data.shards), recipe.resolution, recipe.training.batch, recipe.seed)
    state = {"images": 0, "seconds": 0.0}
    checkpoint, progress = out / "checkpoint.pt", out / "progress.json"
    if progress.is_file():
        gan.load(checkpoint)
        state = json.loads(progress.read_text())
        torch.manual_seed(state["images"])  # other latents than at the beginning
    batches = read(dataset, state["images"], TAKES) if own_captions else read(dataset, state["images"] * TAKES, 1)
    saved = time.perf_counter()
    began = saved - state["seconds"]
    done = state["seconds"] >= 60 * minutes
    while not done:
        step = gan.steps.item()
        gan.train_discriminator_step(batches, apply_gradient_penalty=step % gan.apply_gradient_penalty_every == 0)
        gan.train_generator_step(dl_iter=batches, batch_size=recipe.training.batch)
        gan.steps += 1
        now = time.perf_counter()
        state = {"images": state["images"] + recipe.training.batch, "seconds": now - began}
        done = state["seconds"] >= 60 * minutes
        if done or now - saved > 60 * CHECKPOINT_MINUTES:
            gan.save(checkpoint.with_suffix(".new"))
            checkpoint.with_suffix(".new").replace(checkpoint)
            write_json(progress, state)
            print(f"{state['images']} images, {state['seconds'] / 60:.1f} of {minutes:g} minutes", flush=True)
            saved = now
    parameters = gan.unwrapped_G.total_params
    write_json(out / "trained.json", {"images": state["images"], "minutes": round(state["seconds"] / 60, 2), "parameters": parameters})


def read(dataset, position: int, times: int):
    """(images in [0, 1], captions), batch by batch from `position`, each several times."""
    while True:
        batch = dataset[position]
        for _ in range(times):
            yield (batch.images.add(1).div(2), list(batch.captions))
        position += len(batch.captions)


class PeerSampler:
    """A trained gigagan-pytorch as evaluations take a model: prompts and seeds to images in [-1, 1]."""

    def __init__(self, gan):
        self.generator, self.resolution = gan.G_ema.ema_model.eval(), gan.unwrapped_D.image_size

    @classmethod
    def load(cls, recipe, folder: Path) -> "PeerSampler":
        gan = build_gan(recipe, False, folder)
        gan.load(folder / "checkpoint.pt")
        return cls(gan)

    def sample_tensor(self, prompts: list[str], seeds: list[int], truncation: float = 1.0, batch: int = 64):
        """Images [prompts * seeds, 3, r, r], prompt by prompt; truncation has no meaning here."""
        import torch

        pairs = [(prompt, seed) for prompt in prompts for seed in seeds]
        with torch.inference_mode():
            return torch.cat([self.sample(*zip(*pairs[i : i + batch], strict=True)) for i in range(0, len(pairs), batch)])

    def sample(self, prompts, seeds):
        import torch

        dim = self.generator.style_network.dim
        noise = torch.stack([torch.randn(dim, generator=torch.Generator().manual_seed(seed)) for seed in seeds])
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seeds[0])  # of the noise at every pixel, which is drawn for the whole batch
            return self.generator(noise=noise, texts=list(prompts)).clamp(0, 1).mul(2).sub(1)


if __name__ == "__main__":
    run_script(main)
