"""Ours against PyPI's gigagan-pytorch at matched widths, on one thread, alternating in one run: medians of ratios.

    pip install --no-deps -r benchmarks/requirements.txt
    python benchmarks/gigagan.py --size small

Both get the same text encodings, precomputed (the peer's CLIP is a stub that hands them out), pictures of the same size and the same
batch. Widths per resolution, resolutions with attention, banks of two kernels and text layers are equal, and by the number of blocks the
parameters, to a tenth (of the U-Nets ours has a quarter less). What differs shows in the table's FLOPs: the peer's attention is 8 x 64 wide
whatever the map's width, its predictors are 3x3 convolutions where the paper has 1x1, and its matching loss, two more passes of D, does not
depend on the text. A step is one update of D and of G with every loss of each, exact gradient penalty in every fourth one, the mean over
four. With the default allocator, and with --tuned also with the same variables for both.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # runs from a clone that is not installed

from t2igan.errors import UserError, run_script

SIZES = {"small": (16, 32, 64, 128, 256), "base": (64, 128, 256, 512, 512)}  # channels, 64 px first
BLOCKS = {
    "small": ([2, 2, 2, 2, 2], [4, 3, 2, 2, 2]),
    "base": ([2, 1, 1, 1, 1], [5, 5, 2, 1, 1]),
}  # of G and D, 4 px first: the peer's size
CAPACITY = {"small": (8, 256), "base": (32, 512)}  # the peer's dim_capacity and dim_max that give them
TOKENS, TEXT_DIM, TEXT_WIDTH = 32, 512, 128
PENALTY_EVERY = 4
TUNED = {"MALLOC_MMAP_THRESHOLD_": "2000000000", "MALLOC_TRIM_THRESHOLD_": "20000000000", "MALLOC_TOP_PAD_": "268435456"}
ALONE = ("G forward without attention",)  # measured for ours only, against the machine's ceiling
SLOW = ("step",)  # timed fewer times: a peer's step takes most of a minute


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3, help="times each is timed (steps: a third of it)")
    parser.add_argument("--precisions", nargs="+", choices=("fp32", "bf16"), default=["fp32", "bf16"])
    parser.add_argument("--only", nargs="+", choices=sorted(WORK), default=list(WORK), help="parts to measure")
    parser.add_argument("--tuned", action="store_true", help="also with the allocator's variables, for both")
    parser.add_argument("--memory", action="store_true", help="also the peak memory of a step, each in a process of its own")
    parser.add_argument("--out", type=Path, help="result.json to write")
    parser.add_argument("--inside", help=argparse.SUPPRESS)
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    arguments = parser.parse_args()
    if arguments.inside:
        print("RESULT " + json.dumps(inside(json.loads(arguments.inside))))
        return
    if min(arguments.batch, arguments.rounds) < 1:
        raise UserError("--batch and --rounds need whole numbers above 0")
    result = {"size": arguments.size, "batch": arguments.batch, "machine": cpu_name(), "runs": []}
    for allocator in ("default", "tuned") if arguments.tuned else ("default",):
        for precision in arguments.precisions:
            job = {"what": "speed", "size": arguments.size, "batch": arguments.batch, "rounds": arguments.rounds}
            job |= {"precision": precision, "only": arguments.only}
            result["runs"].append({"allocator": allocator, "precision": precision, "rows": spawn(job, allocator)})
            print(table(result["runs"][-1], result), flush=True)
    if arguments.memory:
        job = {"what": "memory", "size": arguments.size, "batch": arguments.batch, "precision": "fp32"}
        result["peak_gib_of_a_step"] = {who: spawn(job | {"who": who}, "default") for who in ("ours", "peer")}
        ours, peer = (result["peak_gib_of_a_step"][who] for who in ("ours", "peer"))
        print(f"peak memory of a step, fp32: ours {ours:.2f} GiB, peer {peer:.2f} GiB, {ours / peer:.2f}x")
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(json.dumps(result, indent=2) + "\n")


def cpu_name() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "unknown CPU")


def spawn(job: dict, allocator: str):
    """The job's result from a process of its own, on one thread: the allocator reads its variables once, at the start."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""} | (TUNED if allocator == "tuned" else {})
    command = [sys.executable, __file__, "--inside", json.dumps(job)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    if done.returncode or not lines:
        said = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
        raise UserError(said[0].removeprefix("error: ") if said else f"the measurement broke off:\n{done.stderr[-3000:]}")
    return json.loads(lines[-1].removeprefix("RESULT "))


# ------------------------------------------------------------------------------------------------ inside a process


def inside(job: dict):
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)  # the peer makes folders where it stands
        makers = {"ours": Ours, "peer": Peer}
        if job["what"] == "memory":
            system = makers[job["who"]](job["size"], job["batch"], job["precision"])
            before = resident("VmRSS")
            for number in (0, 1):
                system.step(number)
            return (resident("VmHWM") - before) / 2**20
        systems = {who: make(job["size"], job["batch"], job["precision"]) for who, make in makers.items()}
        return compare(systems, job)


def resident(field: str) -> int:
    """KiB, from Linux's account of this process."""
    return next(int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field))


def compare(systems: dict, job: dict) -> list[dict]:
    """A row per kind of work: seconds of each, the median of the ratios of neighbours in time, FLOPs, share of the ceiling."""
    peak, rows = ceiling(job["precision"]), []
    for name in job["only"]:
        work, rounds = WORK[name], max(1, job["rounds"] // 3) if name in SLOW else job["rounds"]
        compared = {who: system for who, system in systems.items() if who == "ours" or name not in ALONE}
        seconds = {who: [] for who in compared}
        for number in range(rounds + 1):
            for who, system in compared.items():
                start = time.perf_counter()
                work(system)
                if number or name in SLOW:  # the first one warms up, where it is not too dear
                    seconds[who].append(time.perf_counter() - start)
        row = {"work": name, "pictures": job["batch"] * (PENALTY_EVERY if name == "step" else 1), "ceiling_gflops": peak}
        if name not in ALONE:
            row["ratio"] = statistics.median(peer / ours for ours, peer in zip(seconds["ours"], seconds["peer"], strict=True))
        for who, system in compared.items():
            took, gflop = statistics.median(seconds[who]), counted(work, system)
            row[who] = {"seconds": took, "gflop": gflop, "of_ceiling": gflop / took / peak, "parameters": system.size(name)}
        rows.append(row)
    return rows


def ceiling(precision: str) -> float:
    """GFLOP/s of the best 3x3 convolution, channels last."""
    import torch
    import torch.nn.functional as F

    dtype, best = {"fp32": torch.float32, "bf16": torch.bfloat16}[precision], 0.0
    for channels, side, batch in ((256, 64, 4), (128, 64, 8), (512, 16, 8)):
        x = torch.randn(batch, channels, side, side, dtype=dtype).contiguous(memory_format=torch.channels_last)
        w = torch.randn(channels, channels, 3, 3, dtype=dtype).contiguous(memory_format=torch.channels_last)
        for _ in range(5):
            start = time.perf_counter()
            F.conv2d(x, w, padding=1)
            best = max(best, 2 * 9 * channels**2 * side**2 * batch / (time.perf_counter() - start) / 1e9)
    return best


def counted(work, system) -> float:
    """GFLOPs. torch's own counter follows modules too, which the peer's beartype-wrapped ones break."""
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils.flop_counter import flop_registry

    class Counter(TorchDispatchMode):
        total = 0

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            out = function(*args, **(kwargs or {}))
            formula = flop_registry.get(function._overloadpacket)
            self.total += 0 if formula is None else formula(*args, **(kwargs or {}), out_val=out)
            return out

    with sdpa_kernel(SDPBackend.MATH), Counter() as counter:  # not every fused attention has a formula
        work(system)
    return counter.total / 1e9


WORK = {
    "G forward": lambda system: system.g_forward(),
    "G forward without attention": lambda system: system.g_convolutional(),
    "D forward and backward": lambda system: system.d_backward(penalty=False),
    "D with exact penalty": lambda system: system.d_backward(penalty=True),
    "upsampler forward": lambda system: system.upsample(),
    "step": lambda system: [system.step(number) for number in range(PENALTY_EVERY)],
}


class Ours:
    """A recipe of the peer's widths, and the trainer that every recipe has."""

    def __init__(self, size: str, batch: int, precision: str):
        import torch

        from t2igan.config import Recipe, parse
        from t2igan.system import build_generator
        from t2igan.types import TextDescriptors, Tokens

        self.precision = precision
        recipe = parse(Recipe, our_recipe(size, batch, precision, write_noise(Path("shards"))), "")
        self.trainer = our_trainer(recipe, Path("run"))
        self.batch = self.trainer.dataset[0]
        self.text = self.trainer.describe(self.batch.captions)
        upsampler = parse(Recipe, our_upsampler(batch), "").generator
        self.upsampler = build_generator(upsampler, TEXT_DIM, TEXT_DIM).to(memory_format=torch.channels_last)
        self.convolutional = build_generator(without_attention(recipe.generator), TEXT_DIM, TEXT_DIM).to(memory_format=torch.channels_last)
        self.z, self.low = torch.randn(batch, 128), torch.randn(batch, 3, 64, 64)
        source = Tokens(torch.zeros(batch, TOKENS, dtype=torch.long), torch.ones(batch, TOKENS, dtype=torch.bool))
        self.text_of_upsampler = TextDescriptors(torch.randn(batch, TOKENS, TEXT_DIM), torch.randn(batch, TEXT_DIM), source)

    def size(self, work: str) -> int:
        module = {"u": self.upsampler, "G": self.trainer.generator, "D": self.trainer.discriminator}.get(work[0])
        module = self.convolutional if work in ALONE else module
        both = (self.trainer.generator, self.trainer.discriminator) if module is None else (module,)
        return sum(p.numel() for m in both for p in m.parameters())

    def g_forward(self) -> None:
        import torch

        with torch.no_grad(), self.trainer.autocast():
            self.trainer.generator(self.z, self.text)

    def g_convolutional(self) -> None:
        import torch

        with torch.no_grad(), self.trainer.autocast():
            self.convolutional(self.z, self.text)

    def d_backward(self, penalty: bool) -> None:
        from t2igan.pyramid import build_pyramid
        from t2igan.types import Fake, Now

        levels = build_pyramid(self.batch.images, self.trainer.sides)
        now = Now(0, 0 if penalty else 1)
        with self.trainer.autocast():
            losses = self.trainer.objective.discriminator_losses(
                self.trainer.discriminator,
                levels,
                Fake(levels, self.z[:, None]),
                levels,
                self.text,
                self.batch.captions,
                self.batch.names,
                now,
            )
            losses.total.backward()
        self.trainer.discriminator.zero_grad()

    def upsample(self) -> None:
        import torch

        with torch.no_grad(), self.trainer.autocast():
            self.upsampler(self.z, self.text_of_upsampler, low=self.low)

    def step(self, number: int) -> None:
        self.trainer.images = number * self.trainer.config.batch
        self.trainer.step(self.batch)


def our_recipe(size: str, batch: int, precision: str, shards: Path) -> dict:
    channels, adapter = list(SIZES[size][::-1]), {"depth": 2, "width": TEXT_WIDTH, "head_dim": 64, "summary": "end"}
    return {
        "name": size, "resolution": 64, "data": {"shards": str(shards)}, "text": {"kind": "none"},
        "generator": {
            "adapter": adapter,
            "style": {"kind": "mapping", "z_dim": 128, "style_dim": 512, "depth": 4},
            "synthesis": {
                "kind": "gigagan", "channels": channels, "blocks": BLOCKS[size][0], "kernels": [2] * 5, "self_attention": [0, 0, 1, 1, 0],
                "cross_attention": [0, 0, 1, 1, 0], "head_dim": 32,
            },
        },
        "discriminator": {
            "adapter": adapter,
            "network": {
                "kind": "gigagan", "channels": channels, "blocks": BLOCKS[size][1], "self_attention": [0, 0, 1, 1, 0],
                "inputs": [64, 32, 16, 8], "outputs": [16, 8, 4, 1],
                "input_weights": [1.0] * 4, "output_weights": [0.1, 0.1, 0.1, 1.0], "head_depth": 4,
            },
        },
        "objective": {
            "discriminator": [{"kind": "nonsaturating"}, {"kind": "matching"}, {"kind": "r1", "every": PENALTY_EVERY}],
            "generator": [{"kind": "nonsaturating"}, {"kind": "matching"}],
        },
        "training": {"images": batch * 1000, "batch": batch, "precision": precision},
    }  # fmt: skip


def without_attention(generator):
    """The same convolutions and nothing else."""
    from dataclasses import replace

    none = (0,) * len(generator.synthesis.channels)
    return replace(generator, adapter=None, synthesis=replace(generator.synthesis, self_attention=none, cross_attention=none))


def our_upsampler(batch: int) -> dict:
    """The peer's U-Net of dim 16: 256 channels at 8 px to 16 at 128 and 256 px."""
    recipe = our_recipe("small", batch, "fp32", Path("shards"))
    recipe["generator"]["synthesis"] = {
        "kind": "gigagan_upsampler", "low": 64, "downs": 3, "channels": [256, 128, 64, 32, 16, 16], "blocks": [2] * 6, "kernels": [2] * 6,
        "self_attention": [1, 1, 0, 0, 0, 0], "cross_attention": [1, 1, 0, 0, 0, 0], "head_dim": 32,
    }  # fmt: skip
    return recipe


def our_trainer(recipe, out: Path):
    """`t2igan train`'s Trainer with a text encoder that hands out encodings."""
    from dataclasses import replace

    import torch

    from t2igan.system import build_discriminator, build_generator, build_system
    from t2igan.training.trainer import Trainer
    from t2igan.types import TextDescriptors, Tokens

    class Given(torch.nn.Module):
        """Stands where the text tower stands: a random encoding for every caption, always the same one."""

        token_dim = text_dim = TEXT_DIM
        max_tokens = TOKENS

        def load_pretrained(self) -> None:
            pass

        def tokenize(self, prompts) -> Tokens:
            ids = torch.tensor([[abs(hash(prompt)) % 1000] * TOKENS for prompt in prompts])
            return Tokens(ids, torch.ones_like(ids, dtype=torch.bool))

        def part_read(self, prompt: str) -> str:
            return prompt

        def forward(self, tokens: Tokens) -> TextDescriptors:
            n = len(tokens.ids)
            return TextDescriptors(torch.randn(n, TOKENS, TEXT_DIM), torch.randn(n, TEXT_DIM), tokens)

    system = replace(
        build_system(recipe),
        generator=build_generator(recipe.generator, TEXT_DIM, TEXT_DIM),
        discriminator=build_discriminator(recipe.discriminator, TEXT_DIM, TEXT_DIM, 0),
        text_encoder=Given(),
    )
    return Trainer(recipe, system, out)


def write_noise(folder: Path) -> Path:
    """A few pictures of noise: nothing is read while the clock runs."""
    import io

    import numpy as np
    from PIL import Image

    from t2igan.data.write import Sample, write_shards

    if folder.is_dir():
        return folder.resolve()
    samples = []
    for number, pixels in enumerate(np.random.default_rng(0).integers(0, 256, (64, 64, 64, 3), dtype=np.uint8)):
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, "PNG")
        samples.append(Sample(f"{number:03d}", stream.getvalue(), [f"thing {number}"], {}))
    write_shards(samples, folder)
    return folder.resolve()


class Peer:
    """gigagan-pytorch as its README sets it up, with a CLIP that hands out encodings."""

    def __init__(self, size: str, batch: int, precision: str):
        import torch

        try:
            import gigagan_pytorch.gigagan_pytorch as peer
            from gigagan_pytorch.unet_upsampler import UnetUpsampler
        except ImportError as error:
            raise UserError(f"the peer is missing ({error}): pip install --no-deps -r benchmarks/requirements.txt") from None

        class Stub(peer.OpenClipAdapter):
            dim_latent = TEXT_DIM

            def __init__(self):
                torch.nn.Module.__init__(self)

            def embed_texts(self, texts):
                generator = torch.Generator().manual_seed(0)
                return None, torch.randn(len(texts), TOKENS, TEXT_DIM, generator=generator)

        self.precision = precision
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
        self.pictures, self.texts, self.batch = torch.rand(batch, 3, 64, 64), [f"thing {i}" for i in range(batch)], batch
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
        import torch

        return torch.autocast("cpu", torch.bfloat16, enabled=self.precision == "bf16")

    def g_forward(self) -> None:
        import torch

        with torch.no_grad(), self.autocast():
            self.gan.unwrapped_G(noise=self.noise, text_encodings=self.encodings, return_all_rgbs=True)

    def d_backward(self, penalty: bool) -> None:
        """On real and on generated pictures, as in its training step."""
        import gigagan_pytorch.gigagan_pytorch as peer

        D, total = self.gan.unwrapped_D, 0.0
        with self.autocast():
            for sign in (1, -1):
                pictures = self.pictures.clone().requires_grad_(penalty)
                logits, several, recon = D(
                    pictures, D.real_images_to_rgbs(pictures), text_encodings=self.encodings, calc_aux_loss=sign == 1
                )
                total = total + (1 - sign * logits).relu().mean() + sum((1 - sign * x).relu().mean() for x in several) + sum(recon)
                if penalty and sign == 1:  # on reals, as ours; its own step takes both
                    total = total + peer.gradient_penalty(
                        pictures, outputs=[logits, *several], grad_output_weights=[1.0] + [0.1] * len(several)
                    )
        total.backward()
        D.zero_grad()

    def upsample(self) -> None:
        import torch

        with torch.no_grad(), self.autocast():
            tokens, fine, mask = self.embedded
            self.unet(
                self.pictures, noise=self.noise, global_text_tokens=tokens, fine_text_tokens=fine, text_mask=mask, return_all_rgbs=True
            )

    def step(self, number: int) -> None:
        from itertools import repeat

        loader = repeat((self.pictures.clone(), self.texts))
        self.gan.train_discriminator_step(loader, apply_gradient_penalty=number % PENALTY_EVERY == 0)
        self.gan.train_generator_step(batch_size=self.batch, dl_iter=loader)


def figures(row: dict, who: str) -> tuple[str, str, str, str]:
    """Images/s, GFLOPs per image, share of the ceiling, millions of parameters."""
    part, pictures = row[who], row["pictures"]
    rate, gflop = pictures / part["seconds"], part["gflop"] / pictures
    return f"{rate:.2f}", f"{gflop:.2f}", f"{part['of_ceiling']:.0%}", f"{part['parameters'] / 1e6:.1f}"


def table(run: dict, result: dict) -> str:
    lines = [
        f"{result['size']}, batch {result['batch']}, {run['precision']}, {run['allocator']} allocator, one thread of {result['machine']}"
    ]
    lines.append(
        f"{'':24} {'peer / ours':>11} {'ours img/s':>11} {'peer img/s':>11} {'GF/img':>16} {'of ceiling':>13} {'parameters, M':>16}"
    )
    for row in run["rows"]:
        cells = {who: figures(row, who) if who in row else ("", "", "", "") for who in ("ours", "peer")}
        pairs = [f"{cells['ours'][i]:>9} {cells['peer'][i]:>9}" for i in range(4)]
        ratio = f"{row['ratio']:.2f}x" if "ratio" in row else ""
        lines.append(f"{row['work']:28} {ratio:>11} {'  '.join(pairs)}")
    lines.append(f"ceiling: a 3x3 convolution at {run['rows'][0]['ceiling_gflops']:.0f} GFLOP/s")
    return "\n".join(lines)


if __name__ == "__main__":
    run_script(main)
