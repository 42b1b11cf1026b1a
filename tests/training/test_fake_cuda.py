"""A step of every large recipe, at its own sizes, on a CUDA device that is not there: devices, dtypes and memory, without a GPU.

Tensors are fake (torch's FakeTensorMode): they have a device, a dtype and a shape. An operation on mixed devices is an error, as on a GPU,
a product of mixed dtypes as well, and a wait for the device, for a fake tensor has no value. Autograd's engine refuses a device that is not
there: passes backward do not run here, and a penalty's inner gradient is a stand-in of its image's shape.
"""

import contextlib
from functools import partial
from unittest.mock import patch

import pytest
import torch
from accelerate import Accelerator
from tiny import ROOT
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from t2igan.recipe import load_recipe
from t2igan.system import System, build_system
from t2igan.training.optimizer import ScheduledAdam
from t2igan.training.trainer import Trainer
from t2igan.types import Batch, PrepareContext, TextDescriptors, Tokens

CUDA = torch.device("cuda")
SLOW = ("gigagan_64_small", "gigagan_64_ablation", "gigagan_upsampler_64_512", "gigagan_upsampler_128_1024")  # the others at other sizes
RECIPES = ("gigagan_64", "r3gan_ffhq_256", "r3gan_imagenet_64", *SLOW)


class OneMode(FakeTensorMode):
    """A copy of a fake tensor belongs to the same mode."""

    def __deepcopy__(self, memo):
        return self


class OneDtype(TorchDispatchMode):
    """Products take factors of one dtype, which fake tensors do not check. This is below autocast: it sees what kernels are given."""

    PRODUCTS = frozenset({"mm", "addmm", "bmm", "baddbmm", "convolution", "_scaled_dot_product_efficient_attention"})

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.overloadpacket.__name__ in self.PRODUCTS:
            dtypes = {x.dtype for x in args if isinstance(x, Tensor)}
            assert len(dtypes) == 1, f"{func} of {dtypes}: must have the same dtype"
        return func(*args, **kwargs or {})


class OneProcess(Accelerator):
    """What the trainer asks of accelerate, on a device that accelerate would not accept."""

    device, num_processes = CUDA, 1

    def __init__(self, kept: "Kept"):
        """Without the state of a launch."""
        self.kept = kept

    def prepare_model(self, model):
        return model

    def unwrap_model(self, model):
        return model

    def no_sync(self, _):
        return contextlib.nullcontext()

    def reduce(self, x, _):
        return x

    def backward(self, loss: Tensor) -> None:
        assert (loss.device.type, loss.dtype, loss.shape, loss.requires_grad) == ("cuda", torch.float32, (), True)
        self.kept.end_of_half()


class Kept:
    """Bytes that autograd keeps for the pass backward of each half, besides weights."""

    def __init__(self):
        self.weights: set[int] = set()
        self.storages: dict[int, tuple] = {}
        self.halves: list[int] = []

    def pack(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in self.weights:
            self.storages[storage._cdata] = storage, storage.nbytes()  # held, so that its number is not given away
        return tensor

    def end_of_half(self) -> None:
        self.halves.append(sum(size for _, size in self.storages.values()))
        self.storages.clear()


def blank_text(system: System, captions: list[str]) -> TextDescriptors:
    encoder, count = system.text_encoder, len(captions)
    source = Tokens(torch.zeros(count, encoder.max_tokens, dtype=torch.long), torch.ones(count, encoder.max_tokens, dtype=torch.bool))
    return TextDescriptors(torch.zeros(count, encoder.max_tokens, encoder.token_dim), torch.zeros(count, encoder.text_dim), source)


def neighbours_captions(trainer: Trainer, part: Batch, text: TextDescriptors) -> tuple[TextDescriptors, Tensor]:
    """In place of a search in the captions, which reads values."""
    return text, torch.arange(len(part), device=trainer.device).roll(1)


def update(optimizer: ScheduledAdam, now) -> Tensor:
    """Adam's own step, on gradients of no content in place of those that no pass backward has left; nobody asks whether they are finite."""
    for parameter in optimizer.module.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.set_rates(now)
    optimizer.adam.step()
    return torch.zeros((), device=CUDA)


@contextlib.contextmanager
def fake_cuda():
    """Tensors are fake, and autocast believes in CUDA."""
    replaced = [
        patch("torch.cuda.amp.common.amp_definitely_not_available", lambda: False),
        patch("torch.cuda.is_bf16_supported", lambda *_, **__: True),
        patch("torch.autograd.grad", lambda _, images, **__: [torch.zeros_like(x, requires_grad=True) for x in images]),
        patch.object(nn.Module, "to", lambda module, *_, **__: module),  # where they are built, all are on CUDA
        patch.object(Trainer, "captions_for_critic", neighbours_captions),
        patch.object(ScheduledAdam, "step", update),
    ]
    with contextlib.ExitStack() as stack:
        for context in (OneMode(), OneDtype(), *replaced):
            stack.enter_context(context)
        yield


def take_step(name: str) -> tuple[Trainer, dict[str, Tensor], int, list[int]]:
    """(trainer, its values, images, bytes kept by each half) of a recipe's first step."""
    recipe, kept = load_recipe(ROOT / "configs" / f"{name}.yaml"), Kept()
    with fake_cuda():
        with torch.device("cuda"):  # parts are built there, and nothing else is there by itself
            system = build_system(recipe)
            context = PrepareContext(CUDA, lambda: [f"thing {i}" for i in range(2000)], None, weights=False)
            system.objective.prepare(context)
            system.discriminator.prepare(context)
            trainer = Trainer(recipe, system, OneProcess(kept), partial(blank_text, system))
        kept.weights = {p.untyped_storage()._cdata for module in (trainer.generator, trainer.discriminator) for p in module.parameters()}
        size, r = max(2, system.discriminator.batch_multiple), recipe.resolution
        batch = Batch(torch.zeros(size, 3, r, r), ["a"] * size, ["a"] * size, [0] * size, torch.arange(size))
        with torch.autograd.graph.saved_tensors_hooks(kept.pack, lambda tensor: tensor):
            values = trainer.step(batch, batch if recipe.training.own_reals else None)
    return trainer, values, size, kept.halves


@pytest.mark.filterwarnings("ignore:Accessing the data pointer of FakeTensor")  # torch's own __deepcopy__
@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else []) for name in RECIPES])
def test_both_halves_run_under_cudas_rules(name, capsys):
    trainer, values, size, (of_d, of_g) = take_step(name)
    assert trainer.bf16 and trainer.images == trainer.last_batch
    losses = [value for name, value in values.items() if name[:2] in ("D/", "G/")]
    assert len(losses) > 5 and all((value.device.type, value.dtype) == ("cuda", torch.float32) for value in losses)
    moments = [value for state in trainer.d_optimizer.adam.state.values() for value in state.values()]
    assert len(moments) > 20 and all(value.device.type == "cuda" for value in moments), "Adam counts its steps where it updates"
    trained = sum(p.numel() for module in (trainer.generator, trainer.discriminator) for p in module.parameters())
    averaged = sum(p.numel() for p in trainer.generator.parameters())
    fixed = 4 * (4 * trained + averaged)  # weights, gradients, two moments; the average
    with capsys.disabled():
        gb = [f"{part / 1e9:.2f}" for part in (fixed + max(of_d, of_g), fixed, of_d, of_g)]
        print(f"\n{name}, {size} images: {gb[0]} GB at most; {gb[1]} of weights, D's half keeps {gb[2]}, G's {gb[3]}")


@pytest.mark.parametrize("fault", ["device", "dtype", "wait"])
def test_the_rules_have_teeth(fault):
    with fake_cuda():
        x = torch.zeros(2, 2, device=CUDA)
        with pytest.raises(Exception, match=r"same device|same dtype|must have the same|local_scalar_dense"):
            {"device": lambda: x @ torch.zeros(2, 2), "dtype": lambda: x @ x.bfloat16(), "wait": lambda: float(x.sum())}[fault]()
